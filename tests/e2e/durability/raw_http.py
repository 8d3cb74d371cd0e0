"""HTTP as a hostile client writes it: bytes on a socket, as slowly and as wrongly as wanted."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import statistics
import threading
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import psutil
from harness import Lote

from lote.cli.client import API_VERSION, JSON_TYPE, BatchClient, BatchError
from lote.cli.ready import account_of
from lote.cli.shared_key import authorization
from lote.wire.formats import format_http_date

ANSWER_S = 60.0


class Answer(NamedTuple):
    """Status and headers of an answer."""

    status: int
    headers: Mapping[str, str]


class Wire(NamedTuple):
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def answer(self) -> Answer | None:
        """The next answer; None when the other end closed instead."""
        async with asyncio.timeout(ANSWER_S):
            try:
                head = await self.reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return None
            first, *lines = head.decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines if line)
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(first.split()[1]), headers)

    async def send(self, content: bytes) -> bool:
        """Send all of it; False when the other end would not have it."""
        try:
            self.writer.write(content)
            await self.writer.drain()
        except ConnectionError:
            return False
        return True

    async def closed(self, within_s: float) -> bool:
        """Whether the other end closes within this time, whatever it says before."""
        try:
            async with asyncio.timeout(within_s):
                while await self.reader.read(65536):
                    continue
        except TimeoutError:
            return False
        except ConnectionError:
            return True
        return True


@contextlib.asynccontextmanager
async def wire(url: str, *, speaks_tls: bool | None = None) -> AsyncIterator[Wire]:
    """A connection to the listener of a URL."""
    parts = urlsplit(url)
    context = None
    if parts.scheme == "https" if speaks_tls is None else speaks_tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=context)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


class Signer:
    """Writes requests of the account, rightly signed or not."""

    def __init__(self, lote: Lote) -> None:
        assert lote.ready is not None
        self._lote = lote
        self._batch = lote.ready.batch

    def request(
        self, method: str, path: str, body: object = None, *, key: str = "", length: int = -1
    ) -> bytes:
        """A whole request; another ``key`` signs wrongly, ``length`` promises a longer body."""
        content = b"" if body is None else msgspec.json.encode(body)
        target = f"{path}?api-version={API_VERSION}"
        headers = {"ocp-date": format_http_date(self._lote.world.now_us())}
        if content or length >= 0:
            headers["content-type"] = JSON_TYPE
        if method != "GET":
            headers["content-length"] = str(length if length >= 0 else len(content))
        headers["authorization"] = authorization(
            self._batch.account, key or self._batch.key, method, target, headers
        )
        return head(method, target, headers) + content


def head(method: str, target: str, headers: Mapping[str, str] | Sequence[tuple[str, str]]) -> bytes:
    """The head of a request, without any rules."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    lines = [
        f"{method} {target} HTTP/1.1",
        "host: h",
        *(f"{name}: {value}" for name, value in pairs),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class GoodClient(threading.Thread):
    """Works as if nothing was the matter, and measures how long each answer takes.

    It obeys Retry-After as clients do; ``failures`` are what was refused for any other reason.
    """

    def __init__(self, lote: Lote, name: str, pause_s: float = 0.01) -> None:
        super().__init__()
        self._lote = lote
        self._job = f"good-{name}"
        self._pause_s = pause_s
        self._over = threading.Event()
        self._client = BatchClient(account_of(lote.ready), lote.world, timeout_s=ANSWER_S)
        self.reads_s: list[float] = []
        self.writes_s: list[float] = []
        self.failures: list[str] = []

    def run(self) -> None:
        """Add a task, read it, again and again."""
        self._client.call("create_job", body={"id": self._job, "poolInfo": {"poolId": "none"}})
        number = 0
        while not self._over.is_set():
            ids = {"job_id": self._job, "task_id": f"t{number}"}
            body = {"id": f"t{number}", "commandLine": "/bin/true"}
            try:
                self.writes_s.append(self._timed("create_task", {"job_id": self._job}, body))
                self.reads_s.append(self._timed("get_task", ids))
            except BatchError as error:
                if error.status != 503:
                    self.failures.append(str(error))
            number += 1
            self._over.wait(self._pause_s)
        self._client.close()

    def _timed(self, operation: str, ids: Mapping[str, str], body: object = None) -> float:
        begun_s = self._lote.world.monotonic()
        while True:
            try:
                self._client.call(operation, ids, body=body)
            except BatchError as error:
                if error.status != 503 or self._over.is_set():
                    raise
            else:
                return self._lote.world.monotonic() - begun_s

    def __enter__(self) -> GoodClient:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def check(self, what: str, *, write_s: tuple[float, float] = (2.0, 8.0)) -> None:
        """It had answers all the time, in time; prints how soon.

        ``write_s`` bounds median and 99th percentile of its writes.
        """
        assert self.failures == []
        assert len(self.reads_s) >= 3, "the good client got nowhere"
        reads, writes = summary(self.reads_s), summary(self.writes_s)
        print(f"{what}: reads {reads} writes {writes} (median, p99 in ms, number)")
        assert reads[0] < 500
        assert reads[1] < 5000
        assert writes[0] < write_s[0] * 1000
        assert writes[1] < write_s[1] * 1000


def summary(times_s: Sequence[float]) -> tuple[float, float, int]:
    """Median and 99th percentile in milliseconds, and how many there were."""
    ordered = sorted(times_s)
    p99_s = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return round(statistics.median(ordered) * 1e3, 1), round(p99_s * 1e3, 1), len(ordered)


def memory_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return int(psutil.Process(pid).memory_info().rss)
