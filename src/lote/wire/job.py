"""Jobs: as they are created, changed, ended and shown, with their special tasks."""

from __future__ import annotations

from msgspec import field

from lote.wire.base import Given, Shown
from lote.wire.enums import (
    AllTasksCompleteMode,
    DisableBatchJobOption,
    ErrorSourceCategory,
    Int32,
    JobPreparationTaskState,
    JobReleaseTaskState,
    JobState,
    TaskExecutionResult,
    TaskFailureMode,
)
from lote.wire.legacy import AuthenticationTokenSettings
from lote.wire.pool import PoolInfo
from lote.wire.shared import (
    ApplicationPackageReference,
    EnvironmentSetting,
    MetadataItem,
    NameValuePair,
    ResourceFile,
    TaskContainerExecutionInfo,
    TaskContainerSettings,
    TaskFailureInfo,
    UserIdentity,
)
from lote.wire.task import OutputFile, TaskConstraints


class JobConstraints(Given, kw_only=True):
    max_wall_clock_time: str | None = None
    max_task_retry_count: Int32 | None = None


class JobSchedulingError(Shown, kw_only=True):
    category: ErrorSourceCategory
    code: str | None = None
    message: str | None = None
    details: list[NameValuePair] | None = None


class JobExecutionInfo(Shown, kw_only=True):
    start_time: str
    end_time: str | None = None
    pool_id: str | None = None
    scheduling_error: JobSchedulingError | None = None
    terminate_reason: str | None = None


class JobManagerTask(Given, kw_only=True):
    id: str
    display_name: str | None = None
    command_line: str
    container_settings: TaskContainerSettings | None = None
    resource_files: list[ResourceFile] | None = None
    output_files: list[OutputFile] | None = None
    environment_settings: list[EnvironmentSetting] | None = None
    constraints: TaskConstraints | None = None
    required_slots: Int32 | None = None
    kill_job_on_completion: bool | None = None
    user_identity: UserIdentity | None = None
    run_exclusive: bool | None = None
    application_package_references: list[ApplicationPackageReference] | None = None
    allow_low_priority_node: bool | None = None
    # only in older api-versions
    authentication_token_settings: AuthenticationTokenSettings | None = None


class JobPreparationTask(Given, kw_only=True):
    id: str | None = None
    command_line: str
    container_settings: TaskContainerSettings | None = None
    resource_files: list[ResourceFile] | None = None
    environment_settings: list[EnvironmentSetting] | None = None
    constraints: TaskConstraints | None = None
    wait_for_success: bool | None = None
    user_identity: UserIdentity | None = None
    rerun_on_node_reboot_after_success: bool | None = None


class JobReleaseTask(Given, kw_only=True):
    id: str | None = None
    command_line: str
    container_settings: TaskContainerSettings | None = None
    resource_files: list[ResourceFile] | None = None
    environment_settings: list[EnvironmentSetting] | None = None
    max_wall_clock_time: str | None = None
    retention_time: str | None = None
    user_identity: UserIdentity | None = None


class JobNetworkConfiguration(Given, kw_only=True):
    subnet_id: str
    skip_withdraw_from_vnet: bool | None = field(name="skipWithdrawFromVNet", default=None)


class JobStatistics(Shown, kw_only=True):
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
    num_succeeded_tasks: str
    num_failed_tasks: str
    num_task_retries: str
    wait_time: str


class Job(Shown, kw_only=True):
    """A job as the service shows it. Source: REST, Job."""

    id: str
    display_name: str | None = None
    uses_task_dependencies: bool | None = None
    url: str
    etag: str = field(name="eTag")
    last_modified: str
    creation_time: str
    state: JobState
    state_transition_time: str
    previous_state: JobState | None = None
    previous_state_transition_time: str | None = None
    priority: Int32 | None = None
    allow_task_preemption: bool | None = None
    max_parallel_tasks: Int32 | None = None
    constraints: JobConstraints | None = None
    job_manager_task: JobManagerTask | None = None
    job_preparation_task: JobPreparationTask | None = None
    job_release_task: JobReleaseTask | None = None
    common_environment_settings: list[EnvironmentSetting] | None = None
    pool_info: PoolInfo
    on_all_tasks_complete: AllTasksCompleteMode | None = None
    on_task_failure: TaskFailureMode | None = None
    network_configuration: JobNetworkConfiguration | None = None
    metadata: list[MetadataItem] | None = None
    execution_info: JobExecutionInfo | None = None
    stats: JobStatistics | None = None


class JobCreate(Given, kw_only=True):
    """REST: Add Job."""

    id: str
    display_name: str | None = None
    uses_task_dependencies: bool | None = None
    priority: Int32 | None = None
    allow_task_preemption: bool | None = None
    max_parallel_tasks: Int32 | None = None
    constraints: JobConstraints | None = None
    job_manager_task: JobManagerTask | None = None
    job_preparation_task: JobPreparationTask | None = None
    job_release_task: JobReleaseTask | None = None
    common_environment_settings: list[EnvironmentSetting] | None = None
    pool_info: PoolInfo
    on_all_tasks_complete: AllTasksCompleteMode | None = None
    on_task_failure: TaskFailureMode | None = None
    network_configuration: JobNetworkConfiguration | None = None
    metadata: list[MetadataItem] | None = None


class JobUpdate(Given, kw_only=True):
    """REST: Patch Job. Absent members keep their value."""

    priority: Int32 | None = None
    allow_task_preemption: bool | None = None
    max_parallel_tasks: Int32 | None = None
    constraints: JobConstraints | None = None
    pool_info: PoolInfo | None = None
    on_all_tasks_complete: AllTasksCompleteMode | None = None
    metadata: list[MetadataItem] | None = None
    network_configuration: JobNetworkConfiguration | None = None


class JobDisable(Given, kw_only=True):
    disable_tasks: DisableBatchJobOption


class JobTerminate(Given, kw_only=True):
    terminate_reason: str | None = None


class JobPreparationTaskExecutionInfo(Shown, kw_only=True):
    start_time: str
    end_time: str | None = None
    state: JobPreparationTaskState
    task_root_directory: str | None = None
    task_root_directory_url: str | None = None
    exit_code: Int32 | None = None
    container_info: TaskContainerExecutionInfo | None = None
    failure_info: TaskFailureInfo | None = None
    retry_count: Int32
    last_retry_time: str | None = None
    result: TaskExecutionResult | None = None


class JobReleaseTaskExecutionInfo(Shown, kw_only=True):
    start_time: str
    end_time: str | None = None
    state: JobReleaseTaskState
    task_root_directory: str | None = None
    task_root_directory_url: str | None = None
    exit_code: Int32 | None = None
    container_info: TaskContainerExecutionInfo | None = None
    failure_info: TaskFailureInfo | None = None
    result: TaskExecutionResult | None = None


class JobPreparationAndReleaseTaskStatus(Shown, kw_only=True):
    pool_id: str | None = None
    node_id: str | None = None
    node_url: str | None = None
    job_preparation_task_execution_info: JobPreparationTaskExecutionInfo | None = None
    job_release_task_execution_info: JobReleaseTaskExecutionInfo | None = None


class TaskCounts(Shown, kw_only=True):
    active: Int32
    running: Int32
    completed: Int32
    succeeded: Int32
    failed: Int32


class TaskSlotCounts(Shown, kw_only=True):
    active: Int32
    running: Int32
    completed: Int32
    succeeded: Int32
    failed: Int32


class TaskCountsResult(Shown, kw_only=True):
    task_counts: TaskCounts
    task_slot_counts: TaskSlotCounts


class JobReplace(Given, kw_only=True):
    """REST: Update Job. Absent members fall back to their defaults."""

    priority: Int32 | None = None
    allow_task_preemption: bool | None = None
    max_parallel_tasks: Int32 | None = None
    constraints: JobConstraints | None = None
    pool_info: PoolInfo
    on_all_tasks_complete: AllTasksCompleteMode | None = None
    metadata: list[MetadataItem] | None = None
