"""The store suite over every dialect."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.store_suite import StoreSuite
from lote.store.database import Connection, open_writer


class TestSqlite(StoreSuite):
    @pytest.fixture
    def db(self) -> Iterator[Connection]:
        connection = open_writer(Path(":memory:"))
        yield connection
        connection.close()
