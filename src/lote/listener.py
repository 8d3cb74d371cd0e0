"""What the HTTP listeners of both servers share: bounds on what a client may cost, and a server
that leaves signals alone.

uvicorn bounds neither the head of a request nor the time a client takes for it. Nothing here costs
a request that arrives in one piece more than a few comparisons: timers are set only when a head or
a body is still incomplete after what was read, and look for themselves whether they still matter.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import resource
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, cast

import httptools
import uvicorn
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from lote.world import World

URL_BYTES_MAX = 60_000  # a filter of 16,384 characters, all escaped; httptools counts in 16 bits
HEADERS_MAX = 256  # ours: clients send under 30, and up to 100 of a blob's metadata
PIPELINE_MAX = 64  # requests sent ahead on one connection; no client in use sends any
BACKLOG = 2048  # connections that wait to be accepted
DROPPED_BYTES_MAX = 16 << 20  # of a body that goes on after its answer
DRAWS = 100
LOWEST_DRAWN = 20_000  # below it are most of those that programs have by custom
EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
LINGER_S = 2.0  # a refused client may go on sending for so long, and so sees the answer
FILES_BESIDE = 256  # descriptors for databases, files and children
# New objects between two looks of the garbage collector at the young ones, and such looks between
# two at older ones: Python's own (700, 10, 10) spend a fifth of the time of a busy server.
COLLECTOR_THRESHOLDS = (10_000, 20, 20)


_CONTINUE = b"HTTP/1.1 100 "


class Bounds(NamedTuple):
    """What one listener takes from its clients. See the settings of the same names."""

    connections_max: int = 4000
    head_bytes_max: int = 64 << 10
    head_s: float = 30.0
    body_stall_s: float = 20.0
    body_rate_min: int = 1024


def calm_collector() -> None:
    """Let the garbage collector pass over what is there by now, which is there to stay, and look
    less often at the rest. A look at all the modules holds up every request for tens of
    milliseconds. For a process that has started up."""
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


class _TooMuch(Exception):
    """Raised within the parser's callbacks, so that it stops."""


class Joining:
    """What an answer is written to: its head waits for the first of its body, so that both leave
    in one piece, but no longer than until the loop has nothing older to do."""

    __slots__ = ("_head", "_is_out", "_loop", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head: bytes | None = None
        self._is_out = False

    def write(self, data: bytes) -> None:
        """The head, then pieces of the body; before both perhaps a word to go on with theirs."""
        if self._is_out or data.startswith(_CONTINUE):
            self._transport.write(data)
        elif self._head is None:
            self._head = data
            self._loop.call_soon(self._flush)
        else:
            self._is_out = True
            self._transport.writelines((self._head, data))

    def is_closing(self) -> bool:
        """Whether the connection is being closed."""
        return self._transport.is_closing()

    def close(self) -> None:
        """Close the connection once everything is out."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head is not None and not self._is_out:
            self._is_out = True
            self._transport.write(self._head)


class BoundedProtocol(HttpToolsProtocol):
    """A client's connection, within bounds.

    A head that is too large is answered 431, a URL 414, a head or body that comes too slowly 408.
    When there are too many connections the ones idle for longest are closed; when none is idle,
    the new one is answered 503.
    """

    def __init__(
        self,
        bounds: Bounds,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._bounds = bounds
        self._in_head = False
        self._in_body = False
        self._messages = 0
        self._messages_before = 0  # this read
        self._head_bytes = 0
        self._head_bytes_most = 0  # with all of the reads in which it began and ended
        self._read_bytes = 0
        self._refusal = 400
        self._is_refused = False
        self._timer: asyncio.TimerHandle | None = None
        self._waits_since: float | None = None  # for the rest of a head
        self._window_since: float | None = None  # in which a part of a body must come
        self._window_bytes = 0
        self._dropped_bytes = 0
        self._trailer_bytes = 0
        self._silent_bytes = 0  # of the body's frame: the parser keeps them until a line is whole
        self._running: RequestResponseCycle | None = None
        self._held_up = False  # it was ours, not the client's, to go on, when last looked at
        self.idle_since = 0.0

    # -- the connection ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; it has ``head_s`` for the head of its first request."""
        super().connection_made(transport)
        self.idle_since = self._waits_since = self.loop.time()
        self._watch(self._bounds.head_s)
        if len(self.connections) > self._bounds.connections_max and not self._make_room():
            self._refuse(503)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._stop_watching()
        self._unset_keepalive_if_required()
        running = self._running
        if running is not None and not running.response_complete:
            running.disconnected = True  # uvicorn tells the last that came, if there are more
            running.message_event.set()
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether no request is under way."""
        return not self._in_body and (self.cycle is None or self.cycle.response_complete)

    def data_received(self, data: bytes) -> None:
        """Some bytes."""
        if self._is_refused:
            return
        was_in_head, messages = self._in_head, self._messages
        told_bytes = self._window_bytes + self._trailer_bytes
        self._messages_before = messages
        self._read_bytes = len(data)
        if was_in_head:
            self._head_bytes_most += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self._refuse(self._refusal)
            return
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self._stop_watching()
                self._unset_keepalive_if_required()  # it is another protocol's from here on
                self.handle_websocket_upgrade()
                return
        if was_in_head and self._in_head and messages == self._messages:
            # The parser keeps a header to itself until it is whole: count what it was given.
            self._head_bytes += len(data)
            if self._head_bytes > self._bounds.head_bytes_max:
                self._refuse(431)
                return
        if self._in_body:
            if not was_in_head and told_bytes == self._window_bytes + self._trailer_bytes:
                self._silent_bytes += len(data)
                if self._silent_bytes > self._bounds.head_bytes_max:
                    self._refuse(431)
                    return
            if self._window_since is None:
                self._window_since = self.loop.time()
            self._watch(self._bounds.body_stall_s)
        elif self._in_head or (self.is_idle and self.timeout_keep_alive_task is None):
            if self._waits_since is None:
                self._waits_since = self.loop.time()
            self._watch(self._bounds.head_s)

    # -- the parser's callbacks -------------------------------------------------------------

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._in_head = True
        self._messages += 1
        self._head_bytes = 0
        self._head_bytes_most = self._read_bytes

    def on_url(self, url: bytes) -> None:
        """A piece of the request's target."""
        super().on_url(url)
        if len(self.url) > URL_BYTES_MAX:
            self._stop_parsing(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of a request, or a trailer, which nobody reads."""
        if self._in_body:
            self._drop_trailer(len(name) + len(value) + 4)
            return
        low = name.lower()
        if low == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True
        self.headers.append((low, value))

    def _drop_trailer(self, size_bytes: int) -> None:
        self._trailer_bytes += size_bytes
        if self._trailer_bytes > self._bounds.head_bytes_max:
            self._stop_parsing(431)

    def on_headers_complete(self) -> None:
        """The request can begin."""
        if len(self.headers) > HEADERS_MAX or self._is_head_too_large():
            self._stop_parsing(431)
        ahead = max(len(self.pipeline), self._messages - self._messages_before - 1)
        if ahead >= PIPELINE_MAX:
            self._stop_parsing(400)
        self._in_head = False
        self._in_body = True
        self._waits_since = self._window_since = None
        self._window_bytes = self._dropped_bytes = 0
        self._trailer_bytes = self._silent_bytes = 0
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        cycle.transport = Joining(self.transport, self.loop)  # type: ignore[assignment]
        super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        """A piece of the body; nobody wants it any more once the answer is out."""
        self._window_bytes += len(body)
        if self.cycle is not None and self.cycle.response_complete:
            self._dropped_bytes += len(body)
            if self._dropped_bytes > DROPPED_BYTES_MAX:
                self.transport.close()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Its answer is out. What uvicorn's own does, but for a timer made and cancelled for each
        request: one looks after the connection, and again when it was used meanwhile."""
        self.idle_since = self.loop.time()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.timeout_keep_alive_task is None:
            self._watch_idle(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection unless it was used."""
        self.timeout_keep_alive_task = None
        if self.transport.is_closing() or self._in_head or not self.is_idle:
            return  # the answer to what is under way sets the next timer
        left_s = self.idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._watch_idle(left_s)
        else:
            self.transport.close()

    def _watch_idle(self, delay_s: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            delay_s, self.timeout_keep_alive_handler
        )

    def _is_head_too_large(self) -> bool:
        if self._head_bytes_most <= self._bounds.head_bytes_max:
            return False
        size = len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])
        return size > self._bounds.head_bytes_max

    def _stop_parsing(self, status: int) -> None:
        self._refusal = status
        raise _TooMuch

    # -- time -------------------------------------------------------------------------------

    def _watch(self, delay_s: float) -> None:
        """Look after this time, or before: a timer that is due later (a head's) gives way."""
        if self._timer is not None:
            if self._timer.when() <= self.loop.time() + delay_s:
                return
            self._timer.cancel()
        self._timer = self.loop.call_later(delay_s, self._look)

    def _stop_watching(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._is_refused or self.transport.is_closing():
            return
        if self._in_body and self._window_since is not None:
            self._look_at_body(self._window_since)
        elif self._waits_since is not None and (self._in_head or self.is_idle):
            left_s = self._waits_since + self._bounds.head_s - self.loop.time()
            if left_s > 0:
                self._watch(left_s)
            elif self._in_head:
                self._refuse(408)
            else:
                self.transport.close()

    def _look_at_body(self, since: float) -> None:
        bounds = self._bounds
        left_s = since + bounds.body_stall_s - self.loop.time()
        if left_s > 0:
            self._watch(left_s)
            return
        held_up = self.flow.read_paused or self.cycle.waiting_for_100_continue
        was_held_up, self._held_up = self._held_up, held_up
        enough = self._window_bytes >= bounds.body_rate_min * bounds.body_stall_s
        if held_up or was_held_up or enough:
            self._window_since, self._window_bytes = self.loop.time(), 0
            self._watch(bounds.body_stall_s)
        else:
            self._refuse(408)

    # -- the end ----------------------------------------------------------------------------

    def _make_room(self) -> bool:
        idle = [
            one
            for one in self.connections
            if isinstance(one, BoundedProtocol)
            and one is not self
            and one.is_idle
            and not one.transport.is_closing()
        ]
        # Those that never asked for anything go before those that may ask again.
        idle.sort(key=lambda one: (one.cycle is not None, one.idle_since))
        for one in idle[: -(-len(idle) // 16)]:  # some at once: this looked at all of them
            one.transport.close()
        return bool(idle)

    def _refuse(self, status: int) -> None:
        """Answer, unless another answer is due first, and close."""
        self._is_refused = True
        self._stop_watching()
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            is_due = not self._in_body or cycle.response_started or bool(self.pipeline)
            cycle.disconnected = True  # its handler is told, and what it still says is dropped
            cycle.message_event.set()
            if is_due:
                self.transport.close()
                return
        words = STATUS_LINE[status].split(b" ", 2)[2].strip() + b"\n"
        retry = b"retry-after: 1\r\n" if status == 503 else b""
        self.transport.write(
            b"%scontent-type: text/plain\r\ncontent-length: %d\r\n%sconnection: close\r\n\r\n%s"
            % (STATUS_LINE[status], len(words), retry, words)
        )
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        # Closing with unread bytes would reset the connection, and the answer with it.
        self.transport.write_eof()
        self.flow.resume_reading()
        self.loop.call_later(LINGER_S, self.transport.close)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Refuses: ``OSError``.

    It listens at once: a port that is only bound may be given to another process that asks for a
    free one, and whoever listens second would be refused later, when nobody expects it any more.
    """
    if port:
        return _listen(host, port)
    for drawn in _drawn_ports():
        try:
            return _listen(host, drawn)
        except OSError as failure:
            if failure.errno != errno.EADDRINUSE:
                raise
    raise OSError(errno.EADDRINUSE, "no port is free")


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.set_inheritable(False)
    return listener


def _drawn_ports() -> Iterator[int]:
    """Ports to try. None from which connections are made: a server that is started again wants its
    own back, and an agent that dials it meanwhile may be given just that one to dial from, with
    which it reaches itself, and which is then taken for a minute."""
    try:
        first, last = map(int, EPHEMERAL_PORTS.read_text().split())
    except OSError:  # not Linux
        first, last = 32768, 65535
    below, above = range(LOWEST_DRAWN, first), range(last + 1, 1 << 16)
    ports = below if len(below) >= len(above) else above
    world = World()
    for _ in range(DRAWS if ports else 0):
        yield ports[int(world.chance() * len(ports))]
    for _ in range(DRAWS):
        yield 0  # any that the kernel has


def bounded(
    bounds: Bounds, protocol: type[BoundedProtocol] = BoundedProtocol
) -> type[asyncio.Protocol]:
    """The protocol within these bounds, as uvicorn's ``http``."""
    return cast(type[asyncio.Protocol], partial(protocol, bounds))


def fit_file_limit(bounds: Bounds) -> Bounds:
    """Raise this process's limit of open files as far as the connections need and the system
    allows; fewer connections where it does not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * bounds.connections_max + FILES_BESIDE  # there are two listeners
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return bounds._replace(
        connections_max=max(1, min(bounds.connections_max, (soft - FILES_BESIDE) // 2))
    )


class QuietServer(uvicorn.Server):
    """A server that leaves signals to us and says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None: there are two servers, and signals are for the whole service."""
        yield
