"""Which bytes of a file are still to come, while several connections bring them."""

from __future__ import annotations

import threading

Range = tuple[int, int]
"""Start and end (exclusive), in bytes."""


class Pieces:
    """The missing ranges of one content of a known length. Safe for several threads.

    One connection, the *front*, walks from the beginning on, with no end set; the others take
    pieces off the end. So a server that knows no ranges loses nothing, and the front may go on
    with the very answer that said how long the content is.
    """

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self._missing: list[Range] = [(0, total_bytes)] if total_bytes else []
        self._lock = threading.Lock()
        self.written_bytes = 0

    def front(self) -> Range | None:
        """The first missing range; None when nothing is missing but what others have taken."""
        with self._lock:
            return self._missing[0] if self._missing else None

    def claim(self, start: int, size_max: int) -> int:
        """How many bytes from ``start``, where the front is, nobody else has taken.

        They are the front's from now on, until it puts them back."""
        with self._lock:
            if not self._missing or self._missing[0][0] != start:
                return 0
            end = min(self._missing[0][1], start + size_max)
            self._replace_first(end)
            return end - start

    def take_last(self, size_bytes: int, left_bytes: int) -> Range | None:
        """A piece off the end, for another connection, which begins at a multiple of its size:
        blocks mostly do, and so each is asked for once. None when no more than ``left_bytes`` are
        missing, which the front has soon."""
        with self._lock:
            if not self._missing:
                return None
            start, end = self._missing[-1]
            if len(self._missing) == 1 and end - start <= left_bytes:
                return None
            begin = max(start, (end - 1) // size_bytes * size_bytes)
            if begin == start:
                self._missing.pop()
            else:
                self._missing[-1] = (start, begin)
            return begin, end

    def put_back(self, start: int, end: int) -> None:
        """What was claimed or taken did not come."""
        if start >= end:
            return
        with self._lock:
            ranges = sorted([*self._missing, (start, end)])
            merged = ranges[:1]
            for one in ranges[1:]:
                if one[0] == merged[-1][1]:
                    merged[-1] = (merged[-1][0], one[1])
                else:
                    merged.append(one)
            self._missing = merged

    def note(self, size_bytes: int) -> None:
        """So many bytes more are in the file."""
        with self._lock:
            self.written_bytes += size_bytes

    def _replace_first(self, start: int) -> None:
        end = self._missing[0][1]
        if start < end:
            self._missing[0] = (start, end)
        else:
            self._missing.pop(0)
