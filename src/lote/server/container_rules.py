"""Which tasks may, must and must not ask for a container: that depends on their pool.

Where no pool is known yet, nothing is refused; nodes then fail the tasks that can't run on them.
Source: REST, BatchContainerConfiguration and BatchTaskContainerSettings.
"""

from __future__ import annotations

from lote.server.memory import JobState
from lote.server.owner import Tx
from lote.wire.errors import invalid_property
from lote.wire.job import JobCreate
from lote.wire.job_schedule import JobSpecification
from lote.wire.pool import PoolCreate, PoolInfo, PoolSpecification
from lote.wire.shared import TaskContainerSettings
from lote.wire.vm import VirtualMachineConfiguration

MUST = "The pool runs its tasks in containers: its containerConfiguration asks for this property."
MUST_NOT = "The pool has no containerConfiguration."


def job_runs_containers(tx: Tx, job: JobState) -> bool | None:
    """Whether the job's pool is one with containers; None as long as it does not exist."""
    pool = None if job.pool_key is None else tx.memory.pools.get(job.pool_key)
    return None if pool is None else pool.containers is not None


def check_task_container(name: str, settings: TaskContainerSettings | None, *, has: bool) -> None:
    """For ordinary and manager tasks. Refuses: InvalidPropertyValue."""
    if has and settings is None:
        raise invalid_property(name, None, MUST)
    check_free_container(name, settings, has=has)


def check_free_container(name: str, settings: TaskContainerSettings | None, *, has: bool) -> None:
    """For tasks that choose: start, preparation, release. Refuses: InvalidPropertyValue."""
    if not has and settings is not None:
        raise invalid_property(name, settings.image_name, MUST_NOT)


def check_job_containers(tx: Tx, body: JobCreate | JobSpecification) -> None:
    """The special tasks of a job. Refuses: InvalidPropertyValue."""
    auto_pool = body.pool_info.auto_pool_specification
    if auto_pool is not None and auto_pool.pool is not None:
        check_pool_containers(auto_pool.pool, "poolInfo.autoPoolSpecification.pool.")
    has = _runs_containers(tx, body.pool_info)
    if has is None:
        return
    manager = body.job_manager_task
    if manager is not None:
        name = "jobManagerTask.containerSettings"
        check_task_container(name, manager.container_settings, has=has)
    for task, noun in (
        (body.job_preparation_task, "jobPreparationTask"),
        (body.job_release_task, "jobReleaseTask"),
    ):
        if task is not None:
            check_free_container(f"{noun}.containerSettings", task.container_settings, has=has)


def check_pool_containers(pool: PoolCreate | PoolSpecification, prefix: str = "") -> None:
    """The start task of a pool. Refuses: InvalidPropertyValue."""
    if pool.start_task is not None:
        has = _has_containers(pool.virtual_machine_configuration)
        name = f"{prefix}startTask.containerSettings"
        check_free_container(name, pool.start_task.container_settings, has=has)


def _runs_containers(tx: Tx, info: PoolInfo) -> bool | None:
    if info.pool_id is not None:
        pool = tx.memory.pool_of_id(info.pool_id)
        return None if pool is None else pool.containers is not None
    auto_pool = info.auto_pool_specification
    if auto_pool is None or auto_pool.pool is None:
        return None
    return _has_containers(auto_pool.pool.virtual_machine_configuration)


def _has_containers(machine: VirtualMachineConfiguration | None) -> bool:
    return machine is not None and machine.container_configuration is not None
