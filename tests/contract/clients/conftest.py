"""One real service for all clients, with one pool of two nodes and two slots each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from data_plane.conftest import create_pool, fresh, new_client, wait_steady

from lote.cli.ready import Ready
from lote.cli.service import temporary_service

pytest.register_assert_rewrite("clients.modern")

from .modern import Modern, async_client, options_of, sync_client  # noqa: E402, only now are its assertions told in full

KINDS = {"sync": sync_client, "aio": async_client}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "calls(*methods): methods that get all their options")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    with temporary_service(tmp_path_factory.mktemp("clients")) as ready:
        yield ready


@pytest.fixture(scope="session")
def batch(service: Ready) -> Iterator[BatchClient]:
    """A client for what tests need besides what they test."""
    with new_client(service) as client:
        yield client


@pytest.fixture(scope="session")
def pool(batch: BatchClient) -> str:
    """Two nodes with two slots each, kept for all tests."""
    pool_id = fresh("shared")
    create_pool(batch, pool_id, 2, task_slots_per_node=2)
    wait_steady(batch, pool_id)
    return pool_id


@pytest.fixture(scope="session", params=KINDS)
def connected(request: pytest.FixtureRequest, service: Ready) -> Iterator[tuple]:
    with KINDS[request.param](service) as found:
        yield found


@pytest.fixture
def sdk(request: pytest.FixtureRequest, connected: tuple) -> Iterator[Modern]:
    """The client, sync or async; afterwards, the methods of the test must have had all options."""
    face = Modern(*connected)
    yield face
    for mark in request.node.iter_markers("calls"):
        for name in mark.args:
            assert options_of(name) - face.used[name] == set(), f"{name} was not given these"


@pytest.fixture
def job(batch: BatchClient, pool: str) -> Iterator[str]:
    """A fresh job on the shared pool."""
    job_id = fresh("job")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool)))
    yield job_id
    batch.begin_delete_job(job_id, polling_interval=0)


@pytest.fixture
def lone_job(batch: BatchClient) -> str:
    """A fresh job whose pool does not exist, so that its tasks wait."""
    job_id = fresh("lone-job")
    info = m.BatchPoolInfo(pool_id=fresh("no-pool"))
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    return job_id
