"""Bytes at a URL of somebody else's, for copies: streamed, taken up again where they broke off.

The URL comes from a client, so it gets no further than a blob service needs: http and https, no
redirects, none of the addresses where clouds keep their machines' credentials, no proxy of the
environment. Loaded only when the first such copy is asked for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
import threading
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from lote.storage.buffers import BUFFER_BYTES
from lote.storage.errors import Refused

THREADS = 8
CONNECT_TIMEOUT_S = 10.0
READ_TIMEOUT_S = 60.0
FIRST_ATTEMPTS_MAX = 3  # a client may be waiting
ATTEMPTS_MAX = 5  # without a byte in between
BACKOFF_S = 0.5  # before the second attempt, doubled for each further one
TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
SERVICE_VERSION = "2021-12-02"  # of the requests we send: what we speak ourselves
REFUSED_STATUSES = frozenset({400, 401, 403, 404, 409, 412})  # a client hears these as they are
CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/\d+")

# Where clouds answer questions of their machines, besides link-local addresses.
MACHINE_SERVICES = frozenset(
    ipaddress.ip_address(text) for text in ("168.63.129.16", "100.100.100.200", "fd00:ec2::254")
)

T = TypeVar("T")


class Unreachable(Exception):
    """A host that is not spoken to; the text says why, and names no URL."""


def check_peer(connection: HTTPConnection) -> None:
    """Refuses (Unreachable): a connection to where only this machine's own keepers are."""
    peer = ipaddress.ip_address(connection.sock.getpeername()[0].partition("%")[0])
    mapped = getattr(peer, "ipv4_mapped", None) or peer
    if mapped.is_link_local or mapped in MACHINE_SERVICES:
        connection.close()
        raise Unreachable("its address is one of the machine's own services")


class GuardedHTTPConnection(HTTPConnection):
    """A connection that looks whom it reached before it says anything."""

    def connect(self) -> None:
        """Connect, and check the peer."""
        super().connect()
        check_peer(self)


class GuardedHTTPSConnection(HTTPSConnection):
    """The same over TLS, trusting whom the system trusts."""

    def connect(self) -> None:
        """Connect, and check the peer."""
        super().connect()
        check_peer(self)


class GuardedHTTPPool(HTTPConnectionPool):
    """Makes guarded connections."""

    ConnectionCls = GuardedHTTPConnection


class GuardedHTTPSPool(HTTPSConnectionPool):
    """Makes guarded connections."""

    ConnectionCls = GuardedHTTPSConnection


class Fetcher:
    """Connections and threads for fetching."""

    def __init__(self) -> None:
        timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
        self._pools = urllib3.PoolManager(maxsize=THREADS, timeout=timeout, retries=False)
        self._pools.pool_classes_by_scheme = {"http": GuardedHTTPPool, "https": GuardedHTTPSPool}
        self._turns = asyncio.Semaphore(THREADS)

    async def open(
        self, url: str, headers: Mapping[str, str], stretch: tuple[int, int | None] | None = None
    ) -> Fetch:
        """Ask for a URL's bytes, or a stretch of them (first, last); see ``Fetch``."""
        fetch = Fetch(self, url, headers, stretch)
        try:
            await fetch.begin()
        except BaseException:
            await fetch.close()
            raise
        return fetch

    async def run(self, work: Callable[[], T]) -> T:
        """Do network work in a thread, which holds up nobody's end: it may wait for long."""
        async with self._turns:
            future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            name = "storage-fetch"
            threading.Thread(target=_work, args=(work, future), name=name, daemon=True).start()
            return await future

    def get(self, url: str, headers: Mapping[str, str]) -> urllib3.BaseHTTPResponse:
        """The answer to a GET, its body not yet read. For a thread. Raises ``HTTPError``."""
        return self._pools.request(
            "GET",
            url,
            headers=dict(headers),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )

    def close(self) -> None:
        """Close the connections that are kept."""
        self._pools.clear()


class Fetch:
    """A body on its way. ``headers`` are the answer's, ``size`` what is to come, in bytes."""

    def __init__(
        self,
        fetcher: Fetcher,
        url: str,
        headers: Mapping[str, str],
        stretch: tuple[int, int | None] | None,
    ) -> None:
        self._fetcher = fetcher
        self._url = url
        self._asked = {
            "Accept-Encoding": "identity",
            "x-ms-version": SERVICE_VERSION,
            **headers,
        }
        self._stretch = stretch
        self._response: urllib3.BaseHTTPResponse | None = None
        self._failures = 0
        self._done = 0
        self._first = 0
        self.headers: Mapping[str, str] = {}
        self.size = 0

    async def begin(self) -> None:
        """Send the request. Refuses: CannotVerifyCopySource, SourceConditionNotMet."""
        while True:
            try:
                response = await self._ask(self._stretch)
                break
            except (urllib3.exceptions.HTTPError, OSError) as error:
                await self._wait(error)
        expected = 200 if self._stretch is None else 206
        if response.status in (304, 412):
            raise Refused("SourceConditionNotMet")
        if response.status != expected:
            status = response.status if response.status in REFUSED_STATUSES else None
            raise _unverified(f"it was answered with status {response.status}", status)
        self.headers = response.headers
        self._first, self.size = _extent(response, self._stretch)

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """The bytes; a connection that breaks is made anew for the rest of the same version.

        Refuses: CannotVerifyCopySource with 500 when that does not help.
        """
        while self._done < self.size:
            try:
                chunk = await self._read()
            except (urllib3.exceptions.HTTPError, OSError) as error:
                await self._wait(error)
                continue
            self._failures = 0
            self._done += len(chunk)
            yield chunk

    async def close(self) -> None:
        """Let the connection go; it is kept only if the body was read to its end."""
        response, self._response = self._response, None
        if response is None:
            return
        if self.headers and self._done >= self.size:
            response.release_conn()
        else:
            with suppress(ValueError, RuntimeError, OSError):  # it has no connection any more
                response.shutdown()  # wakes the thread that reads, if one does
            await asyncio.shield(self._fetcher.run(response.close))

    async def _ask(self, stretch: tuple[int, int | None] | None) -> urllib3.BaseHTTPResponse:
        headers = dict(self._asked)
        if stretch is not None:
            first, last = stretch
            headers["Range"] = f"bytes={first}-{'' if last is None else last}"
        await self.close()
        try:
            response = await self._fetcher.run(lambda: self._fetcher.get(self._url, headers))
        except Unreachable as error:
            raise _unverified(str(error)) from None
        self._response = response
        if response.status in TRANSIENT:
            raise urllib3.exceptions.HTTPError(f"status {response.status}")
        return response

    async def _read(self) -> bytes:
        response = self._response or await self._resume()
        wanted = min(BUFFER_BYTES, self.size - self._done)
        try:
            chunk = await self._fetcher.run(lambda: response.read(wanted))
        except BaseException:
            await self.close()
            raise
        if not chunk:
            await self.close()
            raise urllib3.exceptions.HTTPError("the body ended early")
        return chunk

    async def _resume(self) -> urllib3.BaseHTTPResponse:
        """Ask for the rest, of the version that was begun."""
        etag = self.headers.get("ETag", "")
        if not etag:
            raise _unverified("the connection broke, and there is no ETag to go on by", 500)
        self._asked["If-Match"] = etag
        rest = (self._first + self._done, self._first + self.size - 1)
        response = await self._ask(rest)
        if response.status != 206 or _extent(response, rest)[0] != rest[0]:
            raise _unverified(f"its rest was answered with status {response.status}", 500)
        return response

    async def _wait(self, error: Exception) -> None:
        """Before another attempt. Refuses: CannotVerifyCopySource."""
        self._failures += 1
        if self._failures < (ATTEMPTS_MAX if self.headers else FIRST_ATTEMPTS_MAX):
            await asyncio.sleep(BACKOFF_S * 2 ** (self._failures - 1))
            return
        reason = f"{type(error).__name__} again and again"  # the text might have the URL
        raise _unverified(reason, 500 if self.headers else None) from None


def _work(work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
    try:
        value = work()
        settle = partial(future.set_result, value)
    except Exception as problem:  # the caller's to judge, whatever it is
        settle = partial(future.set_exception, problem)
    with suppress(RuntimeError):  # the loop is closed: the program ends
        future.get_loop().call_soon_threadsafe(_settle, future, settle)


def _settle(future: asyncio.Future[Any], settle: Callable[[], None]) -> None:
    if not future.done():  # else nobody waits any more
        settle()


def _unverified(reason: str, status: int | None = None) -> Refused:
    return Refused(
        "CannotVerifyCopySource", f"The copy source cannot be read: {reason}.", status=status
    )


def _extent(
    response: urllib3.BaseHTTPResponse, stretch: tuple[int, int | None] | None
) -> tuple[int, int]:
    """First byte and size of a body. Refuses: CannotVerifyCopySource if it does not say."""
    length = response.headers.get("Content-Length", "")
    if not length.isdigit():
        raise _unverified("it does not say how long it is")
    if stretch is None:
        return 0, int(length)
    found = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != stretch[0]:
        raise _unverified("it has no ranges")
    return int(found[1]), int(length)
