"""Making tasks: what clients' tasks and those of the service's own making have alike."""

from __future__ import annotations

from lote.server.memory import JobState
from lote.server.owner import Tx
from lote.store import tasks as rows
from lote.wire.errors import Refused
from lote.wire.job import JobManagerTask
from lote.wire.rules import refuse_packages
from lote.wire.task import TaskCreate


def next_task_key(tx: Tx) -> int:
    """A row key that no task had or will have."""
    memory = tx.memory
    if memory.next_task_key >= memory.task_keys_end:
        memory.next_task_key = rows.reserve_task_keys(tx.db)
        memory.task_keys_end = memory.next_task_key + rows.KEY_BLOCK
    memory.next_task_key += 1
    return memory.next_task_key - 1


def check_special_id(job: JobState, task_id: str) -> None:
    """Refuses: a task of the id of one of the job's special tasks."""
    lowered = task_id.lower()
    if job.preparation is not None and lowered == job.preparation.id.lower():
        raise Refused("TaskIdSameAsJobPreparationTask")
    if job.release is not None and lowered == job.release.id.lower():
        raise Refused("TaskIdSameAsJobReleaseTask")


def check_carried_out(task: TaskCreate | JobManagerTask) -> None:
    """Refuse what this release would not do, rather than do without it in silence.

    Refuses: InvalidApplicationPackageReferences.
    """
    if task.application_package_references:
        refuse_packages(task.application_package_references)
