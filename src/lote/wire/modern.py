"""What a body of an older api-version means today: its defaults filled in, its members moved.

Everything behind this sees one version only, the newest; ``spelling`` is the way back.
"""

from __future__ import annotations

from typing import Any

from lote.wire.formats import UNLIMITED_DURATION
from lote.wire.job import JobCreate, JobReplace, JobUpdate
from lote.wire.job_schedule import (
    JobScheduleCreate,
    JobScheduleReplace,
    JobScheduleUpdate,
    JobSpecification,
)
from lote.wire.pool import PoolCreate, PoolInfo, PoolReplace, PoolSpecification, PoolUpdate
from lote.wire.task import TaskConstraints, TaskCreate, TaskReplace
from lote.wire.versions import at_least
from lote.wire.vm import ManagedDisk, VirtualMachineConfiguration

# REST, 2019-08-01.10.0: until then a pool did not wait for its start task unless it said so.
_WAITS_SINCE = "2019-08-01.10.0"
# REST, 2018-12-01.8.0: until then a task's files stayed as long as its node.
_SEVEN_DAYS_SINCE = "2018-12-01.8.0"


def keeps_seven_days(version: str) -> bool:
    """Whether tasks of this api-version keep their files for 7 days unless they say otherwise."""
    return at_least(version, _SEVEN_DAYS_SINCE)


def waits_by_default(version: str) -> bool:
    """Whether nodes wait for the start task of a body of this api-version that does not say so."""
    return at_least(version, _WAITS_SINCE)


def modernize(body: Any, version: str) -> None:  # noqa: ANN401 - any struct of the operations table
    """Change a decoded body of ``version`` into what a client of the newest one would send."""
    if isinstance(body, PoolCreate | PoolSpecification):
        _modernize_pool(body, version)
    elif isinstance(body, PoolUpdate | PoolReplace):
        _modernize_start_task(body, version)
        if isinstance(body, PoolUpdate):
            _modernize_machine(body.virtual_machine_configuration)
    elif isinstance(body, JobCreate | JobReplace | JobUpdate | JobSpecification):
        _modernize_job(body, version)
    elif isinstance(body, JobScheduleCreate | JobScheduleUpdate | JobScheduleReplace):
        if body.job_specification is not None:
            _modernize_job(body.job_specification, version)
    elif isinstance(body, TaskCreate | TaskReplace) and not keeps_seven_days(version):
        body.constraints = _kept_forever(body.constraints)


def _modernize_job(
    job: JobCreate | JobReplace | JobUpdate | JobSpecification, version: str
) -> None:
    if job.pool_info is not None:
        _modernize_pool_info(job.pool_info, version)
    if isinstance(job, JobReplace | JobUpdate) or keeps_seven_days(version):
        return
    for task in (job.job_manager_task, job.job_preparation_task):
        if task is not None:
            task.constraints = _kept_forever(task.constraints)
    release = job.job_release_task
    if release is not None and release.retention_time is None:
        release.retention_time = UNLIMITED_DURATION


def _modernize_pool_info(pool_info: PoolInfo, version: str) -> None:
    auto_pool = pool_info.auto_pool_specification
    if auto_pool is not None and auto_pool.pool is not None:
        _modernize_pool(auto_pool.pool, version)


def _modernize_pool(pool: PoolCreate | PoolSpecification, version: str) -> None:
    _modernize_start_task(pool, version)
    _modernize_machine(pool.virtual_machine_configuration)
    if pool.task_slots_per_node is None:
        pool.task_slots_per_node = pool.max_tasks_per_node
    pool.max_tasks_per_node = None


def _modernize_start_task(
    pool: PoolCreate | PoolSpecification | PoolUpdate | PoolReplace, version: str
) -> None:
    start = pool.start_task
    if start is not None and start.wait_for_success is None and not waits_by_default(version):
        start.wait_for_success = False


def _modernize_machine(machine: VirtualMachineConfiguration | None) -> None:
    """Before 2025-06-01 a data disk had the kind of its storage itself."""
    if machine is None:
        return
    machine.image_reference.exact_version = None  # read-only: what a node shows of its image
    for disk in machine.data_disks or ():
        kind, disk.storage_account_type = disk.storage_account_type, None
        if kind is None:
            continue
        if disk.managed_disk is None:
            disk.managed_disk = ManagedDisk()
        if disk.managed_disk.storage_account_type is None:
            disk.managed_disk.storage_account_type = kind


def _kept_forever(constraints: TaskConstraints | None) -> TaskConstraints:
    constraints = constraints or TaskConstraints()
    if constraints.retention_time is None:
        constraints.retention_time = UNLIMITED_DURATION
    return constraints
