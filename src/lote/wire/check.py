"""What a well-formed request must also obey: rules beyond types, without any stored state.

Tasks, jobs and job schedules are checked here, pools and nodes in ``check_pools``; callers import
all of them from here. Rules that need stored state (ids in use, the pool's slots, what state a job
is in) belong to the handlers.
"""

from __future__ import annotations

from lote.wire.check_pools import (
    check_auto_pool,
    check_enable_auto_scale,
    check_evaluate_auto_scale,
    check_log_upload,
    check_node_user,
    check_node_user_replace,
    check_pool,
    check_pool_replace,
    check_pool_update,
    check_removal,
    check_resize,
)
from lote.wire.errors import Refused, invalid_property, missing_property
from lote.wire.formats import check_id
from lote.wire.job import (
    JobConstraints,
    JobCreate,
    JobManagerTask,
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
    check_output_pattern,
    check_packages,
    check_range,
    check_resource_files,
    check_text,
    check_timestamp,
    check_url,
    check_user_identity,
)
from lote.wire.task import (
    ExitConditions,
    ExitOptions,
    MultiInstanceSettings,
    OutputFile,
    TaskConstraints,
    TaskCreate,
    TaskDependencies,
    TaskReplace,
)

__all__ = [
    "check_enable_auto_scale",
    "check_evaluate_auto_scale",
    "check_job",
    "check_job_replace",
    "check_job_schedule",
    "check_job_schedule_replace",
    "check_job_schedule_update",
    "check_job_update",
    "check_log_upload",
    "check_node_user",
    "check_node_user_replace",
    "check_pool",
    "check_pool_replace",
    "check_pool_update",
    "check_removal",
    "check_resize",
    "check_task",
    "check_task_replace",
]

PRIORITY_MIN, PRIORITY_MAX = -1000, 1000  # REST: Add Job
DEPENDENCY_CHARS_MAX = 64_000  # REST: task dependencies, all ids together
SLOTS_MAX = 256  # REST: taskSlotsPerNode, so no task can need more
RELEASE_WALL_CLOCK_MAX_S = 15 * 60  # REST: job release task
SCHEDULE_INTERVAL_MIN_S = 60  # REST: recurrenceInterval, startWindow
PREPARATION_ID = "jobpreparation"  # REST: default id of the job preparation task
RELEASE_ID = "jobrelease"  # REST: default id of the job release task


def check_task(
    task: TaskCreate, *, uses_dependencies: bool = False, job_on_task_failure: str = "noaction"
) -> None:
    """Refuse a task that could never be right, given two settings of its job.

    Refuses: InvalidPropertyValue, MissingRequiredProperty, TaskDependenciesNotSpecifiedOnJob,
    TaskDependencyListTooLong, TaskDependencyRangesTooLong. Source: REST, Add Task.
    """
    check_id("id", task.id)
    if task.container_settings is not None:
        check_container("containerSettings", task.container_settings)
    elif not task.command_line or task.command_line.isspace() or "\0" in task.command_line:
        check_text("commandLine", task.command_line)
    if task.constraints is not None:
        check_task_constraints(task.constraints)
    if task.resource_files is not None:
        check_resource_files("resourceFiles", task.resource_files)
    if task.environment_settings is not None:
        check_environment("environmentSettings", task.environment_settings)
    if task.output_files is not None:
        check_output_files("outputFiles", task.output_files)
    if task.user_identity is not None:
        check_user_identity("userIdentity", task.user_identity)
    if task.required_slots is not None:
        check_range("requiredSlots", task.required_slots, 1, SLOTS_MAX)
    if task.depends_on is not None:
        _check_dependencies(task.depends_on, uses_dependencies)
    if task.exit_conditions is not None:
        _check_exit_conditions(task.exit_conditions, uses_dependencies, job_on_task_failure)
    if task.multi_instance_settings is not None:
        _check_multi_instance(task.multi_instance_settings, task.required_slots)
    if task.display_name is not None:
        check_display_name(task.display_name)
    if task.application_package_references is not None:
        check_packages("applicationPackageReferences", task.application_package_references)


def check_task_replace(task: TaskReplace) -> None:
    """Source: REST, Update Task."""
    if task.constraints is not None:
        check_task_constraints(task.constraints)


def check_task_constraints(constraints: TaskConstraints, prefix: str = "constraints") -> None:
    """Durations not negative, retries -1 (no limit) or more."""
    check_duration(prefix + ".maxWallClockTime", constraints.max_wall_clock_time)
    check_duration(prefix + ".retentionTime", constraints.retention_time)
    check_at_least(prefix + ".maxTaskRetryCount", constraints.max_task_retry_count, -1)


def check_output_files(name: str, files: list[OutputFile]) -> None:
    """Patterns that stay inside the task's directory, destinations that are container URLs."""
    for index, file in enumerate(files):
        prefix = f"{name}[{index}]"
        check_output_pattern(prefix + ".filePattern", file.file_pattern)
        container = file.destination.container
        if container is None:
            raise missing_property(prefix + ".destination.container")
        check_url(prefix + ".destination.container.containerUrl", container.container_url)


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
        _check_pool_info("", job.pool_info, in_schedule=False)
    if job.network_configuration is not None:
        check_text("networkConfiguration.subnetId", job.network_configuration.subnet_id)
    check_metadata(job.metadata)


def check_job_replace(job: JobReplace) -> None:
    """Source: REST, Update Job."""
    _check_priority("", job.priority, job.max_parallel_tasks)
    _check_job_constraints("", job.constraints)
    _check_pool_info("", job.pool_info, in_schedule=False)
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


def _check_dependencies(depends_on: TaskDependencies, uses_dependencies: bool) -> None:
    ids, ranges = depends_on.task_ids or [], depends_on.task_id_ranges or []
    if (ids or ranges) and not uses_dependencies:
        raise Refused("TaskDependenciesNotSpecifiedOnJob")
    if sum(map(len, ids)) > DEPENDENCY_CHARS_MAX:
        raise Refused("TaskDependencyListTooLong")
    # Ours: REST names no number of ranges; written as text they get the room the ids get.
    if sum(len(f"{span.start}-{span.end}") for span in ranges) > DEPENDENCY_CHARS_MAX:
        raise Refused("TaskDependencyRangesTooLong")
    for index, span in enumerate(ranges):
        _check_span(f"dependsOn.taskIdRanges[{index}]", span.start, span.end)


def _check_exit_conditions(
    conditions: ExitConditions, uses_dependencies: bool, job_on_task_failure: str
) -> None:
    options: list[tuple[str, ExitOptions | None]] = [
        ("exitConditions.preProcessingError", conditions.pre_processing_error),
        ("exitConditions.fileUploadError", conditions.file_upload_error),
        ("exitConditions.default", conditions.default),
    ]
    for index, mapping in enumerate(conditions.exit_codes or ()):
        options.append((f"exitConditions.exitCodes[{index}].exitOptions", mapping.exit_options))
    for index, span in enumerate(conditions.exit_code_ranges or ()):
        name = f"exitConditions.exitCodeRanges[{index}]"
        _check_span(name, span.start, span.end)
        options.append((name + ".exitOptions", span.exit_options))
    for name, option in options:
        if option is None:
            continue
        if option.job_action is not None and job_on_task_failure == "noaction":
            reason = "The job's onTaskFailure is noaction."
            raise invalid_property(name + ".jobAction", option.job_action, reason)
        if option.dependency_action is not None and not uses_dependencies:
            reason = "The job does not use task dependencies."
            raise invalid_property(name + ".dependencyAction", option.dependency_action, reason)


def _check_span(name: str, start: int, end: int) -> None:
    if start > end:
        raise invalid_property(name + ".end", end, "The end of a range is not before its start.")


def _check_multi_instance(settings: MultiInstanceSettings, required_slots: int | None) -> None:
    check_at_least("multiInstanceSettings.numberOfInstances", settings.number_of_instances, 1)
    check_text("multiInstanceSettings.coordinationCommandLine", settings.coordination_command_line)
    check_resource_files(
        "multiInstanceSettings.commonResourceFiles", settings.common_resource_files
    )
    if required_slots is not None and required_slots != 1:
        reason = "A multi-instance task takes one slot on each of its nodes."
        raise invalid_property("requiredSlots", required_slots, reason)


def _check_job_parts(job: JobCreate | JobSpecification, prefix: str, *, in_schedule: bool) -> None:
    check_display_name(job.display_name)
    _check_priority(prefix, job.priority, job.max_parallel_tasks)
    _check_job_constraints(prefix, job.constraints)
    _check_pool_info(prefix, job.pool_info, in_schedule=in_schedule)
    check_environment(prefix + "commonEnvironmentSettings", job.common_environment_settings)
    if job.network_configuration is not None:
        check_text(prefix + "networkConfiguration.subnetId", job.network_configuration.subnet_id)
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


def _check_job_specification(spec: JobSpecification) -> None:
    _check_job_parts(spec, "jobSpecification.", in_schedule=True)
    check_metadata(spec.metadata)


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


def _check_pool_info(prefix: str, pool_info: PoolInfo, *, in_schedule: bool) -> None:
    auto_pool = pool_info.auto_pool_specification
    given = [("poolId", pool_info.pool_id), ("autoPoolSpecification", auto_pool)]
    check_exactly_one(prefix + "poolInfo.", given)
    if pool_info.pool_id is not None:
        check_text(prefix + "poolInfo.poolId", pool_info.pool_id)
    if auto_pool is not None:
        name = prefix + "poolInfo.autoPoolSpecification"
        check_auto_pool(name, auto_pool, in_schedule=in_schedule)


def _check_manager(name: str, task: JobManagerTask) -> None:
    check_id(name + ".id", task.id)
    check_display_name(task.display_name)
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
    least_s = SCHEDULE_INTERVAL_MIN_S
    check_duration("schedule.startWindow", schedule.start_window, least_s)
    check_duration("schedule.recurrenceInterval", schedule.recurrence_interval, least_s)
