"""What agents report: begun, ended and returned runs, start tasks, troubles."""

from __future__ import annotations

from lote.server.memory import FORGET, KEEP, REQUEUE, RERUN, Link, NodeState, Placed
from lote.server.node_calls import take_node_entry
from lote.server.owner import Tx
from lote.server.preparations import take_special
from lote.server.runs import begin, count_end, failure_text, let_go, requeue, take_back
from lote.store.records import HAS_EXIT_CONDITIONS, IS_MANAGER, RUNNING
from lote.wire.frames import Ack, Confirm, Ended, Report, Returned, SpecialReport, Started


def apply_report(tx: Tx, node_key: int, link: Link, report: Report) -> None:
    """Record what an agent reports; runs that are not current are refused in the Ack."""
    memory = tx.memory
    node = memory.nodes.get(node_key)
    if node is None or memory.links.get(node_key) is not link:
        return  # an old connection's; the agent reports again on its new one
    refused: list[tuple[int, int]] = []
    for entry in report.entries:
        if isinstance(entry, (Started, Ended, Confirm, Returned)):
            placed = node.placed.get(entry.key)
            if placed is None or placed.run != entry.run:
                refused.append((entry.key, entry.run))
            elif isinstance(entry, Ended):
                _take_end(tx, node, placed, entry)
            elif isinstance(entry, Started):
                _take_start(tx, node, placed, entry)
            elif isinstance(entry, Returned):
                take_back(tx, node, placed)
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


def _take_end(tx: Tx, node: NodeState, placed: Placed, entry: Ended) -> None:
    let_go(tx, node, placed)
    if placed.doom == FORGET:
        return
    failure = entry.failure
    was_killed = failure is not None and failure.code == "TaskEnded"
    if was_killed and placed.doom in (REQUEUE, RERUN):
        requeue(tx, placed)
        return
    start_us = tx.now_us - entry.start_age_us
    end_us = tx.now_us - entry.end_age_us
    job = tx.memory.jobs.get(placed.job_key)
    row = (
        RUNNING,
        start_us,
        end_us,
        start_us,
        end_us,
        entry.exit_code,
        0 if failure else 1,
        None if failure is None else failure_text(failure),
        entry.retries,
        None if entry.last_retry_age_us is None else tx.now_us - entry.last_retry_age_us,
        _spans(entry),
        entry.wall_us or end_us - start_us,
        entry.user_cpu_us,
        entry.kernel_cpu_us,
        entry.read_blocks,
        entry.write_blocks,
        placed.key,
    )
    tx.gathered.add_end(node.key, row, is_success=failure is None)
    node.recent.append(placed.key)
    if job is not None:
        count_end(tx, job, placed, failure is None)
        tx.memory.view.observe_run(job.key, (end_us - start_us) / 1_000_000)
        if (
            job.uses_dependencies
            or (failure is not None and job.acts_on_failure)
            or (placed.flags & HAS_EXIT_CONDITIONS and job.acts_on_failure)
            or placed.flags & IS_MANAGER
        ):
            tx.memory.finished.append((placed.key, job.key, entry.exit_code, failure))


def _spans(entry: Ended) -> str | None:
    if not entry.download_us and not entry.upload_us:
        return None
    return f"{entry.download_us},{entry.run_us},{entry.upload_us}"
