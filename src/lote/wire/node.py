"""Compute nodes: as they are shown, and the options of what is done to them."""

from __future__ import annotations

from msgspec import field

from lote.wire.base import Given, Shown
from lote.wire.enums import (
    InboundEndpointProtocol,
    Int32,
    NodeDeallocateOption,
    NodeDeallocationOption,
    NodeDisableSchedulingOption,
    NodeRebootKind,
    NodeReimageOption,
    NodeState,
    SchedulingState,
    StartTaskState,
    StatusLevelTypes,
    TaskExecutionResult,
    TaskState,
)
from lote.wire.legacy import CertificateReference
from lote.wire.pool import StartTask
from lote.wire.shared import (
    NameValuePair,
    NodeIdentityReference,
    TaskContainerExecutionInfo,
    TaskFailureInfo,
)
from lote.wire.task import TaskExecutionInfo
from lote.wire.vm import VMExtension, VmImageReference


class NodeAgentInfo(Shown, kw_only=True):
    version: str
    last_update_time: str


class VirtualMachineInfo(Shown, kw_only=True):
    image_reference: VmImageReference | None = None
    scale_set_vm_resource_id: str | None = None


class InboundEndpoint(Shown, kw_only=True):
    name: str
    protocol: InboundEndpointProtocol
    public_ip_address: str = field(name="publicIPAddress")
    public_fqdn: str = field(name="publicFQDN")
    frontend_port: Int32
    backend_port: Int32


class NodeEndpointConfiguration(Shown, kw_only=True):
    inbound_endpoints: list[InboundEndpoint]


class NodeError(Shown, kw_only=True):
    code: str | None = None
    message: str | None = None
    error_details: list[NameValuePair] | None = None


class StartTaskInfo(Shown, kw_only=True):
    state: StartTaskState
    start_time: str
    end_time: str | None = None
    exit_code: Int32 | None = None
    container_info: TaskContainerExecutionInfo | None = None
    failure_info: TaskFailureInfo | None = None
    retry_count: Int32
    last_retry_time: str | None = None
    result: TaskExecutionResult | None = None


class TaskInfo(Shown, kw_only=True):
    task_url: str | None = None
    job_id: str | None = None
    task_id: str | None = None
    subtask_id: Int32 | None = None
    task_state: TaskState
    execution_info: TaskExecutionInfo | None = None


class Node(Shown, kw_only=True):
    """A compute node as the service shows it. Source: REST, Compute Node."""

    id: str
    url: str
    state: NodeState
    scheduling_state: SchedulingState | None = None
    state_transition_time: str
    last_boot_time: str | None = None
    allocation_time: str
    ip_address: str | None = None
    ipv6_address: str | None = None
    affinity_id: str
    vm_size: str
    total_tasks_run: Int32
    running_tasks_count: Int32 | None = None
    running_task_slots_count: Int32 | None = None
    total_tasks_succeeded: Int32 | None = None
    recent_tasks: list[TaskInfo] | None = None
    start_task: StartTask | None = None
    start_task_info: StartTaskInfo | None = None
    errors: list[NodeError] | None = None
    is_dedicated: bool | None = None
    endpoint_configuration: NodeEndpointConfiguration | None = None
    node_agent_info: NodeAgentInfo | None = None
    virtual_machine_info: VirtualMachineInfo
    # only in older api-versions
    certificate_references: list[CertificateReference] | None = None


class NodeRemove(Given, kw_only=True):
    """REST: Remove Nodes."""

    node_list: list[str]
    resize_timeout: str | None = None
    node_deallocation_option: NodeDeallocationOption | None = None


class NodeReboot(Given, kw_only=True):
    node_reboot_option: NodeRebootKind | None = None


class NodeReimage(Given, kw_only=True):
    node_reimage_option: NodeReimageOption | None = None


class NodeDeallocate(Given, kw_only=True):
    node_deallocate_option: NodeDeallocateOption | None = None


class NodeDisableScheduling(Given, kw_only=True):
    node_disable_scheduling_option: NodeDisableSchedulingOption | None = None


class NodeUserCreate(Given, kw_only=True):
    name: str
    is_admin: bool | None = None
    expiry_time: str | None = None
    password: str | None = None
    ssh_public_key: str | None = None


class NodeUserReplace(Given, kw_only=True):
    password: str | None = None
    expiry_time: str | None = None
    ssh_public_key: str | None = None


class NodeRemoteLoginSettings(Shown, kw_only=True):
    ipv6_remote_login_ip_address: str | None = field(name="ipv6RemoteLoginIPAddress", default=None)
    ipv6_remote_login_port: Int32 | None = None
    remote_login_ip_address: str = field(name="remoteLoginIPAddress")
    remote_login_port: Int32


class UploadBatchServiceLogs(Given, kw_only=True):
    container_url: str
    start_time: str
    end_time: str | None = None
    identity_reference: NodeIdentityReference | None = None


class UploadBatchServiceLogsResult(Shown, kw_only=True):
    virtual_directory_name: str
    number_of_files_uploaded: Int32


class InstanceViewStatus(Shown, kw_only=True):
    code: str | None = None
    display_status: str | None = None
    level: StatusLevelTypes | int | None = None
    message: str | None = None
    time: str | None = None


class VMExtensionInstanceView(Shown, kw_only=True):
    name: str | None = None
    statuses: list[InstanceViewStatus] | None = None
    sub_statuses: list[InstanceViewStatus] | None = None


class NodeVMExtension(Shown, kw_only=True):
    provisioning_state: str | None = None
    vm_extension: VMExtension | None = None
    instance_view: VMExtensionInstanceView | None = None
