"""More connections for one large download: threads that take pieces off its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from lote.blobs.attempts import Transient
from lote.blobs.connections import BROKEN, Exchange
from lote.blobs.failure import BlobError
from lote.blobs.files import write_all
from lote.blobs.pieces import Pieces

PIECE_BYTES = 8 * 1024 * 1024
LEFT_BYTES = 2 * PIECE_BYTES  # to the connection at the front, which is under way already
BUFFER_BYTES = 256 * 1024
LOOK_S = 0.2

AskRange = Callable[[int, int], Exchange]


class Crew:
    """Up to ``size`` threads beside the one that downloads. What one cannot bring it puts back:
    the front meets the same trouble, has the patience for it, and tells."""

    def __init__(self, size: int, stop: threading.Event | None) -> None:
        self._size = size
        self._stop = stop
        self._cancelled = threading.Event()
        self._threads: list[threading.Thread] = []
        self._exchanges: set[Exchange] = set()
        self._lock = threading.Lock()

    def start(self, pieces: Pieces, descriptor: int, ask: AskRange, etag: str) -> None:
        """Begin, unless it is at work already."""
        if self._threads or self._cancelled.is_set():
            return
        for _ in range(self._size):
            thread = threading.Thread(
                target=self._work, args=(pieces, descriptor, ask, etag), name="range", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def join(self) -> None:
        """Wait until it has no more to do."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(LOOK_S)
                if self._stop is not None and self._stop.is_set():
                    self.cancel()
                    return

    def cancel(self) -> None:
        """End it at once; afterwards nobody writes into the file. It can be started again."""
        self._cancelled.set()
        with self._lock:
            for exchange in self._exchanges:
                exchange.abort()
        for thread in self._threads:
            thread.join()
        self._threads.clear()
        self._cancelled.clear()

    def _work(self, pieces: Pieces, descriptor: int, ask: AskRange, etag: str) -> None:
        buffer = memoryview(bytearray(BUFFER_BYTES))
        piece = pieces.take_last(PIECE_BYTES, LEFT_BYTES)
        while piece is not None:
            at, end = piece
            try:
                for size in self._bring(at, end, descriptor, ask, etag, buffer):
                    at += size
                    pieces.note(size)
            except (Transient, BlobError, *BROKEN):
                return
            finally:
                pieces.put_back(at, end)
            piece = pieces.take_last(PIECE_BYTES, LEFT_BYTES) if at == end else None

    def _bring(
        self, at: int, end: int, descriptor: int, ask: AskRange, etag: str, buffer: memoryview
    ) -> Iterator[int]:
        """Bring a piece; gives the sizes of what is written, as it is."""
        exchange = ask(at, end)
        with self._lock:
            self._exchanges.add(exchange)
        try:
            if exchange.status != 206 or exchange.header("ETag") != etag:
                return  # no ranges here, or another content: the front will see
            while at < end and not self._is_over():
                size = exchange.answer.read_into(buffer[: end - at])
                write_all(descriptor, buffer[:size], at)
                at += size
                yield size
        finally:
            with self._lock:
                self._exchanges.discard(exchange)
            exchange.close()

    def _is_over(self) -> bool:
        return self._cancelled.is_set() or (self._stop is not None and self._stop.is_set())
