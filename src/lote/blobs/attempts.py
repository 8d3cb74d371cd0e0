"""Requests that are tried again: what is transient, how long to pause, when to give up."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import NoReturn, TypeVar

from lote.blobs.bodies import Body, FileShrank
from lote.blobs.connections import BROKEN, BadRequest, Connections, Exchange
from lote.blobs.failure import BlobError, BlobStopped, refused_by_server
from lote.blobs.listing import parse_error
from lote.blobs.permit import PermitLost

BACK_OFF_MAX_S = 5.0
RETRY_AFTER_MAX_S = 30.0  # a server that asks for more is not obeyed for longer
ERROR_BODY_MAX_BYTES = 64 * 1024
TRANSIENT_STATUSES = frozenset({408, 429, 500, 502, 503, 504})
REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})

T = TypeVar("T")


class Transient(Exception):
    """An attempt that may succeed when it is made again; ``failure`` if it was the last.

    ``after_s``: what the server asked for. ``progressed``: some of the work is done for good.
    """

    def __init__(
        self, failure: BlobError, *, after_s: float = 0.0, progressed: bool = False
    ) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.after_s = after_s
        self.progressed = progressed


class Attempts:
    """Connections, and the patience with which they are used."""

    def __init__(self, connections: Connections, attempts_max: int, back_off_s: float) -> None:
        self.connections = connections
        self._attempts_max = attempts_max
        self._back_off_s = back_off_s

    def open(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None = None
    ) -> Exchange:
        """One attempt: an exchange with a 2xx or 3xx answer, which the caller closes.

        Raises ``BlobError`` for what no retry helps, ``Transient`` for the rest.
        """
        try:
            exchange = self.connections.request(method, url, headers, body)
        except (FileShrank, BadRequest) as error:
            raise BlobError("misc", url, str(error)) from error
        except PermitLost as error:
            failure = BlobError("misc", url, "the permit ran out")
            raise Transient(failure, progressed=True) from error  # it is waited for, not counted
        except BROKEN as error:
            raise Transient(broken(url, error)) from error
        if exchange.status >= 400:
            refuse(url, exchange)
        return exchange

    def retry(self, attempt: Callable[[], T], stop: threading.Event | None) -> T:
        """Make an attempt until it succeeds, fails for good, or failed too often in a row."""
        failures = 0
        pause = stop or threading.Event()
        while True:
            if pause.is_set():
                raise BlobStopped
            try:
                return attempt()
            except Transient as transient:
                failures = 1 if transient.progressed else failures + 1
                if failures >= self._attempts_max:
                    raise transient.failure from transient.__cause__
                back_off_s = min(self._back_off_s * 2 ** (failures - 1), BACK_OFF_MAX_S)
                pause.wait(max(back_off_s, transient.after_s))


def broken(url: str, error: BaseException) -> BlobError:
    """The failure for a connection that could not be made, broke, or fell silent."""
    reason = f"{type(error).__name__}: {error}"
    return BlobError("timed_out" if isinstance(error, TimeoutError) else "misc", url, reason)


def refuse(url: str, exchange: Exchange) -> NoReturn:
    """Raise what an answer that is not a success means, and close its exchange."""
    try:
        body = exchange.read(ERROR_BODY_MAX_BYTES)
    except BROKEN:
        body = b""  # the status alone says enough
    finally:
        exchange.close()
    code, reason = parse_error(body)
    code = exchange.header("x-ms-error-code") or code
    failure = refused_by_server(url, exchange.status, code, reason)
    if exchange.status in TRANSIENT_STATUSES:
        raise Transient(failure, after_s=retry_after_s(exchange))
    raise failure


def retry_after_s(exchange: Exchange) -> float:
    """The pause a server asks for, in seconds; dates are not honoured, they are rare."""
    text = exchange.header("Retry-After") or ""
    return min(float(text), RETRY_AFTER_MAX_S) if text.isdigit() else 0.0
