"""A blob account that does nothing: what a client reaches here is the client's own limit.

Takes every upload and forgets it; answers every download with zeros, of the size that was put under
that name. Run as a program it says its port, and ends with its standard input.
"""

from __future__ import annotations

import re
import socket
import sys
import threading
from urllib.parse import urlsplit

BUFFER_BYTES = 1 << 20
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
RANGE = re.compile(rb"range: *bytes=(\d+)-(\d*)", re.IGNORECASE)
SIZE = re.compile(rb"x-ms-meta-size: *(\d+)", re.IGNORECASE)
COMMON = b'ETag: "0x1"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
MADE = b"HTTP/1.1 201 Created\r\n" + COMMON + b"Content-Length: 0\r\n\r\n"
ZEROS = memoryview(bytes(8 << 20))

sizes: dict[str, int] = {}


def serve(connection: socket.socket) -> None:
    """One connection, until the client closes it."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = bytearray(BUFFER_BYTES)
    with connection:
        while (found := read_head(connection)) is not None:
            head, early = found
            length = LENGTH.search(head)
            drop(connection, buffer, (int(length[1]) if length else 0) - early)
            method, target, _ = head.split(b" ", 2)
            path = urlsplit(target.decode()).path
            if method == b"PUT":
                remember(path, head, int(length[1]) if length else 0)
                connection.sendall(MADE)
            else:
                send_blob(connection, path, RANGE.search(head))


def read_head(connection: socket.socket) -> tuple[bytes, int] | None:
    """The head of a request, and how many bytes of its body came along."""
    received = b""
    while (end := received.find(b"\r\n\r\n")) < 0:
        piece = connection.recv(1 << 16)
        if not piece:
            return None
        received += piece
    return received[: end + 2], len(received) - end - 4


def drop(connection: socket.socket, buffer: bytearray, size: int) -> None:
    """Take a body."""
    while size > 0:
        got = connection.recv_into(buffer, min(size, len(buffer)))
        if not got:
            return
        size -= got


def remember(path: str, head: bytes, length: int) -> None:
    """How large a blob is, which for a block list stands in its metadata."""
    if b"comp=block&" in head or b"comp=block " in head:
        return
    told = SIZE.search(head)
    sizes[path] = int(told[1]) if told else length


def send_blob(connection: socket.socket, path: str, asked: re.Match[bytes] | None) -> None:
    """Zeros."""
    total = sizes.get(path, 0)
    first = int(asked[1]) if asked else 0
    last = min(int(asked[2]), total - 1) if asked and asked[2] else total - 1
    size = last - first + 1
    status = b"206 Partial Content" if asked else b"200 OK"
    head = b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (
        status, COMMON, size, first, last, total,
    )  # fmt: skip
    connection.sendall(head)
    while size > 0:
        sent = connection.send(ZEROS[: min(size, len(ZEROS))])
        size -= sent


def main() -> None:
    """Listen on a free port."""
    listener = socket.create_server(("127.0.0.1", 0))
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
