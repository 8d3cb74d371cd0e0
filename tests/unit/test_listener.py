"""Tests of the sockets that the HTTP servers listen on."""

import asyncio
import contextlib
import errno
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import uvicorn
import websockets

from lote.listener import BoundedProtocol, Bounds, Joining, QuietServer, bounded, listen
from lote.storage.protocol import StorageProtocol

RealSocket = socket.socket


def test_a_port_is_taken_from_the_moment_it_is_known():
    with listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address, timeout=5) as client:  # before anything serves it
            assert client.getpeername() == address


def test_a_port_that_another_listens_on_is_refused():
    with listen("127.0.0.1", 0) as first, pytest.raises(OSError, match="Address already in use"):
        listen("127.0.0.1", first.getsockname()[1])


def test_a_free_port_that_another_takes_first_is_given_up_for_another(monkeypatch):
    others = []

    class Overtaken(RealSocket):
        def listen(self, backlog):  # type: ignore[override]
            if not others:
                other = RealSocket()
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                other.bind(self.getsockname())
                other.listen()
                others.append(other)
            super().listen(backlog)

    monkeypatch.setattr("lote.listener.socket.socket", Overtaken)
    with listen("127.0.0.1", 0) as listener, others[0]:
        assert listener.getsockname()[1] != others[0].getsockname()[1]


def test_a_free_port_is_none_from_which_connections_are_made():
    """What dials a server that is away could else be given that server's port to dial from."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    for _ in range(20):
        with listen("127.0.0.1", 0) as found:
            assert not first <= found.getsockname()[1] <= last


def test_without_others_the_kernel_chooses(monkeypatch, tmp_path):
    every = tmp_path / "range"
    every.write_text("1024\t65535\n")
    monkeypatch.setattr("lote.listener.EPHEMERAL_PORTS", every)
    with listen("127.0.0.1", 0) as found:
        assert found.getsockname()[1] > 0


def test_a_port_asked_for_by_number_is_not_exchanged_for_another(monkeypatch):
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]

    class Overtaken(RealSocket):
        def listen(self, backlog):  # type: ignore[override]
            raise OSError(errno.EADDRINUSE, "taken")

    monkeypatch.setattr("lote.listener.socket.socket", Overtaken)
    with pytest.raises(OSError, match="taken"):
        listen("127.0.0.1", port)


class Noting:
    """A transport that notes what it is told."""

    def __init__(self):
        self.told = []

    def write(self, data):
        self.told.append(data)

    def writelines(self, pieces):
        self.told.append(b"".join(pieces))

    def close(self):
        self.told.append("close")


def written(*, act):
    """What a transport is told by ``act``, and by the loop's next turn."""
    transport = Noting()

    async def run():
        answer = Joining(transport, asyncio.get_running_loop())
        await act(answer)
        await asyncio.sleep(0)

    asyncio.run(run())
    return transport.told


def test_a_head_and_the_first_of_its_body_leave_in_one_piece():
    async def act(answer):
        for piece in (b"HTTP/1.1 100 Continue", b"head ", b"body ", b"more"):
            answer.write(piece)
        answer.close()

    assert written(act=act) == [b"HTTP/1.1 100 Continue", b"head body ", b"more", "close"]


def test_a_head_does_not_wait_for_a_body_that_is_late():
    async def act(answer):
        answer.write(b"head")
        await asyncio.sleep(0)
        answer.write(b"late")

    assert written(act=act) == [b"head", b"late"]


def test_a_head_without_a_body_leaves_before_its_connection_is_closed():
    async def act(answer):
        answer.write(b"head")
        answer.close()

    assert written(act=act) == [b"head", "close"]


def test_the_collector_passes_over_what_was_there_at_the_start():
    """In a process of its own, for it changes all of it."""
    program = (
        "import gc; from lote.listener import calm_collector; before = gc.get_threshold()[0];"
        " calm_collector(); print(gc.get_freeze_count() > 1000, gc.get_threshold()[0] > before)"
    )
    shown = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert shown.stdout.split() == ["True", "True"]


KEPT_S = 1.5
LONG = b"PUT / HTTP/1.1\r\ncontent-length: 4\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


async def answer_nothing(scope, receive, send):
    headers = [(b"content-length", b"0")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


@contextlib.asynccontextmanager
async def served(bounds=None, protocol=BoundedProtocol, **options):
    """Serves nothing, on connections that may be idle for ``KEPT_S``; gives the address."""
    config = uvicorn.Config(
        options.get("app", answer_nothing),
        http=bounded(bounds or Bounds(), protocol),
        ws=options.get("ws", "none"),
        lifespan="off",
        log_config=None,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEPT_S,
    )
    listener, server = listen("127.0.0.1", 0), QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await server.listening.wait()
    yield listener.getsockname()
    server.should_exit = True
    await serving


def test_a_connection_is_kept_as_long_as_it_is_used_and_no_longer():
    async def check():
        async with served() as address:
            reader, writer = await asyncio.open_connection(*address)
            for _ in range(6):  # together longer than it may be idle
                writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
                assert await reader.readexactly(len(EMPTY)) == EMPTY
                await asyncio.sleep(KEPT_S / 4)
            assert await asyncio.wait_for(reader.read(), 20) == b""
            writer.close()

    asyncio.run(check())


@pytest.mark.parametrize("protocol", [BoundedProtocol, StorageProtocol])
def test_a_request_in_two_pieces_leaves_its_connection_as_long_as_any(protocol):
    """Answered as it becomes whole or a little later, it is not taken for one that comes slowly."""

    async def check():
        async with served(Bounds(head_s=0.2), protocol) as address:
            reader, writer = await asyncio.open_connection(*address)
            for first, second in ((b"GET / HTTP", b"/1.1\r\n\r\n"), (LONG, b"body")):
                for piece in (first, second):
                    writer.write(piece)
                    await asyncio.sleep(0.05)
                assert await reader.readexactly(len(EMPTY)) == EMPTY
                await asyncio.sleep(0.4)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            assert await reader.readexactly(len(EMPTY)) == EMPTY
            writer.close()

    asyncio.run(check())


@pytest.mark.parametrize("protocol", [BoundedProtocol, StorageProtocol])
@pytest.mark.parametrize("line", [b"x: y\r\n", b"x: " + b"y" * 997])
def test_what_follows_a_chunked_body_is_bounded(protocol, line):
    """Trailers, and one that never ends."""

    async def check():
        async with served(Bounds(head_bytes_max=20_000), protocol) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n")
            assert await reader.readexactly(len(EMPTY)) == EMPTY
            answered = asyncio.ensure_future(reader.read())
            with contextlib.suppress(ConnectionError):
                while not answered.done():
                    for _ in range(100):
                        writer.write(line)
                    await writer.drain()
                    await asyncio.sleep(0)
            writer.close()
            return await answered

    assert asyncio.run(asyncio.wait_for(check(), 60)).startswith(b"HTTP/1.1 431 ")


def test_a_request_that_is_under_way_keeps_its_connection():
    async def check():
        async with served() as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
            assert await reader.readexactly(len(EMPTY)) == EMPTY
            writer.write(b"GET / HTTP/1.1\r\nho")
            await asyncio.sleep(2 * KEPT_S)
            writer.write(b"st: here\r\n\r\n")
            assert await reader.readexactly(len(EMPTY)) == EMPTY
            assert await asyncio.wait_for(reader.read(), 5) == b""
            writer.close()

    asyncio.run(check())


@pytest.mark.parametrize("pieces", [1, 2, 7])
def test_a_head_is_bounded_however_it_arrives(pieces):
    async def check(name_bytes):
        async with served() as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            await reader.readexactly(len(EMPTY))
            fields = b"".join(b"x-%03d: %s\r\n" % (n, b"v" * name_bytes) for n in range(64))
            head = b"GET / HTTP/1.1\r\nhost: here\r\n" + fields + b"\r\n"
            step = -(-len(head) // pieces)
            for start in range(0, len(head), step):
                writer.write(head[start : start + step])
                await asyncio.sleep(0.02)
            status = (await reader.readline()).split(b" ")[1]
            writer.close()
            return int(status)

    assert asyncio.run(check(900)) == 200
    assert asyncio.run(check(1100)) == 431


async def answer_nothing_or_talk(scope, receive, send):
    if scope["type"] == "http":
        await answer_nothing(scope, receive, send)
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def test_a_websocket_outlasts_the_requests_before_it_on_its_connection():
    async def check():
        async with served(app=answer_nothing_or_talk, ws="websockets-sansio") as address:
            sock = socket.create_connection(address)
            sock.sendall(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
            answer = await asyncio.to_thread(sock.recv, len(EMPTY), socket.MSG_WAITALL)
            assert answer == EMPTY
            async with websockets.connect("ws://here/", sock=sock) as talk:
                await asyncio.sleep(1.5 * KEPT_S)
                await talk.send("still there")
                return await asyncio.wait_for(talk.recv(), 20)

    assert asyncio.run(check()) == "still there"
