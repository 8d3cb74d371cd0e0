"""The end of jobs that have special tasks: preparations are ended, then each node is released.

A job release task runs once on every node where the job was ready to run its tasks, as soon as
nothing else of the job is at work there. The job ends when no special task of it is.
"""

from __future__ import annotations

from lote.domain.node import DRAINING
from lote.server.memory import JobState, NodeState
from lote.server.owner import Tx
from lote.server.special_runs import (
    ENDING,
    RELEASE_OVERDUE,
    begin_special,
    end_run,
    is_overdue,
    kill_special,
    void_special,
)
from lote.store.records import PREPARATION, RELEASE, SpecialRun

# What was on the node is gone, or going, or nobody is there to run anything.
_CLOSED = frozenset({"reimaging", "deallocating", "deallocated", "preempted", "creating"})


def has_settled(tx: Tx, job: JobState) -> bool:
    """Whether no special task of a job that ends is at work any more; begins what is to begin,
    and asks what is to end."""
    if job.state not in ENDING:
        return True
    works = [_is_at_work(tx, node, job) for node in tx.memory.nodes.values()]
    return not any(works)


def _is_at_work(tx: Tx, node: NodeState, job: JobState) -> bool:
    preparation = node.specials.get((job.key, PREPARATION))
    if preparation is None:
        return False
    if preparation.state == "running":
        if node.link is not None:
            kill_special(tx, node, preparation)
        return True
    release = node.specials.get((job.key, RELEASE))
    if release is not None:
        return release.state == "running" and not _ends_overdue(tx, node, job, release)
    if job.release is None or job.is_released or not preparation.is_used or not _is_open(node):
        return False
    if not any(one.job_key == job.key for one in node.placed.values()):
        begin_special(tx, node, job, RELEASE)
    return True


def _is_open(node: NodeState) -> bool:
    """Whether a release task may begin on the node now, or when it calls again."""
    if node.is_lost or node.is_going or node.state in _CLOSED:
        return False
    return node.state != "leavingpool" or node.deallocation in DRAINING


def _ends_overdue(tx: Tx, node: NodeState, job: JobState, run: SpecialRun) -> bool:
    """A node that should have ended the run long ago is not waited for any more."""
    if not is_overdue(tx, job, run):
        return False
    if node.link is not None:
        kill_special(tx, node, run)
    end_run(tx, run, RELEASE_OVERDUE)
    tx.memory.dirty_nodes.add(node.key)
    return True


def give_up_specials(tx: Tx, job: JobState) -> None:
    """Don't wait for the nodes: what runs there of the job's special tasks counts as ended, and
    none is begun any more."""
    for node in tx.memory.nodes.values():
        for kind in (PREPARATION, RELEASE):
            run = node.specials.get((job.key, kind))
            if run is None:
                continue
            if run.state == "running":
                if node.link is not None:
                    kill_special(tx, node, run)
                end_run(tx, run)
                tx.memory.dirty_nodes.add(node.key)
            void_special(tx, run)
