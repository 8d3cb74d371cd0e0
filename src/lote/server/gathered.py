"""What reports change in rows, gathered over a transaction so that each statement runs once."""

from __future__ import annotations

from lote.server.memory import NodeState
from lote.store import tasks as task_rows
from lote.store.database import Connection
from lote.store.nodes import count_node_tasks

Row = tuple[object, ...]


class Gathered:
    """Starts, retries and ends of runs, and what each node had of them. Written before anything
    else looks at the database (see ``owner.Tx.db``)."""

    __slots__ = ("ends", "is_empty", "nodes", "retries", "starts")

    def __init__(self) -> None:
        self.starts: list[tuple[int | None, ...]] = []
        self.retries: list[tuple[int | None, ...]] = []
        self.ends: list[Row] = []
        self.nodes: dict[int, _NodeEnds] = {}
        self.is_empty = True

    def add_start(self, row: tuple[int | None, ...]) -> None:
        """A row for ``start_tasks``."""
        self.starts.append(row)
        self.is_empty = False

    def add_retry(self, row: tuple[int | None, ...]) -> None:
        """A row for ``retry_tasks``."""
        self.retries.append(row)
        self.is_empty = False

    def add_end(self, node: NodeState, key: int, row: Row, *, is_success: bool) -> None:
        """A row for ``end_tasks``, of a run of the task of this key on this node."""
        self.ends.append(row)
        of_node = self._of_node(node)
        of_node.ran += 1
        of_node.good += is_success
        node.recent.append(key)

    def add_subtask_end(self, node: NodeState, key: int) -> None:
        """A subtask of the task of this key ended on this node; its row is written elsewhere."""
        self._of_node(node)
        node.recent.append(key)

    def _of_node(self, node: NodeState) -> _NodeEnds:
        self.is_empty = False
        found = self.nodes.get(node.key)
        if found is None:
            found = self.nodes[node.key] = _NodeEnds(node)
        return found

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
            self.ends = []
        if self.nodes:
            of_nodes = self.nodes.values()
            count_node_tasks(db, [(one.ran, one.good, one.recent, one.key) for one in of_nodes])
            self.nodes = {}


class _NodeEnds:
    """What ended on a node in this transaction. ``recent`` is the node's own list."""

    __slots__ = ("good", "key", "ran", "recent")

    def __init__(self, node: NodeState) -> None:
        self.key = node.key
        self.recent = node.recent
        self.ran = self.good = 0
