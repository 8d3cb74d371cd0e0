"""Tasks: as they are added, changed, shown and counted."""

from __future__ import annotations

from msgspec import field

from lote.wire.base import Given, Shown
from lote.wire.enums import (
    DependencyAction,
    Int32,
    JobActionKind,
    OutputFileUploadCondition,
    SubtaskState,
    TaskAddStatus,
    TaskExecutionResult,
    TaskState,
)
from lote.wire.legacy import AuthenticationTokenSettings
from lote.wire.shared import (
    ApplicationPackageReference,
    BatchError,
    EnvironmentSetting,
    NodeIdentityReference,
    ResourceFile,
    TaskContainerExecutionInfo,
    TaskContainerSettings,
    TaskFailureInfo,
    UserIdentity,
)


class TaskConstraints(Given, kw_only=True):
    max_wall_clock_time: str | None = None
    retention_time: str | None = None
    max_task_retry_count: Int32 | None = None


class TaskExecutionInfo(Shown, kw_only=True):
    start_time: str | None = None
    end_time: str | None = None
    exit_code: Int32 | None = None
    container_info: TaskContainerExecutionInfo | None = None
    failure_info: TaskFailureInfo | None = None
    retry_count: Int32
    last_retry_time: str | None = None
    requeue_count: Int32
    last_requeue_time: str | None = None
    result: TaskExecutionResult | None = None


class NodeInfo(Shown, kw_only=True):
    affinity_id: str | None = None
    node_url: str | None = None
    pool_id: str | None = None
    node_id: str | None = None
    task_root_directory: str | None = None
    task_root_directory_url: str | None = None


class OutputFileUploadHeader(Given, kw_only=True):
    name: str
    value: str | None = None


class OutputFileBlobContainerDestination(Given, kw_only=True):
    path: str | None = None
    container_url: str
    identity_reference: NodeIdentityReference | None = None
    upload_headers: list[OutputFileUploadHeader] | None = None


class OutputFileDestination(Given, kw_only=True):
    container: OutputFileBlobContainerDestination | None = None


class OutputFileUploadConfiguration(Given, kw_only=True):
    upload_condition: OutputFileUploadCondition | None = None


class OutputFile(Given, kw_only=True):
    file_pattern: str
    destination: OutputFileDestination
    upload_options: OutputFileUploadConfiguration


class ExitOptions(Given, kw_only=True):
    job_action: JobActionKind | None = None
    dependency_action: DependencyAction | None = None


class ExitCodeMapping(Given, kw_only=True):
    code: Int32
    exit_options: ExitOptions


class ExitCodeRangeMapping(Given, kw_only=True):
    start: Int32
    end: Int32
    exit_options: ExitOptions


class ExitConditions(Given, kw_only=True):
    exit_codes: list[ExitCodeMapping] | None = None
    exit_code_ranges: list[ExitCodeRangeMapping] | None = None
    pre_processing_error: ExitOptions | None = None
    file_upload_error: ExitOptions | None = None
    default: ExitOptions | None = None


class TaskIdRange(Given, kw_only=True):
    start: Int32
    end: Int32


class TaskDependencies(Given, kw_only=True):
    task_ids: list[str] | None = None
    task_id_ranges: list[TaskIdRange] | None = None


class MultiInstanceSettings(Given, kw_only=True):
    number_of_instances: Int32 | None = None
    coordination_command_line: str
    common_resource_files: list[ResourceFile] | None = None


class AffinityInfo(Given, kw_only=True):
    affinity_id: str


class TaskStatistics(Shown, kw_only=True):
    url: str
    start_time: str
    last_update_time: str
    user_cpu_time: str = field(name="userCPUTime")
    kernel_cpu_time: str = field(name="kernelCPUTime")
    wall_clock_time: str
    read_iops: str = field(name="readIOps")
    write_iops: str = field(name="writeIOps")
    read_io_gib: float = field(name="readIOGiB")
    write_io_gib: float = field(name="writeIOGiB")
    wait_time: str


class Task(Shown, kw_only=True):
    """A task as the service shows it. Source: REST, Task."""

    id: str
    display_name: str | None = None
    url: str
    etag: str = field(name="eTag")
    last_modified: str
    creation_time: str
    exit_conditions: ExitConditions | None = None
    state: TaskState
    state_transition_time: str
    previous_state: TaskState | None = None
    previous_state_transition_time: str | None = None
    command_line: str
    container_settings: TaskContainerSettings | None = None
    resource_files: list[ResourceFile] | None = None
    output_files: list[OutputFile] | None = None
    environment_settings: list[EnvironmentSetting] | None = None
    affinity_info: AffinityInfo | None = None
    constraints: TaskConstraints | None = None
    required_slots: Int32 | None = None
    user_identity: UserIdentity | None = None
    execution_info: TaskExecutionInfo | None = None
    node_info: NodeInfo | None = None
    multi_instance_settings: MultiInstanceSettings | None = None
    stats: TaskStatistics | None = None
    depends_on: TaskDependencies | None = None
    application_package_references: list[ApplicationPackageReference] | None = None
    # only in older api-versions
    authentication_token_settings: AuthenticationTokenSettings | None = None


class TaskCreate(Given, kw_only=True):
    """REST: Add Task."""

    id: str
    display_name: str | None = None
    exit_conditions: ExitConditions | None = None
    command_line: str
    container_settings: TaskContainerSettings | None = None
    resource_files: list[ResourceFile] | None = None
    output_files: list[OutputFile] | None = None
    environment_settings: list[EnvironmentSetting] | None = None
    affinity_info: AffinityInfo | None = None
    constraints: TaskConstraints | None = None
    required_slots: Int32 | None = None
    user_identity: UserIdentity | None = None
    multi_instance_settings: MultiInstanceSettings | None = None
    depends_on: TaskDependencies | None = None
    application_package_references: list[ApplicationPackageReference] | None = None
    # only in older api-versions
    authentication_token_settings: AuthenticationTokenSettings | None = None


class TaskGroup(Given, kw_only=True):
    """REST: Add Task Collection."""

    value: list[TaskCreate]


class TaskCreateResult(Shown, kw_only=True):
    status: TaskAddStatus
    task_id: str
    etag: str | None = field(name="eTag", default=None)
    last_modified: str | None = None
    location: str | None = None
    error: BatchError | None = None


class CreateTaskCollectionResult(Shown, kw_only=True):
    value: list[TaskCreateResult] | None = None


class WaitingReason(Shown, kw_only=True):
    """Ours: ``code`` is stable, ``text`` is for people; ``tasks`` are some it has to do with."""

    code: str
    text: str
    tasks: list[str] | None = None


class TaskWaiting(Shown, kw_only=True):
    """Ours: what keeps a task from running."""

    state: TaskState
    reasons: list[WaitingReason]


class Subtask(Shown, kw_only=True):
    id: Int32 | None = None
    node_info: NodeInfo | None = None
    start_time: str | None = None
    end_time: str | None = None
    exit_code: Int32 | None = None
    container_info: TaskContainerExecutionInfo | None = None
    failure_info: TaskFailureInfo | None = None
    state: SubtaskState | None = None
    state_transition_time: str | None = None
    previous_state: SubtaskState | None = None
    previous_state_transition_time: str | None = None
    result: TaskExecutionResult | None = None


class TaskReplace(Given, kw_only=True):
    """REST: Update Task. Absent constraints fall back to their defaults."""

    constraints: TaskConstraints | None = None
