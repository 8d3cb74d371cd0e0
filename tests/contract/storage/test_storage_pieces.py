"""Requests as they arrive: in pieces, several at once, or never whole, over a bare socket."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time

import pytest
from storage_process import ACCOUNT

from lote.blobs.accounts import StorageAccount
from lote.storage.contents import INLINE_MAX_BYTES

PIECE_S = 0.05
SIZES = [0, 1, 10_240, INLINE_MAX_BYTES, INLINE_MAX_BYTES + 1, 3 << 20]


class Line:
    """A connection, and requests signed for a container."""

    def __init__(self, storage, container):
        account = StorageAccount.from_connection_string(storage.connection_string)
        expiry_us = time.time_ns() // 1000 + 3600 * 1_000_000
        self._sas = account.sas_url(container, "racwdl", expiry_us).partition("?")[2]
        self._path = f"/{ACCOUNT}/{container}"
        self._socket = socket.create_connection(("127.0.0.1", storage.port), timeout=20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""

    def request(self, method, name, *fields):
        first = f"{method} {self._path}/{name}?{self._sas} HTTP/1.1"
        return "\r\n".join([first, "Host: here", *fields, "", ""]).encode()

    def put(self, name, size, *fields):
        """The head of an upload."""
        return self.request(
            "PUT", name, "x-ms-blob-type: BlockBlob", f"Content-Length: {size}", *fields
        )

    def get(self, name):
        return self.request("GET", name)

    def send(self, *pieces):
        """Each arrives alone, unless an answer comes first."""
        for piece in pieces:
            self._socket.sendall(piece)
            select.select([self._socket], [], [], PIECE_S)

    def answer(self):
        """(status, body) of the next."""
        while b"\r\n\r\n" not in self._received:
            self._receive()
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        first, *lines = head.decode().lower().split("\r\n")
        size = int(dict(line.split(": ", 1) for line in lines).get("content-length", "0"))
        while len(self._received) < size:
            self._receive()
        body, self._received = self._received[:size], self._received[size:]
        return int(first.split(" ")[1]), body

    def _receive(self):
        piece = self._socket.recv(1 << 18)
        if not piece:
            raise EOFError("the server closed the connection")
        self._received += piece

    def close(self):
        self._socket.close()


@pytest.fixture
def connect(storage, box):
    lines = []

    def made():
        lines.append(Line(storage, box.container_name))
        return lines[-1]

    yield made
    for line in lines:
        line.close()


@pytest.mark.parametrize("size", SIZES)
def test_a_body_that_comes_apart_from_its_head_and_in_two(connect, size):
    line, body = connect(), os.urandom(size)
    line.send(line.put("apart", size), body[: size // 2], body[size // 2 :])
    assert line.answer() == (201, b"")
    line.send(line.get("apart"))
    assert line.answer() == (200, body)


@pytest.mark.parametrize("size", SIZES)
def test_a_body_that_waits_until_it_is_asked_for(connect, size):
    line, body = connect(), os.urandom(size)
    line.send(line.put("asked", size, "Expect: 100-continue"))
    if size:
        assert line.answer() == (100, b"")
        line.send(body)
    status, _ = line.answer()
    if status == 100:  # for no body at all it may be said or not
        status, _ = line.answer()
    assert status == 201
    line.send(line.get("asked"))
    assert line.answer() == (200, body)


@pytest.mark.parametrize("size", [10_240, 1 << 20])
def test_requests_sent_ahead_are_answered_in_their_order(connect, size):
    line = connect()
    bodies = [os.urandom(size) for _ in range(4)]
    sent = [line.put(f"ahead{number}", size) + body for number, body in enumerate(bodies)]
    sent += [line.get(f"ahead{number}") for number in range(4)] + [line.get("missing")]
    line.send(b"".join(sent))
    assert [line.answer() for _ in bodies] == [(201, b"")] * 4
    assert [line.answer() for _ in bodies] == [(200, body) for body in bodies]
    assert line.answer()[0] == 404


def test_one_request_ahead_of_a_body_that_comes_later(connect):
    line, body = connect(), os.urandom(1000)
    line.send(line.get("missing") + line.put("later", 1000), body + line.get("later"))
    assert [line.answer()[0] for _ in range(2)] == [404, 201]
    assert line.answer() == (200, body)


def test_a_body_that_never_comes_whole_makes_no_blob(connect):
    gone = connect()
    gone.send(gone.put("torn", 1000), b"x" * 999)
    gone.close()
    line = connect()
    line.send(line.get("torn"))
    assert line.answer()[0] == 404


@pytest.mark.parametrize("size", [10, 3 << 20])
def test_the_connection_closes_when_the_client_wants_it(connect, size):
    line, body = connect(), os.urandom(size)
    line.send(line.put("last", size, "Connection: close"), body)
    assert line.answer()[0] == 201
    with pytest.raises(EOFError):
        line.answer()


def test_nothing_is_done_of_what_follows_the_last_request(connect):
    line = connect()
    last = line.put("last", 2, "Connection: keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0") + b"ok"
    line.send(last + line.put("behind", 2) + b"no")
    assert line.answer()[0] == 201
    with pytest.raises(EOFError):
        line.answer()
    other = connect()
    other.send(other.get("last") + other.get("behind"))
    assert [other.answer()[0] for _ in range(2)] == [200, 404]


def test_very_many_requests_sent_ahead_are_refused(connect):
    line = connect()
    line.send(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n" * 5000)
    found = []
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            found.append(line.answer()[0])
    assert 0 < len(found) <= 100
    assert found[-1] == 400


def test_what_a_request_with_http_1_0_gets(connect):
    line = connect()
    line.send(line.put("old", 2).replace(b"HTTP/1.1", b"HTTP/1.0"), b"ok")
    assert line.answer()[0] == 201
    with pytest.raises(EOFError):
        line.answer()
