"""An index of keys by a small level: nodes by open slots, nodes by length of their backlog."""

from __future__ import annotations

from bisect import bisect_left, insort


class Levels:
    """Rows of sorted keys, one a level, and a bit mask of the rows that hold any."""

    __slots__ = ("mask", "rows")

    def __init__(self) -> None:
        self.rows: list[list[int]] = [[]]
        self.mask = 0  # bit n is set when row n is not empty

    def add(self, key: int, level: int) -> None:
        """Put ``key``, which is in no row, into row ``level``."""
        rows = self.rows
        while level >= len(rows):
            rows.append([])
        insort(rows[level], key)
        self.mask |= 1 << level

    def remove(self, key: int, level: int) -> None:
        """Take ``key`` out of row ``level``, in which it is."""
        row = self.rows[level]
        del row[bisect_left(row, key)]
        if not row:
            self.mask &= ~(1 << level)

    def lowest(self) -> int:
        """The lowest level that holds a key, or -1."""
        mask = self.mask
        return (mask & -mask).bit_length() - 1
