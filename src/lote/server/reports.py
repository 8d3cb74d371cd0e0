"""What agents report: begun, ended and returned runs, start tasks, troubles."""

from __future__ import annotations

from lote.server.ends import take_end
from lote.server.gangs import note_coordinated, note_subtask_start
from lote.server.memory import FORGET, KEEP, Link, NodeState, Placed
from lote.server.node_calls import take_node_entry
from lote.server.owner import Tx
from lote.server.preparations import take_special
from lote.server.runs import begin, take_back
from lote.wire.frames import (
    Ack,
    Confirm,
    Coordinated,
    Ended,
    Report,
    Returned,
    SpecialReport,
    Started,
)


def apply_report(tx: Tx, node_key: int, link: Link, report: Report) -> None:
    """Record what an agent reports; runs that are not current are refused in the Ack."""
    memory = tx.memory
    node = memory.nodes.get(node_key)
    if node is None or memory.links.get(node_key) is not link:
        return  # an old connection's; the agent reports again on its new one
    refused: list[tuple[int, int]] = []
    for entry in report.entries:
        if isinstance(entry, (Started, Ended, Confirm, Returned, Coordinated)):
            placed = node.placed.get(entry.key)
            if placed is None or placed.run != entry.run:
                refused.append((entry.key, entry.run))
            elif isinstance(entry, Ended):
                take_end(tx, node, placed, entry)
            elif isinstance(entry, Started):
                _take_start(tx, node, placed, entry)
            elif isinstance(entry, Returned):
                take_back(tx, node, placed)
            elif isinstance(entry, Coordinated):
                note_coordinated(tx, placed)
            elif placed.doom != KEEP:
                refused.append((entry.key, entry.run))
        elif isinstance(entry, SpecialReport):
            take_special(tx, node, entry)
        else:
            take_node_entry(tx, node, entry)
    memory.dirty_pools.add(node.pool_key)
    tx.send(node_key, Ack(report.seq, refused))


def _take_start(tx: Tx, node: NodeState, placed: Placed, entry: Started) -> None:
    if placed.doom == FORGET:
        return
    start_us = tx.now_us - entry.age_us
    if placed.number:
        note_subtask_start(tx, placed, start_us)
        return
    age_us = entry.last_retry_age_us
    retry_us = None if age_us is None else tx.now_us - age_us
    if placed.is_running:
        placed.start_us = start_us
        tx.gathered.add_retry((start_us, entry.retries, retry_us, placed.key, placed.run))
        return
    begin(tx, placed)
    was_preparing, placed.is_preparing = placed.is_preparing, False
    placed.is_running = True
    placed.start_us = start_us
    tx.gathered.add_start((start_us, start_us, entry.retries, retry_us, placed.key, placed.run))
    job = tx.memory.jobs.get(placed.job_key)
    if job is not None and not was_preparing:
        counts = job.counts
        counts.active -= 1
        counts.active_slots -= placed.slots
        counts.running += 1
        counts.running_slots += placed.slots
        tx.memory.dirty_counts.add(job.key)
