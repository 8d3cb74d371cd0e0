"""What must change in a copy of an account before a server may work on it."""

from __future__ import annotations

from lote.store.database import Connection, transaction
from lote.store.events import add_event
from lote.store.instances import forget_open_instances
from lote.store.records import PLACED, PREPARING, READY, RUNNING

_MOVE_COUNTS = (
    "UPDATE job_count SET active = active + held.tasks, running = running - held.tasks,"
    " active_slots = active_slots + held.slots, running_slots = running_slots - held.slots"
    " FROM (SELECT job_key, count(*) AS tasks, sum(slots) AS slots FROM task"
    f" WHERE phase IN ({PREPARING}, {RUNNING}) GROUP BY job_key) AS held"
    " WHERE held.job_key = job_count.job_key"
)
_RUN_AGAIN = (
    f"UPDATE task SET phase = {READY}, previous_phase = phase, previous_us = state_us,"
    f" state_us = ?, start_us = NULL, reruns = reruns + 1 WHERE phase IN ({PREPARING}, {RUNNING})"
)
_TAKE_BACK = f"UPDATE task SET phase = {READY}, node_key = NULL WHERE phase = {PLACED}"
_GO = "UPDATE node SET gone_us = ? WHERE gone_us IS NULL"
_RESIZE = (
    "UPDATE pool SET current_dedicated = 0, current_low_priority = 0, resize_started_us = ?,"
    " allocation_us = ?, allocation_state = 'resizing', resize_errors = NULL"
    " WHERE state = 'active'"
)


def forget_nodes(db: Connection, now_us: int, text: str) -> int:
    """Take all nodes out of an account, in one transaction; gives how many there were.

    Their agents belong to the server that the account was copied from. Their names are not used
    again, their tasks are ready again, and every pool orders nodes anew. ``text`` is for the log
    of events.
    """
    with transaction(db):
        db.execute(_MOVE_COUNTS)
        db.execute(_RUN_AGAIN, (now_us,))
        db.execute(_TAKE_BACK)
        forget_open_instances(db)
        gone = db.execute(_GO, (now_us,)).rowcount
        db.execute(_RESIZE, (now_us, now_us))
        add_event(db, now_us, "account_restored", "", text)
    return gone
