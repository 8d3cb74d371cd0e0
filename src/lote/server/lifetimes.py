"""Tasks that are too old: what has not completed within its lifetime is ended by the service."""

from __future__ import annotations

from lote.server.memory import FORGET
from lote.server.owner import Tx
from lote.server.runs import end_now, end_waiting, kill
from lote.store import tasks as task_rows
from lote.wire.frames import Failure

LIFETIME_US = 180 * 86_400_000_000  # REST: a task has 180 days to complete, from its addition
LOOK_US = 3_600_000_000  # ours: how much longer a task may get
CHUNK = 500  # tasks ended in one transaction, so that others are not held up

TOO_OLD = Failure(
    "usererror", "TaskEnded", "The task had not completed 180 days after it was added."
)
_OPEN = frozenset({"active", "disabling", "disabled", "enabling"})


def watch_lifetimes(tx: Tx) -> None:
    """Look for tasks that are too old, now and every hour."""
    tx.memory.set_timer(tx.now_us, "lifetimes", 0)


def end_old_tasks(tx: Tx) -> None:
    """End tasks that are too old, as many as one transaction should; set the next look."""
    memory = tx.memory
    before_us = tx.now_us - LIFETIME_US
    left = CHUNK
    for job in list(memory.jobs.values()):
        if job.created_us > before_us or job.state not in _OPEN:
            continue
        for record in task_rows.list_old_tasks(tx.db, job.key, before_us, left):
            left -= 1
            placed = memory.placed.get(record.key)
            if placed is not None:
                end_now(tx, placed, TOO_OLD)
                kill(tx, placed, FORGET)
            else:
                end_waiting(tx, job, record, TOO_OLD)
        if not left:
            break
    memory.set_timer(tx.now_us + (LOOK_US if left else 1), "lifetimes", 0)
