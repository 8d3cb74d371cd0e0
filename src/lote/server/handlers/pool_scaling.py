"""Pools that scale by a formula: the operations of the data plane."""

from __future__ import annotations

from functools import partial
from typing import Any

import msgspec

from lote.server.conditions import check_write
from lote.server.handlers.pool import changeable_pool, existing_pool, touched_pool
from lote.server.memory import ScaleOrder
from lote.server.owner import Tx
from lote.server.pages import after_id, answer_list
from lote.server.request import Answer, Request, json_answer
from lote.server.scaling import (
    INTERVAL_DEFAULT_S,
    after_evaluation,
    carry_out,
    check_syntax,
    start_scaling,
    stop_scaling,
    try_order,
    view_run,
)
from lote.store.database import Connection
from lote.store.pools import save_pool
from lote.store.records import PoolRecord
from lote.store.scaling import EvaluationRecord, list_evaluations
from lote.wire.check_pools import check_enable_auto_scale, check_evaluate_auto_scale
from lote.wire.errors import Refused, invalid_query, missing_property
from lote.wire.formats import format_timestamp, parse_duration
from lote.wire.pool import AutoScaleRun, PoolEnableAutoScale, PoolEvaluateAutoScale
from lote.wire.spelling import spell
from lote.world import World

ENABLE_PERIOD_S = 30.0  # REST: Enable Auto Scale


def enable_pool_auto_scale(tx: Tx, request: Request) -> Answer:
    """Scale a pool by a formula, or change formula or interval; it is evaluated at once.

    Refuses: PoolBeingResized, TooManyEnableAutoScaleRequests within 30 s of the last,
    AutoScalingFormulaSyntaxError. Source: REST, Enable Auto Scale.
    """
    body: PoolEnableAutoScale = request.body
    check_enable_auto_scale(body, tx.settings.scale_interval_min_s)
    if body.auto_scale_formula is not None:
        check_syntax(body.auto_scale_formula)
    record, pool = changeable_pool(tx, request, "enable_auto_scale")
    formula = body.auto_scale_formula or record.scale_formula
    if formula is None:
        raise missing_property("autoScaleFormula")
    if body.auto_scale_formula is None and body.auto_scale_evaluation_interval is None:
        raise Refused("InvalidAutoScalingSettings", "A formula or an interval must be given.")
    _check_rate(tx, record)
    check_write(request, record.modified_us)
    interval_s = record.scale_interval_s or INTERVAL_DEFAULT_S
    if body.auto_scale_evaluation_interval is not None:
        interval_s = parse_duration(body.auto_scale_evaluation_interval) or interval_s
    start_scaling(tx, record, formula, interval_s)
    save_pool(tx.db, record.key, scale_enabled_us=tx.now_us)
    return after_evaluation(tx, pool, touched_pool(tx, record))


def disable_pool_auto_scale(tx: Tx, request: Request) -> Answer:
    """Scale a pool by hand again; it keeps its targets. One that does not scale stays as it is.

    Refuses: PoolBeingDeleted. Source: REST, Disable Auto Scale.
    """
    record, pool = changeable_pool(tx, request, "disable_auto_scale")
    check_write(request, record.modified_us)
    if record.enable_auto_scale:
        stop_scaling(tx, pool, record)
    return Answer(modified_us=record.modified_us)  # the service keeps the ETag, too


def evaluate_pool_auto_scale(tx: Tx, request: Request) -> Answer:
    """Evaluate a formula on a pool and change nothing; what is wrong with it is in the answer.

    Refuses: OperationNotValidOnPool for a pool that does not scale by a formula.
    Source: REST, Evaluate Auto Scale.
    """
    body: PoolEvaluateAutoScale = request.body
    check_evaluate_auto_scale(body)
    record = existing_pool(tx.db, request.params["pool_id"])
    pool, scale = tx.memory.pools[record.key], tx.memory.scales.get(record.key)
    if pool.state == "deleting":
        raise Refused("PoolBeingDeleted")
    if scale is None:
        raise Refused("OperationNotValidOnPool", "Enable autoscale on the pool first.")
    order = try_order(tx, pool, scale, record, body.auto_scale_formula)
    return Answer(later=partial(_answer_run, request, order, tx.world))


def _check_rate(tx: Tx, record: PoolRecord) -> None:
    if record.scale_enabled_us is None:
        return
    left_s = ENABLE_PERIOD_S - (tx.now_us - record.scale_enabled_us) / 1_000_000
    if 0 < left_s <= ENABLE_PERIOD_S:
        retry_after = {"Retry-After": str(int(left_s) + 1)}
        raise Refused("TooManyEnableAutoScaleRequests", headers=retry_after)


def list_pool_evaluations(db: Connection, request: Request) -> Answer:
    """One page of what the pool's formula came to, the newest first; ours. Refuses: PoolNotFound,
    InvalidQueryParameterValue."""
    record = existing_pool(db, request.params["pool_id"])
    after = after_id(request) or ""
    if after and not after.isdecimal():
        raise invalid_query("$skiptoken", after[:64], "This is not a token of this list.")
    size = request.page_size
    found = list_evaluations(db, record.key, size + 1, int(after) if after else None)
    next_id = str(found[size - 1].key) if len(found) > size else None
    return answer_list(request, [_view_evaluation(one) for one in found[:size]], next_id)


def _view_evaluation(one: EvaluationRecord) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "timestamp": format_timestamp(one.at_us),
        "formula": one.formula,
        "results": one.results,
        "targetDedicatedNodes": one.target_dedicated,
        "targetLowPriorityNodes": one.target_low_priority,
        "variables": one.variables,
        "readings": one.readings,
    }
    if one.error is not None:
        shown["error"] = msgspec.Raw(one.error.encode())
    return shown


def _answer_run(request: Request, order: ScaleOrder, world: World) -> Answer:
    run = view_run(order.at_us, carry_out(order, world.chance))
    metadata = f"{request.base_url}/$metadata#{request.operation.metadata}"
    return json_answer({"odata.metadata": metadata} | spell(run, AutoScaleRun, request.api_version))
