"""A client's connection to the storage endpoint: what HTTP needs besides ``lote.listener``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any

from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from lote.listener import BoundedProtocol, Joining
from lote.storage.contents import INLINE_MAX_BYTES
from lote.storage.line import EXTENSION, Line

METADATA_PREFIX = b"x-ms-meta-"
Awaited = asyncio.Future[object] | None  # what a coroutine gives its task to wait for
SMALL_BYTES = INLINE_MAX_BYTES  # of a body; uvicorn reads so much before anybody takes it
SMALL_DIGITS = 6


class StorageProtocol(BoundedProtocol):
    """Keeps the case of metadata names, which clients get back as they wrote them, and lends the
    connection to the answer.

    A request with a small body begins when that is there, others with their heads; they begin at
    once. So most are answered before anything has to be waited for, and need no task and no
    further turn of the event loop.
    """

    _later: tuple[RequestResponseCycle, ASGI3Application] | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of a request, or a trailer, which nobody reads."""
        if self._in_body:
            self._drop_trailer(len(name) + len(value) + 4)
            return
        low = name.lower()
        if low[: len(METADATA_PREFIX)] == METADATA_PREFIX:
            low = METADATA_PREFIX + name[len(METADATA_PREFIX) :]
        elif low == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((low, value))

    def on_message_complete(self) -> None:
        """The request is whole."""
        super().on_message_complete()
        if self._later is not None:
            (cycle, app), self._later = self._later, None
            self._begin(cycle, app)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        line = Line(cycle, self.transport)
        cycle.transport = Joining(self.transport, self.loop)  # type: ignore[assignment]
        cycle.scope["extensions"] = {EXTENSION: line}  # type: ignore[dict-item]
        if cycle.more_body and not cycle.waiting_for_100_continue and _has_small_body(cycle):
            self._later = cycle, app
        else:
            self._begin(cycle, app)

    def _begin(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        if self.transport.is_closing():  # the one before asked for that, with this behind it
            return
        running = cycle.run_asgi(app)
        try:
            awaited = running.send(None)
        except StopIteration:
            # By its line it refers to the cycle: garbage that would have to be searched for.
            cycle.scope.clear()  # type: ignore[attr-defined]
            return
        task = self.loop.create_task(Begun(running, awaited))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


def _has_small_body(cycle: RequestResponseCycle) -> bool:
    for name, value in cycle.scope["headers"]:
        if name == b"content-length":
            return len(value) <= SMALL_DIGITS and value.isdigit() and int(value) <= SMALL_BYTES
    return False


class Begun(Coroutine[Awaited, None, None]):
    """A coroutine that has begun and waits for ``awaited``, for a task to go on with."""

    def __init__(self, running: Coroutine[Awaited, None, None], awaited: Awaited) -> None:
        self._running = running
        self._awaited = awaited
        self._is_known = False

    def send(self, value: None) -> Awaited:
        """What it waits for: first what it did when it became the task's."""
        if self._is_known:
            return self._running.send(value)
        self._is_known = True
        return self._awaited

    def throw(self, *error: Any) -> Awaited:  # noqa: ANN401
        """Raise an error where it waits, also before it was asked for what."""
        self._is_known = True
        return self._running.throw(*error)

    def close(self) -> None:
        """Give it up."""
        self._running.close()

    def __await__(self) -> Generator[Awaited, None, None]:
        raise TypeError("only a task can go on with it")
