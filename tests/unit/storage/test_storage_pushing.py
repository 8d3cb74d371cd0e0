"""Stretches of files on their way into sockets."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import threading
from pathlib import Path

import pytest

from lote.storage.buffers import ALIGNMENT_BYTES, BUFFER_BYTES, HUGE_PAGE_BYTES, Buffers
from lote.storage.call import ClientGone
from lote.storage.pushing import TURN_BYTES, Push, Stretch, shut, writable

SIZE = 3 * BUFFER_BYTES + 4321


@pytest.fixture
def content():
    return os.urandom(SIZE)


@pytest.fixture
def path(tmp_path, content):
    path = tmp_path / "content"
    path.write_bytes(content)
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECT))
    except OSError:
        pytest.skip("a file system without direct I/O")
    return path


@pytest.fixture
def line():
    """A client's end, and the other, which does not block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        sock = listener.accept()[0]
    sock.setblocking(False)
    with client, sock:
        yield client, sock


def received(client, size):
    pieces = []
    while size and (piece := client.recv(min(size, BUFFER_BYTES))):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def push_all(push, sock):
    """Work until all is out."""
    while not push.work():
        asyncio.run(writable(sock))


def fill(sock):
    """Write until the socket takes no more."""
    while True:
        sock.send(bytes(BUFFER_BYTES))


def pushed(line, stretch, size):
    """What a client gets of a stretch that is pushed to its end."""
    client, sock = line
    found = []
    reader = threading.Thread(target=lambda: found.append(received(client, size)))
    reader.start()
    push = Push(Buffers(2), sock, stretch)
    push_all(push, sock)
    push.close()
    reader.join()
    return found[0]


@pytest.mark.parametrize("flags", [0, os.O_DIRECT])
@pytest.mark.parametrize(
    ("start", "end"),
    [(0, SIZE), (1, SIZE), (ALIGNMENT_BYTES, SIZE - 1), (BUFFER_BYTES - 7, BUFFER_BYTES + 9)],
)
def test_any_stretch_arrives_as_it_is(line, path, content, start, end, flags):
    stretch = Stretch(open_file=lambda: os.open(path, os.O_RDONLY | flags), start=start, end=end)
    assert pushed(line, stretch, end - start) == content[start:end]


def test_bytes_that_are_held_arrive_too(line, content):
    assert pushed(line, Stretch(content), SIZE) == content


def test_a_client_that_takes_nothing_has_the_thread_for_a_moment_only(line, path):
    _, sock = line
    size = 2 * TURN_BYTES
    os.truncate(path, size)
    push = Push(Buffers(2), sock, Stretch(b"", lambda: os.open(path, os.O_RDONLY), 0, size))
    assert not push.work()  # returns at all, although nobody reads
    push.close()


def test_a_client_that_has_gone_is_told_from_a_broken_disk(line, path):
    client, sock = line
    client.close()
    os.truncate(path, TURN_BYTES)
    stretch = Stretch(open_file=lambda: os.open(path, os.O_RDONLY), start=0, end=TURN_BYTES)
    push = Push(Buffers(2), sock, stretch)
    with pytest.raises(ClientGone):
        push_all(push, sock)
    push.close()


def test_a_file_that_is_too_short_is_trouble_with_the_disk(line, path):
    end = SIZE + 1
    for flags in (os.O_RDONLY, os.O_RDONLY | os.O_DIRECT):
        stretch = Stretch(b"", lambda flags=flags: os.open(path, flags), SIZE, end)
        push = Push(Buffers(2), line[1], stretch)
        with pytest.raises(OSError, match="ended 1 bytes early"):
            push.work()
        push.close()


def test_who_waits_for_a_client_is_woken_when_its_connection_is_shut(line):
    _, sock = line

    async def wait():
        waiting = asyncio.ensure_future(writable(sock))
        await asyncio.sleep(0)
        shut(sock)
        await asyncio.wait_for(waiting, 60)

    with pytest.raises(BlockingIOError):
        fill(sock)
    asyncio.run(wait())


def test_buffers_are_aligned_and_used_again():
    buffers = Buffers(2)
    taken = [buffers.take() for _ in range(4)]
    places = [ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in taken]
    assert all(len(one) == BUFFER_BYTES for one in taken)
    assert {place % HUGE_PAGE_BYTES for place in places} == {0, BUFFER_BYTES}
    assert len(set(places)) == 4
    first = taken.pop(0)
    buffers.give_back(first)
    assert buffers.take() is first


def test_buffers_lie_in_memory_that_can_have_huge_pages():
    taken = Buffers(2).take()
    place = ctypes.addressof(ctypes.c_char.from_buffer(taken))
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, end = (int(text, 16) for text in line.split()[0].split("-"))
        if start <= place < end:
            assert line.split()[1] == "rw-p"  # shared memory seldom has them
            return
    raise AssertionError("a buffer is nowhere")
