"""Downloads and uploads of tasks, in a few threads beside the loop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lote.agent.layout import Layout
from lote.agent.log import Log
from lote.agent.users import Users
from lote.agent.work import Work
from lote.wire.frames import AutoStorage, Failure

THREADS = 8

Done = Callable[[Work, Failure | None], None]


class Transfers:
    """Moves files for runs; calls back on the loop with what went wrong, or None."""

    def __init__(self, layout: Layout, users: Users, ca_file: str | None, log: Log) -> None:
        self.auto_storage: AutoStorage | None = None
        self._pool: ThreadPoolExecutor | None = None
        self._ca_file = ca_file

    def download(self, work: Work, done: Done) -> None:
        raise NotImplementedError

    def upload(self, work: Work, done: Done) -> None:
        raise NotImplementedError

    def wants_upload(self, work: Work) -> bool:
        return False

    def close(self) -> None:
        """nothing"""
