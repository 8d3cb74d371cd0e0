"""Pools: as they are created, changed, resized and shown, and the start task."""

from __future__ import annotations

from msgspec import field

from lote.wire.base import Given, Shown
from lote.wire.enums import (
    AllocationState,
    ElevationLevel,
    Int32,
    JobDefaultOrder,
    LoginMode,
    NodeCommunicationMode,
    NodeDeallocationOption,
    NodeFillType,
    PoolIdentityType,
    PoolLifetimeOption,
    PoolState,
    UpgradeMode,
)
from lote.wire.legacy import CertificateReference, CloudServiceConfiguration
from lote.wire.network import MountConfiguration, NetworkConfiguration
from lote.wire.shared import (
    ApplicationPackageReference,
    EnvironmentSetting,
    MetadataItem,
    NameValuePair,
    ResourceFile,
    TaskContainerSettings,
    UserIdentity,
)
from lote.wire.vm import VirtualMachineConfiguration


class AutoScaleRunError(Shown, kw_only=True):
    code: str | None = None
    message: str | None = None
    values: list[NameValuePair] | None = None


class AutoScaleRun(Shown, kw_only=True):
    timestamp: str
    results: str | None = None
    error: AutoScaleRunError | None = None


class PoolEvaluation(Shown, kw_only=True):
    """Ours: an evaluation that is over, with what it came from."""

    timestamp: str
    formula: str
    results: str
    error: AutoScaleRunError | None = None
    target_dedicated_nodes: Int32
    target_low_priority_nodes: Int32
    variables: dict[str, str]
    readings: dict[str, float]


class ResizeError(Shown, kw_only=True):
    code: str | None = None
    message: str | None = None
    values: list[NameValuePair] | None = None


class TaskSchedulingPolicy(Given, kw_only=True):
    job_default_order: JobDefaultOrder | None = None
    node_fill_type: NodeFillType | None = None


class StartTask(Given, kw_only=True):
    command_line: str
    container_settings: TaskContainerSettings | None = None
    resource_files: list[ResourceFile] | None = None
    environment_settings: list[EnvironmentSetting] | None = None
    user_identity: UserIdentity | None = None
    max_task_retry_count: Int32 | None = None
    wait_for_success: bool | None = None


class LinuxUserConfiguration(Given, kw_only=True):
    uid: Int32 | None = None
    gid: Int32 | None = None
    ssh_private_key: str | None = None


class WindowsUserConfiguration(Given, kw_only=True):
    login_mode: LoginMode | None = None


class UserAccount(Given, kw_only=True):
    name: str
    password: str | None = None
    elevation_level: ElevationLevel | None = None
    linux_user_configuration: LinuxUserConfiguration | None = None
    windows_user_configuration: WindowsUserConfiguration | None = None


class UserAssignedIdentity(Given, kw_only=True):
    resource_id: str
    client_id: str | None = None
    principal_id: str | None = None


class PoolIdentity(Given, kw_only=True):
    type: PoolIdentityType
    user_assigned_identities: list[UserAssignedIdentity] | None = None


class PoolUsageStatistics(Shown, kw_only=True):
    start_time: str
    last_update_time: str
    dedicated_core_time: str


class PoolResourceStatistics(Shown, kw_only=True):
    start_time: str
    last_update_time: str
    avg_cpu_percentage: float = field(name="avgCPUPercentage")
    avg_memory_gib: float = field(name="avgMemoryGiB")
    peak_memory_gib: float = field(name="peakMemoryGiB")
    avg_disk_gib: float = field(name="avgDiskGiB")
    peak_disk_gib: float = field(name="peakDiskGiB")
    disk_read_iops: str = field(name="diskReadIOps")
    disk_write_iops: str = field(name="diskWriteIOps")
    disk_read_gib: float = field(name="diskReadGiB")
    disk_write_gib: float = field(name="diskWriteGiB")
    network_read_gib: float = field(name="networkReadGiB")
    network_write_gib: float = field(name="networkWriteGiB")


class PoolStatistics(Shown, kw_only=True):
    url: str
    start_time: str
    last_update_time: str
    usage_stats: PoolUsageStatistics | None = None
    resource_stats: PoolResourceStatistics | None = None


class AutomaticOsUpgradePolicy(Given, kw_only=True):
    disable_automatic_rollback: bool | None = None
    enable_automatic_os_upgrade: bool | None = field(name="enableAutomaticOSUpgrade", default=None)
    use_rolling_upgrade_policy: bool | None = None
    os_rolling_upgrade_deferral: bool | None = None


class RollingUpgradePolicy(Given, kw_only=True):
    enable_cross_zone_upgrade: bool | None = None
    max_batch_instance_percent: Int32 | None = None
    max_unhealthy_instance_percent: Int32 | None = None
    max_unhealthy_upgraded_instance_percent: Int32 | None = None
    pause_time_between_batches: str | None = None
    prioritize_unhealthy_instances: bool | None = None
    rollback_failed_instances_on_policy_breach: bool | None = None


class UpgradePolicy(Given, kw_only=True):
    mode: UpgradeMode
    automatic_os_upgrade_policy: AutomaticOsUpgradePolicy | None = field(
        name="automaticOSUpgradePolicy", default=None
    )
    rolling_upgrade_policy: RollingUpgradePolicy | None = None


class Pool(Shown, kw_only=True):
    """A pool as the service shows it. Source: REST, Pool."""

    id: str
    display_name: str | None = None
    url: str
    etag: str = field(name="eTag")
    last_modified: str
    creation_time: str
    state: PoolState
    state_transition_time: str
    allocation_state: AllocationState | None = None
    allocation_state_transition_time: str | None = None
    vm_size: str
    virtual_machine_configuration: VirtualMachineConfiguration | None = None
    resize_timeout: str | None = None
    resize_errors: list[ResizeError] | None = None
    current_dedicated_nodes: Int32
    current_low_priority_nodes: Int32
    target_dedicated_nodes: Int32 | None = None
    target_low_priority_nodes: Int32 | None = None
    enable_auto_scale: bool | None = None
    auto_scale_formula: str | None = None
    auto_scale_evaluation_interval: str | None = None
    auto_scale_run: AutoScaleRun | None = None
    enable_inter_node_communication: bool | None = None
    network_configuration: NetworkConfiguration | None = None
    start_task: StartTask | None = None
    application_package_references: list[ApplicationPackageReference] | None = None
    task_slots_per_node: Int32 | None = None
    task_scheduling_policy: TaskSchedulingPolicy | None = None
    user_accounts: list[UserAccount] | None = None
    metadata: list[MetadataItem] | None = None
    stats: PoolStatistics | None = None
    mount_configuration: list[MountConfiguration] | None = None
    identity: PoolIdentity | None = None
    upgrade_policy: UpgradePolicy | None = None
    # only in older api-versions
    cloud_service_configuration: CloudServiceConfiguration | None = None
    certificate_references: list[CertificateReference] | None = None
    application_licenses: list[str] | None = None
    target_node_communication_mode: NodeCommunicationMode | None = None
    current_node_communication_mode: NodeCommunicationMode | None = None
    resource_tags: dict[str, str] | None = None
    max_tasks_per_node: Int32 | None = None


class PoolCreate(Given, kw_only=True):
    """REST: Add Pool."""

    id: str
    display_name: str | None = None
    vm_size: str
    virtual_machine_configuration: VirtualMachineConfiguration | None = None
    resize_timeout: str | None = None
    target_dedicated_nodes: Int32 | None = None
    target_low_priority_nodes: Int32 | None = None
    enable_auto_scale: bool | None = None
    auto_scale_formula: str | None = None
    auto_scale_evaluation_interval: str | None = None
    enable_inter_node_communication: bool | None = None
    network_configuration: NetworkConfiguration | None = None
    start_task: StartTask | None = None
    application_package_references: list[ApplicationPackageReference] | None = None
    task_slots_per_node: Int32 | None = None
    task_scheduling_policy: TaskSchedulingPolicy | None = None
    user_accounts: list[UserAccount] | None = None
    metadata: list[MetadataItem] | None = None
    mount_configuration: list[MountConfiguration] | None = None
    upgrade_policy: UpgradePolicy | None = None
    # only in older api-versions
    cloud_service_configuration: CloudServiceConfiguration | None = None
    certificate_references: list[CertificateReference] | None = None
    application_licenses: list[str] | None = None
    target_node_communication_mode: NodeCommunicationMode | None = None
    resource_tags: dict[str, str] | None = None
    max_tasks_per_node: Int32 | None = None


class PoolUpdate(Given, kw_only=True):
    """REST: Patch Pool. Absent members keep their value."""

    display_name: str | None = None
    vm_size: str | None = None
    enable_inter_node_communication: bool | None = None
    start_task: StartTask | None = None
    application_package_references: list[ApplicationPackageReference] | None = None
    metadata: list[MetadataItem] | None = None
    virtual_machine_configuration: VirtualMachineConfiguration | None = None
    task_slots_per_node: Int32 | None = None
    task_scheduling_policy: TaskSchedulingPolicy | None = None
    network_configuration: NetworkConfiguration | None = None
    user_accounts: list[UserAccount] | None = None
    mount_configuration: list[MountConfiguration] | None = None
    upgrade_policy: UpgradePolicy | None = None
    # only in older api-versions
    certificate_references: list[CertificateReference] | None = None
    target_node_communication_mode: NodeCommunicationMode | None = None
    resource_tags: dict[str, str] | None = None


class PoolReplace(Given, kw_only=True):
    """REST: Update Pool Properties. Absent members are removed."""

    start_task: StartTask | None = None
    application_package_references: list[ApplicationPackageReference]
    metadata: list[MetadataItem]
    # only in older api-versions
    certificate_references: list[CertificateReference] | None = None
    target_node_communication_mode: NodeCommunicationMode | None = None


class PoolResize(Given, kw_only=True):
    """REST: Resize Pool."""

    target_dedicated_nodes: Int32 | None = None
    target_low_priority_nodes: Int32 | None = None
    resize_timeout: str | None = None
    node_deallocation_option: NodeDeallocationOption | None = None


class PoolEnableAutoScale(Given, kw_only=True):
    auto_scale_formula: str | None = None
    auto_scale_evaluation_interval: str | None = None


class PoolEvaluateAutoScale(Given, kw_only=True):
    auto_scale_formula: str


class PoolSpecification(Given, kw_only=True):
    """The pool an auto pool is made from."""

    display_name: str | None = None
    vm_size: str
    virtual_machine_configuration: VirtualMachineConfiguration | None = None
    task_slots_per_node: Int32 | None = None
    task_scheduling_policy: TaskSchedulingPolicy | None = None
    resize_timeout: str | None = None
    target_dedicated_nodes: Int32 | None = None
    target_low_priority_nodes: Int32 | None = None
    enable_auto_scale: bool | None = None
    auto_scale_formula: str | None = None
    auto_scale_evaluation_interval: str | None = None
    enable_inter_node_communication: bool | None = None
    network_configuration: NetworkConfiguration | None = None
    start_task: StartTask | None = None
    application_package_references: list[ApplicationPackageReference] | None = None
    user_accounts: list[UserAccount] | None = None
    metadata: list[MetadataItem] | None = None
    mount_configuration: list[MountConfiguration] | None = None
    upgrade_policy: UpgradePolicy | None = None
    # only in older api-versions
    cloud_service_configuration: CloudServiceConfiguration | None = None
    certificate_references: list[CertificateReference] | None = None
    application_licenses: list[str] | None = None
    target_node_communication_mode: NodeCommunicationMode | None = None
    resource_tags: dict[str, str] | None = None
    max_tasks_per_node: Int32 | None = None


class AutoPoolSpecification(Given, kw_only=True):
    auto_pool_id_prefix: str | None = None
    pool_lifetime_option: PoolLifetimeOption
    keep_alive: bool | None = None
    pool: PoolSpecification | None = None


class PoolInfo(Given, kw_only=True):
    pool_id: str | None = None
    auto_pool_specification: AutoPoolSpecification | None = None
