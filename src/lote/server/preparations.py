"""Job preparation and job release tasks: what agents report of them, and what their ends mean."""

from __future__ import annotations

from lote.server.memory import AGAIN, JobState, NodeState, Placed
from lote.server.owner import Tx
from lote.server.placing import send_held
from lote.server.runs import container_text, failure_text, kill, let_go, unprepare
from lote.store import special_runs as rows
from lote.store.events import add_event
from lote.store.records import PREPARATION
from lote.wire.frames import SpecialReport


def take_special(tx: Tx, node: NodeState, entry: SpecialReport) -> None:
    """An agent reports on a run of a special task; what is not current is passed over."""
    run = node.specials.get((entry.job_key, entry.kind))
    if run is None or run.run != entry.run or run.state == "completed":
        return
    run.state = entry.state
    run.start_us = tx.now_us - entry.start_age_us
    run.end_us = None if entry.end_age_us is None else tx.now_us - entry.end_age_us
    run.exit_code = entry.exit_code
    run.failure = None if entry.failure is None else failure_text(entry.failure)
    run.container = container_text(entry.container)
    run.retries = entry.retries
    age_us = entry.last_retry_age_us
    run.last_retry_us = None if age_us is None else tx.now_us - age_us
    if run.kind == PREPARATION and run.state == "completed" and run.failure is None:
        run.is_used = 1
    rows.save_special_run(tx.db, run)
    job = tx.memory.jobs.get(entry.job_key)
    if job is None or run.state != "completed":
        return
    tx.memory.touched_jobs.add(job.key)
    tx.memory.dirty_nodes.add(node.key)  # it may wait for a release task before it goes
    if run.kind == PREPARATION:
        _end_preparation(tx, node, job, is_success=run.failure is None)
    elif run.failure is not None:
        add_event(tx.db, tx.now_us, "job_release_failed", job.id, node.id)


def _end_preparation(tx: Tx, node: NodeState, job: JobState, *, is_success: bool) -> None:
    held = waiting_on(node, job.key)
    preparation = job.preparation
    if is_success:
        send_held(tx, node, job, held)
        return
    add_event(tx.db, tx.now_us, "job_preparation_failed", job.id, node.id)
    if preparation is not None and preparation.waits:
        tx.memory.view.bar(job.key, node.key)
        for one in held:
            if one.gang is not None:
                kill(tx, one, AGAIN)
                continue
            let_go(tx, node, one)
            unprepare(tx, one)


def waiting_on(node: NodeState, job_key: int) -> list[Placed]:
    """The job's runs on the node that wait for its preparation."""
    return [one for one in node.placed.values() if one.job_key == job_key and one.is_unsent]
