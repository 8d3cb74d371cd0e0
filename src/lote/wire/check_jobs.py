"""What a well-formed job or job schedule must also obey: rules beyond types, state-free."""

from __future__ import annotations

from lote.wire.check_pools import check_auto_pool
from lote.wire.check_tasks import SLOTS_MAX, check_output_files, check_task_constraints
from lote.wire.errors import Refused, invalid_property
from lote.wire.formats import check_id
from lote.wire.job import (
    JobConstraints,
    JobCreate,
    JobManagerTask,
    JobNetworkConfiguration,
    JobPreparationTask,
    JobReleaseTask,
    JobReplace,
    JobUpdate,
)
from lote.wire.job_schedule import (
    JobScheduleConfiguration,
    JobScheduleCreate,
    JobScheduleReplace,
    JobScheduleUpdate,
    JobSpecification,
)
from lote.wire.pool import PoolInfo
from lote.wire.rules import (
    check_at_least,
    check_container,
    check_display_name,
    check_duration,
    check_environment,
    check_exactly_one,
    check_metadata,
    check_order,
    check_packages,
    check_range,
    check_resource_files,
    check_text,
    check_timestamp,
    check_user_identity,
    refuse_reference,
)

PRIORITY_MIN, PRIORITY_MAX = -1000, 1000  # REST: Add Job
RELEASE_WALL_CLOCK_MAX_S = 15 * 60  # REST: job release task
SCHEDULE_INTERVAL_MIN_S = 60  # REST: recurrenceInterval, startWindow
PREPARATION_ID = "jobpreparation"  # REST: default id of the job preparation task
RELEASE_ID = "jobrelease"  # REST: default id of the job release task


def check_job(job: JobCreate) -> None:
    """Source: REST, Add Job."""
    check_id("id", job.id)
    _check_job_parts(job, "", in_schedule=False)
    check_metadata(job.metadata)


def check_job_update(job: JobUpdate) -> None:
    """Source: REST, Patch Job."""
    _check_priority("", job.priority, job.max_parallel_tasks)
    _check_job_constraints("", job.constraints)
    if job.pool_info is not None:
        _check_pool_info("", job.pool_info, in_schedule=False, is_new=False)
    if job.network_configuration is not None:
        _check_network("", job.network_configuration)
    check_metadata(job.metadata)


def check_job_replace(job: JobReplace) -> None:
    """Source: REST, Update Job."""
    _check_priority("", job.priority, job.max_parallel_tasks)
    _check_job_constraints("", job.constraints)
    _check_pool_info("", job.pool_info, in_schedule=False, is_new=False)
    check_metadata(job.metadata)


def check_job_schedule(schedule: JobScheduleCreate) -> None:
    """Source: REST, Add Job Schedule."""
    check_id("id", schedule.id)
    check_display_name(schedule.display_name)
    _check_schedule(schedule.schedule)
    _check_job_specification(schedule.job_specification)
    check_metadata(schedule.metadata)


def check_job_schedule_update(schedule: JobScheduleUpdate) -> None:
    """Source: REST, Patch Job Schedule."""
    if schedule.schedule is not None:
        _check_schedule(schedule.schedule)
    if schedule.job_specification is not None:
        _check_job_specification(schedule.job_specification)
    check_metadata(schedule.metadata)


def check_job_schedule_replace(schedule: JobScheduleReplace) -> None:
    """Source: REST, Update Job Schedule."""
    if schedule.schedule is not None:
        _check_schedule(schedule.schedule)
    _check_job_specification(schedule.job_specification)
    check_metadata(schedule.metadata)


def _check_job_parts(job: JobCreate | JobSpecification, prefix: str, *, in_schedule: bool) -> None:
    check_display_name(job.display_name, prefix)
    _check_priority(prefix, job.priority, job.max_parallel_tasks)
    _check_job_constraints(prefix, job.constraints)
    _check_pool_info(prefix, job.pool_info, in_schedule=in_schedule)
    check_environment(prefix + "commonEnvironmentSettings", job.common_environment_settings)
    if job.network_configuration is not None:
        _check_network(prefix, job.network_configuration)
    if job.job_manager_task is not None:
        _check_manager(prefix + "jobManagerTask", job.job_manager_task)
    if job.job_preparation_task is not None:
        _check_preparation(prefix + "jobPreparationTask", job.job_preparation_task)
    if job.job_release_task is not None:
        if job.job_preparation_task is None:
            reason = "A job release task needs a job preparation task."
            raise invalid_property(prefix + "jobReleaseTask", None, reason)
        _check_release(prefix + "jobReleaseTask", job.job_release_task)
    _check_special_ids(job, prefix)


def _check_network(prefix: str, network: JobNetworkConfiguration) -> None:
    check_text(prefix + "networkConfiguration.subnetId", network.subnet_id)
    refuse_reference(prefix + "networkConfiguration.subnetId", "virtual network")


def _check_job_specification(spec: JobSpecification) -> None:
    _check_job_parts(spec, "jobSpecification.", in_schedule=True)
    check_metadata(spec.metadata, "jobSpecification.")


def _check_special_ids(job: JobCreate | JobSpecification, prefix: str) -> None:
    prep, release, manager = job.job_preparation_task, job.job_release_task, job.job_manager_task
    prep_id = (prep.id or PREPARATION_ID).lower() if prep is not None else None
    release_id = (release.id or RELEASE_ID).lower() if release is not None else None
    if prep_id is not None and prep_id == release_id:
        reason = "The job preparation and job release tasks need different ids."
        raise invalid_property(prefix + "jobReleaseTask.id", release_id, reason)
    if manager is not None and manager.id.lower() == prep_id:
        raise Refused("TaskIdSameAsJobPreparationTask")
    if manager is not None and manager.id.lower() == release_id:
        raise Refused("TaskIdSameAsJobReleaseTask")


def _check_priority(prefix: str, priority: int | None, max_parallel_tasks: int | None) -> None:
    check_range(prefix + "priority", priority, PRIORITY_MIN, PRIORITY_MAX)
    if max_parallel_tasks is not None and max_parallel_tasks != -1 and max_parallel_tasks < 1:
        reason = "The value must be -1 (no limit) or at least 1."
        raise invalid_property(prefix + "maxParallelTasks", max_parallel_tasks, reason)


def _check_job_constraints(prefix: str, constraints: JobConstraints | None) -> None:
    if constraints is not None:
        name = prefix + "constraints"
        check_duration(name + ".maxWallClockTime", constraints.max_wall_clock_time)
        check_at_least(name + ".maxTaskRetryCount", constraints.max_task_retry_count, -1)


def _check_pool_info(
    prefix: str, pool_info: PoolInfo, *, in_schedule: bool, is_new: bool = True
) -> None:
    auto_pool = pool_info.auto_pool_specification
    given = [("poolId", pool_info.pool_id), ("autoPoolSpecification", auto_pool)]
    check_exactly_one(prefix + "poolInfo.", given)
    if pool_info.pool_id is not None:
        check_text(prefix + "poolInfo.poolId", pool_info.pool_id)
    if auto_pool is not None:
        name = prefix + "poolInfo.autoPoolSpecification"
        check_auto_pool(name, auto_pool, in_schedule=in_schedule, is_new=is_new)


def _check_manager(name: str, task: JobManagerTask) -> None:
    check_id(name + ".id", task.id)
    check_display_name(task.display_name, name + ".")
    check_packages(name + ".applicationPackageReferences", task.application_package_references)
    check_range(name + ".requiredSlots", task.required_slots, 1, SLOTS_MAX)
    if task.constraints is not None:
        check_task_constraints(task.constraints, name + ".constraints")
    if task.output_files is not None:
        check_output_files(name + ".outputFiles", task.output_files)
    _check_special_task(name, task)


def _check_preparation(name: str, task: JobPreparationTask) -> None:
    if task.id is not None:
        check_id(name + ".id", task.id)
    if task.constraints is not None:
        check_task_constraints(task.constraints, name + ".constraints")
    _check_special_task(name, task)


def _check_release(name: str, task: JobReleaseTask) -> None:
    if task.id is not None:
        check_id(name + ".id", task.id)
    wall_clock, limit_s = task.max_wall_clock_time, RELEASE_WALL_CLOCK_MAX_S
    check_duration(name + ".maxWallClockTime", wall_clock, max_s=limit_s)
    check_duration(name + ".retentionTime", task.retention_time)
    _check_special_task(name, task)


def _check_special_task(
    name: str, task: JobManagerTask | JobPreparationTask | JobReleaseTask
) -> None:
    if task.container_settings is None:
        check_text(name + ".commandLine", task.command_line)
    check_container(name + ".containerSettings", task.container_settings)
    check_resource_files(name + ".resourceFiles", task.resource_files)
    check_environment(name + ".environmentSettings", task.environment_settings)
    check_user_identity(name + ".userIdentity", task.user_identity)


def _check_schedule(schedule: JobScheduleConfiguration) -> None:
    check_timestamp("schedule.doNotRunUntil", schedule.do_not_run_until)
    check_timestamp("schedule.doNotRunAfter", schedule.do_not_run_after)
    until, after = schedule.do_not_run_until, schedule.do_not_run_after
    check_order("schedule.doNotRunUntil", until, "schedule.doNotRunAfter", after)
    least_s = SCHEDULE_INTERVAL_MIN_S
    check_duration("schedule.startWindow", schedule.start_window, least_s)
    check_duration("schedule.recurrenceInterval", schedule.recurrence_interval, least_s)
