"""The blob suite over every endpoint."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from conformance.blob_rigs import azurite, built_in
from conformance.blob_suite import BlobSuite
from lote.blobs.accounts import StorageAccount


@pytest.fixture(scope="module")
def built_in_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageAccount]:
    with built_in(tmp_path_factory.mktemp("built-in")) as account:
        yield account


@pytest.fixture(scope="module")
def azurite_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageAccount]:
    with azurite(tmp_path_factory.mktemp("azurite")) as account:
        yield account


class TestBuiltIn(BlobSuite):
    @pytest.fixture
    def account(self, built_in_account: StorageAccount) -> StorageAccount:
        return built_in_account


class TestAzurite(BlobSuite):
    @pytest.fixture
    def account(self, azurite_account: StorageAccount) -> StorageAccount:
        return azurite_account
