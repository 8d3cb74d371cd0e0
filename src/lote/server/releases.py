"""The end of jobs that have special tasks: preparations are ended."""

from __future__ import annotations

from lote.server.memory import JobState
from lote.server.owner import Tx
from lote.server.special_runs import ENDING, end_run, kill_special


def has_settled(tx: Tx, job: JobState) -> bool:
    """Whether no special task of a job that ends is at work any more; asks what is to end."""
    if job.state not in ENDING:
        return True
    has_settled = True
    for node in tx.memory.nodes.values():
        for run in node.specials.values():
            if run.job_key == job.key and run.state == "running":
                if node.link is not None:
                    kill_special(tx, node, run)
                has_settled = False
    return has_settled


def give_up_specials(tx: Tx, job: JobState) -> None:
    """Don't wait for the nodes: what runs there of the job's special tasks counts as ended."""
    for node in tx.memory.nodes.values():
        for run in node.specials.values():
            if run.job_key == job.key and run.state == "running":
                if node.link is not None:
                    kill_special(tx, node, run)
                end_run(tx, run)
