from __future__ import annotations

import itertools

import pytest
from azure.storage.blob import BlobServiceClient
from storage_process import StorageProcess

names = itertools.count()


@pytest.fixture(scope="session")
def storage(tmp_path_factory):
    process = StorageProcess(tmp_path_factory.mktemp("storage"))
    yield process
    assert process.stop() == 0


@pytest.fixture
def service(storage):
    with BlobServiceClient(storage.endpoint, credential=storage.key1, retry_total=0) as client:
        yield client


@pytest.fixture
def box(service):
    """A fresh container."""
    with service.create_container(f"box-{next(names)}") as client:
        yield client
