"""Runs of job preparation and job release tasks on nodes: begun, ended, void.

A run is a row and an entry of its node in memory. Its number grows with every start, so that a
report of an earlier one is known. What the end of a run means is ``preparations``' business.
"""

from __future__ import annotations

from lote.server.memory import JobState, NodeState
from lote.server.owner import Tx
from lote.store import special_runs as rows
from lote.store.records import PREPARATION, RELEASE, SpecialRun
from lote.wire.frames import JobFacts, KillSpecial, Special

ENDING = frozenset({"terminating", "deleting"})  # states of jobs
NODE_GONE = (
    '{"category":"servererror","code":"TaskEnded",'
    '"message":"The node went while the task was running."}'
)
RELEASE_OVERDUE = (
    '{"category":"servererror","code":"TaskEnded",'
    '"message":"The node did not end the task in time."}'
)
OVERDUE_S = 60.0  # ours: agents keep the limit of a release task; one that does not is passed over


def tell_job(tx: Tx, node: NodeState, job: JobState) -> None:
    """Tell a node what the tasks of a job share."""
    node.told_jobs.add(job.key)
    preparation_id = job.preparation.id if job.preparation is not None else ""
    facts = JobFacts(
        job.key, job.id, job.directory, job.environment, job.retries_max, preparation_id
    )
    tx.send(node.key, facts)


def is_prepared(node: NodeState, job: JobState) -> bool:
    """Whether the job's preparation has succeeded on the node, and still counts."""
    preparation = job.preparation
    if preparation is None:
        return True
    run = node.specials.get((job.key, PREPARATION))
    if run is None or run.is_void or run.state != "completed":
        return False
    if run.failure is not None and preparation.waits:
        return False
    return not preparation.reruns or run.boot == node.boot


def prepare(tx: Tx, node: NodeState, job: JobState) -> bool:
    """A task of the job comes to the node: whether it may begin. If not, a preparation runs."""
    preparation = job.preparation
    if preparation is None or is_prepared(node, job):
        return True
    run = node.specials.get((job.key, PREPARATION))
    if run is None or run.is_void or run.state == "completed" or run.boot != node.boot:
        begin_special(tx, node, job, PREPARATION)
    return not preparation.waits


def begin_special(tx: Tx, node: NodeState, job: JobState, kind: int) -> None:
    """Start a run on the node, another one if there was one before."""
    before = node.specials.get((job.key, kind))
    number = 1 if before is None else before.run + 1
    run = SpecialRun(job.key, node.key, kind, number, node.boot, "running", tx.now_us)
    if kind == PREPARATION:
        waits = job.preparation is not None and job.preparation.waits
        run.is_used = int(not waits) if before is None else max(before.is_used, int(not waits))
    elif job.release is not None:
        _set_alarm(tx, job, run)
    node.specials[job.key, kind] = run
    rows.save_special_run(tx.db, run)
    send_special(tx, node, job, run)


def _set_alarm(tx: Tx, job: JobState, run: SpecialRun) -> None:
    """Look at the job again when a release task ought to be over on any node."""
    tx.memory.set_timer(_overdue_us(job, run), "release", job.key)


def _overdue_us(job: JobState, run: SpecialRun) -> int:
    limit_s = 0.0 if job.release is None else job.release.limit_s
    return run.start_us + int((limit_s + OVERDUE_S) * 1_000_000)


def is_overdue(tx: Tx, job: JobState, run: SpecialRun) -> bool:
    """Whether a release task should have ended long ago."""
    return tx.now_us >= _overdue_us(job, run)


def send_special(tx: Tx, node: NodeState, job: JobState, run: SpecialRun) -> None:
    """Tell the node of a run; told once more, it says again how the run ended."""
    task = job.preparation if run.kind == PREPARATION else job.release
    if task is None:
        raise RuntimeError(f"job {job.id} has no special task of kind {run.kind}")
    if job.key not in node.told_jobs:
        tell_job(tx, node, job)
    tx.send(node.key, Special(job.key, run.kind, run.run, task.spec))


def kill_special(tx: Tx, node: NodeState, run: SpecialRun) -> None:
    """Have a run ended; its report follows."""
    tx.send(node.key, KillSpecial(run.job_key, run.kind, run.run))


def resume_specials(tx: Tx, node: NodeState) -> None:
    """The node called: its runs go on, or begin again if it has restarted."""
    for run in list(node.specials.values()):
        job = tx.memory.jobs.get(run.job_key)
        if job is None or run.state != "running":
            continue
        tx.memory.touched_jobs.add(job.key)
        if run.boot == node.boot:
            send_special(tx, node, job, run)
        elif run.kind == PREPARATION and job.state in ENDING:
            end_run(tx, run)
        else:
            begin_special(tx, node, job, run.kind)


def end_specials(tx: Tx, node: NodeState) -> None:
    """The node has gone, or nothing of it can be told any more: what ran there is over."""
    for run in node.specials.values():
        if run.state == "running":
            end_run(tx, run)
        tx.memory.touched_jobs.add(run.job_key)
    node.specials.clear()


def end_run(tx: Tx, run: SpecialRun, failure: str = NODE_GONE) -> None:
    """Nothing more is to be heard of a run; it counts neither as a success nor against its node."""
    run.state, run.end_us, run.failure, run.is_void = "completed", tx.now_us, failure, 1
    rows.save_special_run(tx.db, run)


def halt_specials(tx: Tx, node: NodeState) -> None:
    """The node was switched off: what ran there is begun again when it is wanted again, and what
    releases a job as soon as the node is back."""
    for run in node.specials.values():
        if run.state == "running" and (run.kind, node.state) != (RELEASE, "rebooting"):
            end_run(tx, run)
            tx.memory.touched_jobs.add(run.job_key)


def void_specials(tx: Tx, node: NodeState) -> None:
    """The node's disk is wiped: nothing is prepared there, and no failure counts any more."""
    for run in node.specials.values():
        void_special(tx, run)
    tx.memory.view.unbar(node.key)


def void_special(tx: Tx, run: SpecialRun) -> None:
    """Nothing of a run counts any more: neither was the node prepared, nor is it to be released."""
    run.is_void, run.is_used = 1, 0
    rows.save_special_run(tx.db, run)


def load_specials(tx: Tx) -> None:
    """Take the runs of living jobs into memory, and the bars of nodes where one failed."""
    memory = tx.memory
    for run in rows.list_present_runs(tx.db):
        node, job = memory.nodes.get(run.node_key), memory.jobs.get(run.job_key)
        if node is None or job is None:
            continue
        if node.is_lost or node.is_stuck:
            continue
        node.specials[run.job_key, run.kind] = run
        preparation = job.preparation
        is_failed = run.state == "completed" and run.failure is not None and not run.is_void
        if run.kind == PREPARATION and is_failed and preparation and preparation.waits:
            memory.view.bar(job.key, node.key)
        if run.kind == RELEASE and run.state == "running":
            _set_alarm(tx, job, run)


def forget_specials(tx: Tx, job_key: int) -> None:
    """The job is over: memory needs no runs of it."""
    for node in tx.memory.nodes.values():
        for kind in (PREPARATION, RELEASE):
            node.specials.pop((job_key, kind), None)
