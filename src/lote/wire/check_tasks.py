"""What a well-formed task must also obey: rules beyond types, without any stored state.

Jobs and job schedules are checked in ``check_jobs``, pools in ``check_pools``, what is asked of
nodes in ``check_nodes``, certificates in ``check_certificates``. Rules that need stored state (ids
in use, the pool's slots, what state a job is in) belong to the handlers.
"""

from __future__ import annotations

import re

from lote.wire.errors import Refused, invalid_property, missing_property
from lote.wire.formats import check_id
from lote.wire.rules import (
    check_at_least,
    check_container,
    check_display_name,
    check_duration,
    check_environment,
    check_output_pattern,
    check_packages,
    check_range,
    check_resource_files,
    check_text,
    check_url,
    check_user_identity,
)
from lote.wire.task import (
    ExitConditions,
    ExitOptions,
    MultiInstanceSettings,
    OutputFile,
    OutputFileUploadHeader,
    TaskConstraints,
    TaskCreate,
    TaskDependencies,
    TaskReplace,
)

DEPENDENCY_CHARS_MAX = 64_000  # REST: task dependencies, all ids together
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110: token
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
SLOTS_MAX = 256  # REST: taskSlotsPerNode, so no task can need more


def check_task(task: TaskCreate) -> None:
    """Refuse a task that could be right in no job. Source: REST, Add Task.

    Refuses: InvalidPropertyValue, MissingRequiredProperty, TaskDependencyListTooLong,
    TaskDependencyRangesTooLong.
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
        check_dependencies(task.depends_on)
    if task.exit_conditions is not None:
        check_exit_conditions(task.exit_conditions)
    if task.multi_instance_settings is not None:
        _check_multi_instance(task.multi_instance_settings, task.required_slots)
    if task.affinity_info is not None:
        check_text("affinityInfo.affinityId", task.affinity_info.affinity_id)
    if task.display_name is not None:
        check_display_name(task.display_name)
    if task.application_package_references is not None:
        check_packages("applicationPackageReferences", task.application_package_references)


def check_task_in_job(task: TaskCreate, *, uses_dependencies: bool, acts_on_failure: bool) -> None:
    """Refuse what two settings of the task's job do not allow.

    Refuses: TaskDependenciesNotSpecifiedOnJob, InvalidPropertyValue. Source: REST, Add Task.
    """
    depends_on = task.depends_on
    depends = depends_on is not None and bool(depends_on.task_ids or depends_on.task_id_ranges)
    if depends and not uses_dependencies:
        reason = "Create the job with usesTaskDependencies set to true."
        values = [("PropertyName", "dependsOn"), ("Reason", reason)]
        raise Refused("TaskDependenciesNotSpecifiedOnJob", values=values)
    for name, option in exit_options(task.exit_conditions):
        if option.job_action is not None and not acts_on_failure:
            reason = "The job's onTaskFailure is noaction."
            raise invalid_property(name + ".jobAction", option.job_action, reason)
        if option.dependency_action is not None and not uses_dependencies:
            reason = "The job does not use task dependencies."
            raise invalid_property(name + ".dependencyAction", option.dependency_action, reason)


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
        for place, header in enumerate(container.upload_headers or ()):
            _check_header(f"{prefix}.destination.container.uploadHeaders[{place}].", header)


def _check_header(prefix: str, header: OutputFileUploadHeader) -> None:
    """A header of HTTP that has no other behind it."""
    check_text(prefix + "name", header.name)
    if not _HEADER_NAME.fullmatch(header.name):
        raise invalid_property(prefix + "name", header.name, "It is not the name of a header.")
    if header.value is not None and _CONTROL.search(header.value):
        reason = "A header's value has no line ends and control characters."
        raise invalid_property(prefix + "value", None, reason)


def check_dependencies(depends_on: TaskDependencies) -> None:
    """Refuse too many ids, and ranges that run backwards."""
    ids, ranges = depends_on.task_ids or [], depends_on.task_id_ranges or []
    if sum(map(len, ids)) > DEPENDENCY_CHARS_MAX:
        raise _too_long("TaskDependencyListTooLong", "dependsOn.taskIds")
    # Ours: REST names no number of ranges; written as text they get the room the ids get.
    if sum(len(f"{span.start}-{span.end}") for span in ranges) > DEPENDENCY_CHARS_MAX:
        raise _too_long("TaskDependencyRangesTooLong", "dependsOn.taskIdRanges")
    for index, span in enumerate(ranges):
        _check_span(f"dependsOn.taskIdRanges[{index}]", span.start, span.end)


def _too_long(code: str, name: str) -> Refused:
    reason = f"The ids have at most {DEPENDENCY_CHARS_MAX} characters together; use ranges."
    return Refused(code, values=[("PropertyName", name), ("Reason", reason)])


def check_exit_conditions(conditions: ExitConditions) -> None:
    """Refuse ranges that run backwards."""
    for index, span in enumerate(conditions.exit_code_ranges or ()):
        _check_span(f"exitConditions.exitCodeRanges[{index}]", span.start, span.end)


def exit_options(conditions: ExitConditions | None) -> list[tuple[str, ExitOptions]]:
    """The options that are given, each with the name of its member."""
    if conditions is None:
        return []
    options: list[tuple[str, ExitOptions | None]] = [
        ("exitConditions.preProcessingError", conditions.pre_processing_error),
        ("exitConditions.fileUploadError", conditions.file_upload_error),
        ("exitConditions.default", conditions.default),
    ]
    for index, mapping in enumerate(conditions.exit_codes or ()):
        options.append((f"exitConditions.exitCodes[{index}].exitOptions", mapping.exit_options))
    for index, span in enumerate(conditions.exit_code_ranges or ()):
        name = f"exitConditions.exitCodeRanges[{index}].exitOptions"
        options.append((name, span.exit_options))
    return [(name, option) for name, option in options if option is not None]


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
