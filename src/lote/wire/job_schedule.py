"""Job schedules: as they are created, changed and shown."""

from __future__ import annotations

from msgspec import field

from lote.wire.base import Given, Shown
from lote.wire.enums import AllTasksCompleteMode, Int32, JobScheduleState, TaskFailureMode
from lote.wire.job import (
    JobConstraints,
    JobManagerTask,
    JobNetworkConfiguration,
    JobPreparationTask,
    JobReleaseTask,
)
from lote.wire.pool import PoolInfo
from lote.wire.shared import EnvironmentSetting, MetadataItem


class JobScheduleConfiguration(Given, kw_only=True):
    do_not_run_until: str | None = None
    do_not_run_after: str | None = None
    start_window: str | None = None
    recurrence_interval: str | None = None


class JobSpecification(Given, kw_only=True):
    priority: Int32 | None = None
    allow_task_preemption: bool | None = None
    max_parallel_tasks: Int32 | None = None
    display_name: str | None = None
    uses_task_dependencies: bool | None = None
    on_all_tasks_complete: AllTasksCompleteMode | None = None
    on_task_failure: TaskFailureMode | None = None
    network_configuration: JobNetworkConfiguration | None = None
    constraints: JobConstraints | None = None
    job_manager_task: JobManagerTask | None = None
    job_preparation_task: JobPreparationTask | None = None
    job_release_task: JobReleaseTask | None = None
    common_environment_settings: list[EnvironmentSetting] | None = None
    pool_info: PoolInfo
    metadata: list[MetadataItem] | None = None


class RecentJob(Shown, kw_only=True):
    id: str | None = None
    url: str | None = None


class JobScheduleExecutionInfo(Shown, kw_only=True):
    next_run_time: str | None = None
    recent_job: RecentJob | None = None
    end_time: str | None = None


class JobScheduleStatistics(Shown, kw_only=True):
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


class JobSchedule(Shown, kw_only=True):
    id: str
    display_name: str | None = None
    url: str
    etag: str = field(name="eTag")
    last_modified: str
    creation_time: str
    state: JobScheduleState
    state_transition_time: str
    previous_state: JobScheduleState | None = None
    previous_state_transition_time: str | None = None
    schedule: JobScheduleConfiguration | None = None
    job_specification: JobSpecification
    execution_info: JobScheduleExecutionInfo
    metadata: list[MetadataItem] | None = None
    stats: JobScheduleStatistics | None = None


class JobScheduleCreate(Given, kw_only=True):
    """REST: Add Job Schedule."""

    id: str
    display_name: str | None = None
    schedule: JobScheduleConfiguration
    job_specification: JobSpecification
    metadata: list[MetadataItem] | None = None


class JobScheduleUpdate(Given, kw_only=True):
    """REST: Patch Job Schedule. Absent members keep their value."""

    schedule: JobScheduleConfiguration | None = None
    job_specification: JobSpecification | None = None
    metadata: list[MetadataItem] | None = None


class JobScheduleReplace(Given, kw_only=True):
    """REST: Update Job Schedule. Absent members fall back to their defaults."""

    schedule: JobScheduleConfiguration | None = None
    job_specification: JobSpecification
    metadata: list[MetadataItem] | None = None
