"""Pools: the operations of the data plane."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from lote.domain.pool import ALLOCATION, NEEDS_STEADY, pool_refusal
from lote.server.conditions import check_write
from lote.server.container_rules import check_pool_containers
from lote.server.fleet import begin_leave, hasten_leave, set_allocation
from lote.server.handlers.certificates import check_certificates
from lote.server.inter_node import resize_targets
from lote.server.job_manager import reseat_manager
from lote.server.memory import PoolState
from lote.server.new_pools import (
    check_pool_packages,
    check_slots,
    make_pool,
    resize_timeout_s,
)
from lote.server.node_setups import set_up_pool
from lote.server.owner import Tx
from lote.server.pages import answer_one, answer_page, page_of
from lote.server.request import Answer, Request
from lote.server.resizing import await_resize, begin_delete_pool, begin_resize, targets_without
from lote.server.scaling import after_evaluation
from lote.server.statistics import pool_stats, wants_stats, with_stats
from lote.server.views import view_pool
from lote.store import nodes as node_rows
from lote.store import pools as rows
from lote.store.database import Connection
from lote.store.lists import list_pools as page_of_pools
from lote.store.records import PoolRecord
from lote.wire.check_nodes import check_removal
from lote.wire.check_pools import (
    check_pool,
    check_pool_replace,
    check_pool_update,
    check_resize,
)
from lote.wire.errors import Refused, missing_property
from lote.wire.node import NodeRemove
from lote.wire.pool import Pool, PoolCreate, PoolReplace, PoolResize, PoolUpdate
from lote.wire.vm_sizes import cores_of

# Members that may be patched while the pool has nodes. REST: Patch Pool.
_ALWAYS_PATCHABLE = frozenset(
    {
        "start_task",
        "application_package_references",
        "metadata",
        "certificate_references",
        "target_node_communication_mode",
        "resource_tags",
    }
)
_JSON_NAMES = {field.name: field.encode_name for field in msgspec.structs.fields(PoolUpdate)}
_SCALES = "The pool scales by a formula; disable that first, or change the formula."


def create_pool(tx: Tx, request: Request) -> Answer:
    """Create a pool; its first sizing is a resize, or what its formula says.

    Refuses: PoolExists, PoolBeingDeleted, PoolQuotaReached, AutoScalingFormulaSyntaxError.
    """
    body: PoolCreate = request.body
    check_pool(body, tx.settings.scale_interval_min_s)
    pool = make_pool(tx, body)
    answer = Answer(modified_us=tx.now_us, location=f"/pools/{pool.id}")
    return answer if not body.enable_auto_scale else after_evaluation(tx, pool, answer)


def list_pools(db: Connection, request: Request) -> Answer:
    """One page of pools."""
    records = page_of_pools(db, page_of(request))
    return answer_page(request, records, Pool, _viewer(db, request, records))


def get_pool(db: Connection, request: Request) -> Answer:
    """One pool. Refuses: PoolNotFound."""
    record = existing_pool(db, request.params["pool_id"])
    view = _viewer(db, request, [record])
    return answer_one(request, view(record), Pool, record.modified_us)


def _viewer(
    db: Connection, request: Request, records: Sequence[PoolRecord]
) -> Callable[[PoolRecord], dict[str, Any]]:
    stats = pool_stats(db, request, records) if wants_stats(request) else {}
    return lambda pool: with_stats(view_pool(pool, request.base_url), stats.get(pool.key))


def pool_exists(db: Connection, request: Request) -> Answer:
    """Whether a pool exists."""
    return Answer(modified_us=existing_pool(db, request.params["pool_id"]).modified_us)


def update_pool(tx: Tx, request: Request) -> Answer:
    """Patch: members that are given replace, all others stay.

    Refuses: OperationInvalidForCurrentState for what an empty pool alone may change.
    """
    body: PoolUpdate = request.body
    check_pool_update(body)
    record, pool = changeable_pool(tx, request, "update")
    check_certificates(tx.db, body.certificate_references or [])
    check_pool_packages(body)
    given = [name for name in body.__struct_fields__ if getattr(body, name) is not None]
    fixed = [name for name in given if name not in _ALWAYS_PATCHABLE] if pool.nodes else []
    if fixed:
        name = _JSON_NAMES[fixed[0]]
        reason = "The property can be changed only while the pool has no nodes."
        values = [("PropertyName", name), ("Reason", reason)]
        raise Refused("OperationInvalidForCurrentState", values=values)
    spec = msgspec.json.decode(record.spec, type=PoolCreate, strict=False)
    for name in given:
        setattr(spec, name, getattr(body, name))
    if body.vm_size is not None or body.task_slots_per_node is not None:
        check_slots(spec.vm_size, spec.task_slots_per_node or 1)
    return _save_spec(tx, request, record, pool, spec)


def replace_pool_properties(tx: Tx, request: Request) -> Answer:
    """Replace start task, packages and metadata; an omitted start task is removed."""
    body: PoolReplace = request.body
    check_pool_replace(body)
    record, pool = changeable_pool(tx, request, "update")
    check_certificates(tx.db, body.certificate_references or [])
    check_pool_packages(body)
    spec = msgspec.json.decode(record.spec, type=PoolCreate, strict=False)
    spec.start_task = body.start_task
    spec.application_package_references = body.application_package_references or None
    spec.metadata = body.metadata or None
    spec.certificate_references = body.certificate_references or None
    spec.target_node_communication_mode = body.target_node_communication_mode
    return _save_spec(tx, request, record, pool, spec)


def delete_pool(tx: Tx, request: Request) -> Answer:
    """Delete a pool: its nodes leave, what runs is requeued. Refuses: PoolBeingDeleted."""
    record, pool = changeable_pool(tx, request, "delete")
    check_write(request, record.modified_us)
    begin_delete_pool(tx, pool)
    return Answer()


def resize_pool(tx: Tx, request: Request) -> Answer:
    """Start moving a pool towards new targets. Refuses: PoolBeingResized, PoolBeingDeleted."""
    body: PoolResize = request.body
    check_resize(body)
    if body.target_dedicated_nodes is None and body.target_low_priority_nodes is None:
        raise missing_property("targetDedicatedNodes")
    record, pool = changeable_pool(tx, request, "resize")
    if record.enable_auto_scale:
        raise Refused("OperationNotValidOnPool", values=[("Reason", _SCALES)])
    dedicated, low_priority = resize_targets(body, record)
    check_write(request, record.modified_us)
    begin_resize(
        tx,
        pool,
        dedicated,
        low_priority,
        timeout_s=resize_timeout_s(body.resize_timeout),
        option=body.node_deallocation_option or "requeue",
    )
    return touched_pool(tx, record)


def upgrade_pool_os(tx: Tx, request: Request) -> Answer:
    """Refuses: PoolNotEligibleForOSVersionUpgrade, as only pools of cloud services could be."""
    record = existing_pool(tx.db, request.params["pool_id"])
    check_write(request, record.modified_us)
    raise Refused("PoolNotEligibleForOSVersionUpgrade")


def stop_pool_resize(tx: Tx, request: Request) -> Answer:
    """Stop a resize where it stands. A steady pool stays as it is: clients written for slow
    pools ask for it when a fast one has long finished. Refuses: PoolBeingDeleted."""
    record, pool = changeable_pool(tx, request, "stop_resize")
    check_write(request, record.modified_us)
    if pool.allocation_state == "resizing":
        set_allocation(tx, pool, ALLOCATION.after(pool.allocation_state, "stop"))
        if record.enable_auto_scale:
            await_resize(tx, pool, record.resize_timeout_s)  # until here it had no time-out
        tx.memory.touched_pools.add(pool.key)
    return Answer(modified_us=record.modified_us)


def remove_nodes(tx: Tx, request: Request) -> Answer:
    """Take named nodes out of a pool, no others, and lower its targets. Refuses: NodeNotFound,
    PoolBeingResized."""
    body: NodeRemove = request.body
    check_removal(body)
    record, pool = changeable_pool(tx, request, "remove_nodes")
    nodes = []
    for node_id in dict.fromkeys(node_id.lower() for node_id in body.node_list):
        node = tx.memory.node_of_id(node_id)
        if node is None or node.pool_key != pool.key:
            raise Refused("NodeNotFound", values=[("NodeId", node_id)])
        nodes.append(node)
    check_write(request, record.modified_us)
    option = body.node_deallocation_option or "requeue"
    dedicated, low_priority = targets_without(tx, pool, record, nodes)
    begin_resize(
        tx,
        pool,
        dedicated,
        low_priority,
        timeout_s=resize_timeout_s(body.resize_timeout),
        option=option,
    )
    for node in nodes:
        if node.state == "leavingpool":
            hasten_leave(tx, node, option)
        else:
            begin_leave(tx, node, option)
    return touched_pool(tx, record)


def existing_pool(db: Connection, pool_id: str) -> PoolRecord:
    """The pool of that id. Refuses: PoolNotFound."""
    record = rows.get_pool(db, pool_id)
    if record is None:
        raise Refused("PoolNotFound")
    return record


def changeable_pool(tx: Tx, request: Request, event: str) -> tuple[PoolRecord, PoolState]:
    """The pool, if it may be changed in this way now. Refuses: PoolNotFound, PoolBeing….

    The request's conditions come last: whoever calls this checks them, after what else may refuse.
    """
    record = existing_pool(tx.db, request.params["pool_id"])
    pool = tx.memory.pools[record.key]
    refuses = event in NEEDS_STEADY and pool.allocation_state != "steady"
    if pool.state == "deleting" or refuses:
        raise Refused(pool_refusal(pool.state, pool.allocation_state, event))
    return record, pool


def touched_pool(tx: Tx, record: PoolRecord) -> Answer:
    modified_us = max(tx.now_us, record.modified_us + 1)
    rows.save_pool(tx.db, record.key, modified_us=modified_us)
    return Answer(modified_us=modified_us)


def _save_spec(
    tx: Tx, request: Request, record: PoolRecord, pool: PoolState, spec: PoolCreate
) -> Answer:
    check_pool_containers(spec)
    check_write(request, record.modified_us)
    raw = msgspec.json.encode(spec)
    set_up_pool(pool, msgspec.json.decode(raw))
    rows.save_pool(
        tx.db,
        record.key,
        spec=raw,
        vm_size=spec.vm_size.lower(),
        slots=spec.task_slots_per_node or record.slots,
        inter_node=int(bool(spec.enable_inter_node_communication)),
    )
    start = spec.start_task
    pool.start_task = msgspec.json.encode(start) if start else None
    pool.waits_for_start_task = bool(start and start.wait_for_success is not False)
    pool.slots = spec.task_slots_per_node or record.slots
    pool.cores = cores_of(spec.vm_size)
    pool.inter_node = bool(spec.enable_inter_node_communication)
    policy = spec.task_scheduling_policy
    tx.memory.view.set_pool(
        pool.key,
        spread=not policy or policy.node_fill_type != "pack",
        creation_order=bool(policy and policy.job_default_order == "creationtime"),
        slots_per_node=pool.slots,
        inter_node=bool(spec.enable_inter_node_communication),
    )
    tx.memory.dirty_pools.add(pool.key)  # what the pool could not run before it may now
    for job in tx.memory.jobs_of_pool(pool.key):
        reseat_manager(tx, job)
    return touched_pool(tx, record)


def node_counts(db: Connection, pool: PoolRecord, is_dedicated: bool) -> dict[str, int]:
    """Nodes of one kind by state."""
    counts = dict.fromkeys(_COUNTED.values(), 0)
    total = 0
    for node in node_rows.list_pool_nodes(db, pool.key):
        if bool(node.is_dedicated) == is_dedicated:
            counts[_COUNTED[node.state]] += 1
            total += 1
    return counts | {"total": total}


_COUNTED = {
    name.lower(): name
    for name in (
        "creating",
        "idle",
        "offline",
        "preempted",
        "rebooting",
        "reimaging",
        "running",
        "starting",
        "startTaskFailed",
        "leavingPool",
        "unknown",
        "unusable",
        "waitingForStartTask",
        "deallocated",
        "deallocating",
        "upgradingOS",
    )
}
