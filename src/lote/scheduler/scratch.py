"""Open slots of a pool while a plan is made: the view's rows with what changed laid over them.

Only touched nodes cost anything. A touched node is skipped in its old row and found in
``added``; open slots only shrink while a plan is made, so nothing is ever looked at twice.
"""

from __future__ import annotations

from collections.abc import Container
from heapq import heappop, heappush

from lote.scheduler.nouns import NodeView, PoolView


class Scratch:
    """What is left of a pool's open slots."""

    __slots__ = ("_added", "_cursors", "_moved", "_rows", "_spread", "mask", "pool", "total")

    def __init__(self, pool: PoolView) -> None:
        self.pool = pool
        self.mask = pool.opened.mask & ~1  # rows that may hold a node; row 0 holds the full ones
        self.total = pool.open_total  # open slots left, hidden ones not counted
        self._rows = pool.opened.rows
        self._spread = pool.spread
        self._moved: dict[int, int] = {}  # node key -> its open slots now
        self._added: dict[int, list[int]] = {}  # level -> heap of node keys
        self._cursors: dict[int, int] = {}  # level -> how far its row has been used up

    def find(self, need: int) -> int:
        """The node for a task of ``need`` slots by the pool's policy; 0 when none fits.

        Spread: most open slots. Pack: fewest that fit. Ties: the lowest key.
        """
        while True:
            fitting = self.mask >> need
            if not fitting:
                return 0
            if self._spread:
                level = need + fitting.bit_length() - 1
            else:
                level = need + (fitting & -fitting).bit_length() - 1
            key = self._first(level)
            if key:
                return key
            self.mask &= ~(1 << level)

    def find_among(self, need: int, barred: set[int], dedicated_only: bool) -> int:
        """The same for a task that may not go everywhere; looks at one node after the other."""
        levels = [level for level in range(need, self.mask.bit_length()) if self.mask >> level & 1]
        for level in reversed(levels) if self._spread else levels:
            for key in self._row(level):
                if self.suits(self.pool.nodes[key], barred, dedicated_only):
                    return key
        return 0

    def find_nodes(
        self, count: int, barred: set[int], dedicated_only: bool, first: int = 0
    ) -> list[int]:
        """``count`` empty nodes of one slot, the lowest keys, ``first`` before them if it is one of
        those that would do; none when there are fewer."""
        if self.total < count:
            return []
        found = self.find_empty(barred, dedicated_only)
        if len(found) < count:
            return []
        if first in found:
            found.remove(first)
            found.insert(0, first)
        return found[:count]

    def find_empty(self, barred: set[int], dedicated_only: bool) -> list[int]:
        """The empty nodes of one slot, in order, for a task that may not go everywhere."""
        nodes = self.pool.nodes
        return [
            key
            for key in self._row(1)
            if nodes[key].slots == 1 and self.suits(nodes[key], barred, dedicated_only)
        ]

    @staticmethod
    def suits(node: NodeView, barred: set[int], dedicated_only: bool) -> bool:
        """True when neither the job's bar nor the node's kind keeps the task off it."""
        return node.key not in barred and (node.dedicated or not dedicated_only)

    def open_slots(self, node: NodeView) -> int:
        """Open slots of a node now; 0 when it is hidden or not eligible."""
        return self._moved.get(node.key, max(0, node.level))

    def take(self, key: int, need: int) -> None:
        """``need`` of the node's open slots are given away."""
        level = self._moved.get(key)
        if level is None:
            level = self.pool.nodes[key].level
        self.total -= need
        self._set(key, level - need)

    def hide(self, key: int) -> int:
        """Offer the node to nobody; returns its open slots for ``show``."""
        level = self.open_slots(self.pool.nodes[key])
        self.total -= level
        self._moved[key] = 0
        return level

    def show(self, key: int, level: int) -> None:
        """Offer a hidden node again, with ``level`` open slots."""
        self.total += level
        self._set(key, level)

    def roomiest(
        self, need: int, barred: set[int], dedicated_only: bool, excluded: Container[int] = ()
    ) -> int:
        """The node with most open slots, even none, that has ``need`` slots in all; or 0."""
        for level in range(len(self._rows) - 1, -1, -1):
            for key in self._row(level):
                node = self.pool.nodes[key]
                if node.slots < need or key in excluded:
                    continue
                if self.suits(node, barred, dedicated_only):
                    return key
        return 0

    def idle_keys(self) -> list[int]:
        """Nodes that have open slots still."""
        return [key for level in range(1, len(self._rows)) for key in self._row(level)]

    def _first(self, level: int) -> int:
        """The lowest key of a row, or 0."""
        moved = self._moved
        row = self._rows[level] if level < len(self._rows) else ()
        cursor = start = self._cursors.get(level, 0)
        end = len(row)
        while cursor < end and row[cursor] in moved:
            cursor += 1
        if cursor != start:
            self._cursors[level] = cursor
        key = row[cursor] if cursor < end else 0
        added = self._added.get(level)
        if added:
            while added and moved[added[0]] != level:
                heappop(added)
            if added and (not key or added[0] < key):
                return added[0]
        return key

    def _row(self, level: int) -> list[int]:
        """All keys of a row, in order."""
        moved = self._moved
        rows = self._rows
        row = [key for key in rows[level] if key not in moved] if level < len(rows) else []
        row += {key for key in self._added.get(level, ()) if moved[key] == level}
        row.sort()
        return row

    def _set(self, key: int, level: int) -> None:
        self._moved[key] = level
        added = self._added.get(level)
        if added is None:
            added = self._added[level] = []
        if level:
            heappush(added, key)
            self.mask |= 1 << level
        else:
            added.append(key)  # full: never the first of anything, so the order is no matter
