"""Reading the answer of an HTTP server: its head, then its body, in memory or into a file.

Heads, and bodies without a length, go through the parser that the servers use too. A body whose
length is known is read past it, straight from the socket to where it shall be.
"""

from __future__ import annotations

import socket

import httptools

RECEIVE_BYTES = 64 * 1024  # holds head and body of a small file
HEAD_BYTES_MAX = 256 * 1024


class BadAnswer(Exception):
    """What came is no HTTP, or ended in the middle."""


class Answer:
    """One answer on a connection. Raises OSError and BadAnswer while it is read."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._headers: dict[bytes, bytes] = {}
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []  # of the body, parsed and not yet asked for
        self._trouble: Exception | None = None
        self._has_head = False
        self._left: int | None = None  # of a body read past the parser
        self._length: int | None = None
        self.status = 0
        self.keeps_alive = False
        self.is_whole = False
        self._read_head()

    def header(self, name: str) -> str | None:
        """A header; several of one name are joined."""
        value = self._headers.get(name.lower().encode())
        return None if value is None else value.decode("latin-1").strip()

    @property
    def length(self) -> int | None:
        """Bytes of the body, if the server said so."""
        return self._length

    # -- called by the parser ---------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        key = name.lower()
        self._headers[key] = self._headers[key] + b", " + value if key in self._headers else value

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._has_head = True
        self.status = self._parser.get_status_code()
        self.keeps_alive = self._parser.should_keep_alive()  # it forgets at the message's end

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole, or it was one of those that go before the real one."""
        if 100 <= self.status < 200:
            self._headers.clear()
            self._has_head = False
        else:
            self.is_whole = True

    # -- reading ----------------------------------------------------------------------------

    def _read_head(self) -> None:
        taken = 0
        while not self._has_head:
            chunk = self._sock.recv(RECEIVE_BYTES)
            if not chunk:
                raise ConnectionResetError("closed without an answer")
            taken += len(chunk)
            if taken > HEAD_BYTES_MAX:
                raise BadAnswer("the headers have no end")
            self._feed(chunk)
        text = self.header("content-length") or ""
        if text.isdigit() and b"transfer-encoding" not in self._headers:
            self._length = int(text)
            if not self.is_whole:
                self._left = self._length - sum(map(len, self._pieces))

    def _feed(self, chunk: bytes) -> None:
        try:
            self._parser.feed_data(chunk)
        except httptools.HttpParserError as error:
            raise BadAnswer(f"not HTTP: {error}") from error

    def read_some(self) -> bytes:
        """The next bytes of the body; none at its end."""
        while not self._pieces:
            if self.is_whole:
                return b""
            if self._left is not None:
                piece = self._sock.recv(min(self._left, RECEIVE_BYTES))
                self._count(len(piece))
                return piece
            chunk = self._sock.recv(RECEIVE_BYTES)
            if chunk:
                self._feed(chunk)
            elif b"transfer-encoding" in self._headers:
                raise ConnectionResetError("closed in the middle of a chunk")
            else:  # a body without a length ends with its connection
                self.is_whole, self.keeps_alive = True, False
        return self._pieces.pop(0)

    def read(self, size_max: int) -> bytes:
        """The whole body, or its first bytes when it is longer."""
        pieces, size = [], 0
        while size < size_max and (piece := self.read_some()):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)[:size_max]

    def read_into(self, buffer: memoryview) -> int:
        """Fill a buffer; gives how many bytes there were, fewer only at the body's end or when
        the connection breaks, which the next call raises."""
        if self._trouble is not None:
            raise self._trouble
        filled = 0
        while filled < len(buffer):
            try:
                size = self._read_into(buffer[filled:])
            except (OSError, BadAnswer) as error:
                if not filled:
                    raise
                self._trouble = error
                break
            if not size:
                break
            filled += size
        return filled

    def _read_into(self, buffer: memoryview) -> int:
        if self._left and not self._pieces:
            size = self._sock.recv_into(buffer, min(self._left, len(buffer)))
            self._count(size)
            return size
        piece = self.read_some()
        size = min(len(piece), len(buffer))
        buffer[:size] = piece[:size]
        if size < len(piece):
            self._pieces.insert(0, piece[size:])
        return size

    def _count(self, size: int) -> None:
        """So many bytes came past the parser."""
        assert self._left is not None
        if not size:
            raise ConnectionResetError(f"closed {self._left} bytes too early")
        self._left -= size
        self.is_whole = not self._left

    def let_go(self) -> None:
        """Nothing more will be read: parser and answer know each other, and would stay so."""
        del self._parser
