"""What reports change in rows, gathered over a transaction so that each statement runs once."""

from __future__ import annotations

from lote.store import tasks as task_rows
from lote.store.database import Connection
from lote.store.nodes import count_node_tasks

Row = tuple[object, ...]


class Gathered:
    """Starts, retries and ends of runs, and how many each node had. Written before anything else
    looks at the database (see ``owner.Tx.db``)."""

    __slots__ = ("ends", "is_empty", "node_counts", "retries", "starts")

    def __init__(self) -> None:
        self.starts: list[tuple[int | None, ...]] = []
        self.retries: list[tuple[int | None, ...]] = []
        self.ends: list[Row] = []
        self.node_counts: dict[int, list[int]] = {}
        self.is_empty = True

    def add_start(self, row: tuple[int | None, ...]) -> None:
        """A row for ``start_tasks``."""
        self.starts.append(row)
        self.is_empty = False

    def add_retry(self, row: tuple[int | None, ...]) -> None:
        """A row for ``retry_tasks``."""
        self.retries.append(row)
        self.is_empty = False

    def add_end(self, node_key: int, row: Row, *, is_success: bool) -> None:
        """A row for ``end_tasks``, of a run on this node."""
        self.ends.append(row)
        counts = self.node_counts.get(node_key)
        if counts is None:
            counts = self.node_counts[node_key] = [0, 0]
        counts[0] += 1
        counts[1] += is_success
        self.is_empty = False

    def write(self, db: Connection) -> None:
        """Write all of it, in the order in which things happen to a run."""
        self.is_empty = True
        if self.starts:
            task_rows.start_tasks(db, self.starts)
            self.starts = []
        if self.retries:
            task_rows.retry_tasks(db, self.retries)
            self.retries = []
        if self.ends:
            task_rows.end_tasks(db, self.ends)
            count_node_tasks(
                db, [(ended, good, key) for key, (ended, good) in self.node_counts.items()]
            )
            self.ends, self.node_counts = [], {}
