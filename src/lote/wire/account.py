"""What an account offers as a whole: applications, images, counts, usage."""

from __future__ import annotations

from msgspec import field

from lote.wire.base import Shown
from lote.wire.enums import ImageVerificationType, Int32, OSType
from lote.wire.vm import VmImageReference


class PoolUsageMetrics(Shown, kw_only=True):
    pool_id: str
    start_time: str
    end_time: str
    vm_size: str
    total_core_hours: float


class NodeCounts(Shown, kw_only=True):
    creating: Int32
    idle: Int32
    offline: Int32
    preempted: Int32
    rebooting: Int32
    reimaging: Int32
    running: Int32
    starting: Int32
    start_task_failed: Int32
    leaving_pool: Int32
    unknown: Int32
    unusable: Int32
    waiting_for_start_task: Int32
    deallocated: Int32
    deallocating: Int32
    total: Int32
    upgrading_os: Int32 = field(name="upgradingOS")


class PoolNodeCounts(Shown, kw_only=True):
    pool_id: str
    dedicated: NodeCounts | None = None
    low_priority: NodeCounts | None = None


class SupportedImage(Shown, kw_only=True):
    node_agent_sku_id: str = field(name="nodeAgentSKUId")
    image_reference: VmImageReference
    os_type: OSType
    capabilities: list[str] | None = None
    batch_support_end_of_life: str | None = None
    verification_type: ImageVerificationType


class Application(Shown, kw_only=True):
    id: str
    display_name: str
    versions: list[str]


class NodeAgentSku(Shown, kw_only=True):
    id: str
    verified_image_references: list[VmImageReference] | None = None
    os_type: OSType
