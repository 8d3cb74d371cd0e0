"""Making a pool: for a client, or for the job that wants one of its own."""

from __future__ import annotations

import msgspec

from lote.domain.pool import ALLOCATION, POOL
from lote.server.container_rules import check_pool_containers
from lote.server.handlers.certificates import check_certificates
from lote.server.load import load_pool
from lote.server.memory import PoolState
from lote.server.owner import Tx
from lote.server.quotas import check_pool_quota
from lote.server.scaling import INTERVAL_DEFAULT_S, check_syntax
from lote.server.views import UNLIMITED_TIMEOUT_S
from lote.store import pools as rows
from lote.store.records import PoolRecord
from lote.wire.errors import Refused, invalid_property
from lote.wire.formats import parse_duration
from lote.wire.pool import PoolCreate, PoolReplace, PoolUpdate
from lote.wire.rules import refuse_packages
from lote.wire.vm_sizes import cores_of

RESIZE_TIMEOUT_S = 900.0  # REST: resizeTimeout, 15 minutes
SLOTS_PER_CORE_MAX = 4  # REST: taskSlotsPerNode


def make_pool(tx: Tx, body: PoolCreate) -> PoolState:
    """Record a pool whose body was checked, and take it into memory.

    Refuses, before anything is changed: PoolExists, PoolBeingDeleted, PoolQuotaReached,
    AutoScalingFormulaSyntaxError, and what this account does not have.
    """
    slots = body.task_slots_per_node or body.max_tasks_per_node or 1
    check_slots(body.vm_size, slots)
    formula = body.auto_scale_formula if body.enable_auto_scale else None
    if formula is not None:
        check_syntax(formula)
    check_pool_packages(body)
    check_pool_containers(body)
    check_certificates(tx.db, body.certificate_references or [])
    taken = rows.get_pool(tx.db, body.id)
    if taken is not None:
        raise Refused("PoolBeingDeleted" if taken.state == "deleting" else "PoolExists")
    check_pool_quota(tx)
    dedicated = body.target_dedicated_nodes or 0
    low_priority = body.target_low_priority_nodes or 0
    is_resizing = dedicated + low_priority > 0
    record = PoolRecord(
        key=0,
        id=body.id,
        state=POOL.initial,
        state_us=tx.now_us,
        allocation_state="resizing" if is_resizing else ALLOCATION.initial,
        allocation_us=tx.now_us,
        created_us=tx.now_us,
        modified_us=tx.now_us,
        vm_size=body.vm_size.lower(),
        engine=tx.memory.default_engine,
        slots=slots,
        target_dedicated=dedicated,
        target_low_priority=low_priority,
        current_dedicated=0,
        current_low_priority=0,
        enable_auto_scale=int(bool(body.enable_auto_scale)),
        inter_node=int(bool(body.enable_inter_node_communication)),
        resize_started_us=tx.now_us if is_resizing else None,
        resize_timeout_s=resize_timeout_s(body.resize_timeout),
        deallocation="requeue",
        resize_errors=None,
        spec=msgspec.json.encode(body),
        scale_formula=formula,
        scale_interval_s=_interval_s(body) if formula is not None else None,
        scale_us=tx.now_us if formula is not None else None,
    )
    record.key = rows.add_pool(tx.db, record)
    pool = load_pool(tx, record)
    tx.memory.touched_pools.add(record.key)
    return pool


def resize_timeout_s(text: str | None) -> float:
    """Seconds of a resizeTimeout; the unlimited one is as long as the wire can say."""
    if text is None:
        return RESIZE_TIMEOUT_S
    seconds = parse_duration(text)
    return UNLIMITED_TIMEOUT_S if seconds is None else seconds


def _interval_s(body: PoolCreate) -> float:
    """Seconds of a pool's autoScaleEvaluationInterval."""
    text = body.auto_scale_evaluation_interval
    return (parse_duration(text) if text else None) or INTERVAL_DEFAULT_S


def check_slots(vm_size: str, slots: int) -> None:
    limit = min(256, SLOTS_PER_CORE_MAX * cores_of(vm_size))
    if slots > limit:
        raise invalid_property(
            "taskSlotsPerNode", slots, f"A node of size {vm_size} has at most {limit} slots."
        )


def check_pool_packages(body: PoolCreate | PoolUpdate | PoolReplace) -> None:
    if body.application_package_references:
        refuse_packages(body.application_package_references)
