"""Pools that scale by a formula: when it is evaluated, and what follows from it.

A pool has one alarm, for its next sample or its next evaluation. A formula is evaluated in a thread
of its own (``formulas``), because the longest takes 0.3 s; what came of it is applied here, if the
pool still has that formula. Targets, interval and next evaluation are in the pool's row, so that
the timetable outlives the server.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from lote.autoscale.errors import FormulaError
from lote.autoscale.formula import Evaluation, evaluate_text, parse_formula
from lote.autoscale.samples import SampleHistory
from lote.autoscale.targets import Targets
from lote.autoscale.values import shown
from lote.server.fleet import remove_node
from lote.server.memory import PoolState, ScaleOrder, ScaleState
from lote.server.owner import Tx
from lote.server.request import Answer
from lote.server.resizing import await_resize, begin_resize, retarget
from lote.server.sampling import (
    PERIOD_US,
    load_history,
    next_sample_us,
    present_samples,
    take_sample,
)
from lote.store import pools as pool_rows
from lote.store import scaling as rows
from lote.store.events import add_event
from lote.store.nodes import list_pool_nodes
from lote.store.records import PoolRecord
from lote.wire.errors import Refused
from lote.wire.formats import format_timestamp

INTERVAL_DEFAULT_S = 900.0  # REST: autoScaleEvaluationInterval, 15 minutes
EVALUATION_WAIT_S = 2.0  # ours: whoever looks after the answer sees the first evaluation

Shown = dict[str, Any]


def load_scaling(tx: Tx, record: PoolRecord) -> None:
    """Take a pool's scaling into memory, if it has one.

    One that begins at this moment is sampled and evaluated at once. What fell due while the server
    was away is made up for once, when nodes had time to call.
    """
    if not record.enable_auto_scale:
        return
    due_us, sample_us = _next_due_us(tx, record), tx.now_us
    if due_us != tx.now_us:
        sample_us = next_sample_us(tx.now_us)
        if due_us < tx.now_us or record.scale_run is None:
            due_us = tx.now_us + PERIOD_US
    scale = ScaleState(load_history(tx, record.key), due_us, sample_us)
    tx.memory.scales[record.key] = scale
    _set_alarm(tx, record.key, scale)


def wake_scaling(tx: Tx, pool_key: int) -> None:
    """An alarm went off: take the sample or begin the evaluation that is due."""
    pool, scale = tx.memory.pools.get(pool_key), tx.memory.scales.get(pool_key)
    if pool is None or scale is None or scale.wake_us is None or tx.now_us < scale.wake_us:
        return
    scale.wake_us = None
    if pool.state == "deleting":
        return
    take_sample(tx, pool, scale)
    record = pool_rows.get_pool_by_key(tx.db, pool_key)
    if tx.now_us >= scale.due_us and record is not None:
        _order_evaluation(tx, pool, scale, record)
    _set_alarm(tx, pool_key, scale)


def follow_clock(tx: Tx) -> None:
    """The clock may have been set back: samples of moments that are still to come are forgotten,
    and nothing waits for longer than the pool's interval. Steps within a period do no harm."""
    memory = tx.memory
    before_us, memory.clock_us = memory.clock_us, tx.now_us
    if tx.now_us > before_us - PERIOD_US:
        return
    for pool_key, scale in memory.scales.items():
        record = pool_rows.get_pool_by_key(tx.db, pool_key)
        scale.history = load_history(tx, pool_key)
        scale.sample_us = next_sample_us(tx.now_us)
        if record is not None:
            scale.due_us = min(scale.due_us, _next_due_us(tx, record))
        _set_alarm(tx, pool_key, scale)


def _next_due_us(tx: Tx, record: PoolRecord) -> int:
    """When a pool is due by its row. What is further away than its interval is from before the
    clock was set back, and counts from now."""
    interval_us = _us(record.scale_interval_s or INTERVAL_DEFAULT_S)
    return min(record.scale_us or 0, tx.now_us + interval_us)


def start_scaling(tx: Tx, record: PoolRecord, formula: str, interval_s: float) -> None:
    """Scale a pool by this formula from now on, or by another one or at another interval.

    It is evaluated at once. A new interval begins now; a new formula keeps the timetable.
    """
    restarts = not record.enable_auto_scale or interval_s != record.scale_interval_s
    next_us = record.scale_us
    if restarts or next_us is None:
        next_us = tx.now_us + _us(interval_s)
    changes = {
        "enable_auto_scale": 1,
        "scale_formula": formula,
        "scale_interval_s": interval_s,
        "scale_us": next_us,
    }
    pool_rows.save_pool(tx.db, record.key, **changes)
    scale = tx.memory.scales.get(record.key)
    if scale is None:
        scale = ScaleState(SampleHistory(), tx.now_us, tx.now_us)
        tx.memory.scales[record.key] = scale
    scale.due_us = tx.now_us
    _set_alarm(tx, record.key, scale)


def stop_scaling(tx: Tx, pool: PoolState, record: PoolRecord) -> None:
    """Scale no more: the targets stay as they are. A resize under way gets its time-out."""
    tx.memory.scales.pop(pool.key, None)
    rows.delete_samples(tx.db, pool.key)
    pool_rows.save_pool(
        tx.db,
        pool.key,
        enable_auto_scale=0,
        scale_formula=None,
        scale_interval_s=None,
        scale_us=None,
        scale_run=None,
    )
    if pool.allocation_state != "steady":
        await_resize(tx, pool, record.resize_timeout_s)


def after_evaluation(tx: Tx, pool: PoolState, answer: Answer) -> Answer:
    """The same answer, held back for the moment that the evaluation takes which is due now."""
    done = threading.Event()
    tx.memory.scales[pool.key].waiting.append(done)

    def waited() -> Answer:
        done.wait(EVALUATION_WAIT_S)
        return answer

    return Answer(later=waited)


def try_order(
    tx: Tx, pool: PoolState, scale: ScaleState, record: PoolRecord, formula: str
) -> ScaleOrder:
    """What an evaluation of any formula on this pool starts from, at this moment."""
    samples, readings = present_samples(tx, pool, scale)
    current = Targets(record.target_dedicated, record.target_low_priority)
    return ScaleOrder(pool.key, formula, tx.now_us, samples, readings, current, [])


def carry_out(order: ScaleOrder, rand: Callable[[], float]) -> Evaluation:
    """Evaluate; nothing else is touched. From any thread."""
    return evaluate_text(order.formula, order.samples, order.at_us, order.current, rand)


def view_run(at_us: int, evaluation: Evaluation) -> Shown:
    """An evaluation as the protocol's AutoScaleRun."""
    run: Shown = {"timestamp": format_timestamp(at_us), "results": evaluation.results}
    error = evaluation.error
    if error is not None:
        values = [{"name": name, "value": value} for name, value in error.values]
        run["error"] = {"code": error.code, "message": error.message, "values": values}
    return run


def apply_evaluation(tx: Tx, order: ScaleOrder, evaluation: Evaluation) -> None:
    """Record what came of a formula, and resize the pool if it says so."""
    tx.after += [done.set for done in order.waiting]
    pool = tx.memory.pools.get(order.pool_key)
    record = pool_rows.get_pool_by_key(tx.db, order.pool_key)
    if pool is None or record is None or pool.state == "deleting":
        return
    if not record.enable_auto_scale or record.scale_formula != order.formula:
        return  # it was disabled or given another formula meanwhile
    scale = tx.memory.scales.get(pool.key)
    if scale is not None and min(scale.due_us, record.scale_us or 0) > tx.now_us:
        scale.due_us = _next_due_us(tx, record)  # a load may have taken this evaluation for lost
    run = view_run(order.at_us, evaluation)
    _note_outcome(tx, record, run)
    pool_rows.save_pool(tx.db, pool.key, scale_run=msgspec.json.encode(run).decode())
    _keep_evaluation(tx, order, evaluation, run)
    if evaluation.error is None:
        _resize(tx, pool, record, evaluation.targets)


def check_syntax(formula: str) -> None:
    """Refuses: AutoScalingFormulaSyntaxError, AutoScaleFormulaTooLong, with the place."""
    try:
        parse_formula(formula)
    except FormulaError as error:
        raise Refused(error.code, values=error.values) from None


def _set_alarm(tx: Tx, pool_key: int, scale: ScaleState) -> None:
    wake_us = min(scale.due_us, scale.sample_us)
    if scale.wake_us is None or wake_us < scale.wake_us:
        scale.wake_us = wake_us
        tx.memory.set_timer(wake_us, "scale", pool_key)


def _order_evaluation(tx: Tx, pool: PoolState, scale: ScaleState, record: PoolRecord) -> None:
    """Have the formula evaluated once this transaction is committed, and set the next time."""
    interval_us = _us(record.scale_interval_s or INTERVAL_DEFAULT_S)
    next_us = _next_due_us(tx, record) or tx.now_us
    if next_us <= tx.now_us:
        next_us += ((tx.now_us - next_us) // interval_us + 1) * interval_us
    scale.due_us = next_us
    pool_rows.save_pool(tx.db, pool.key, scale_us=next_us)
    order = try_order(tx, pool, scale, record, record.scale_formula or "")
    order.waiting.extend(scale.waiting)
    scale.waiting.clear()
    evaluator = tx.memory.evaluator
    if evaluator is not None:
        tx.after.append(lambda: evaluator.evaluate(order))


def _keep_evaluation(tx: Tx, order: ScaleOrder, evaluation: Evaluation, run: Shown) -> None:
    error = run.get("error")
    kept = rows.EvaluationRecord(
        key=None,
        at_us=order.at_us,
        formula=order.formula,
        results=evaluation.results,
        error=None if error is None else msgspec.json.encode(error).decode(),
        target_dedicated=evaluation.targets.dedicated_nodes,
        target_low_priority=evaluation.targets.low_priority_nodes,
        variables={name: shown(value) for name, value in evaluation.variables.items()},
        readings=order.readings,
    )
    rows.add_evaluation(tx.db, order.pool_key, kept)


def _note_outcome(tx: Tx, record: PoolRecord, run: Shown) -> None:
    """An event when a formula begins to fail, fails otherwise, or works again."""
    before = msgspec.json.decode(record.scale_run).get("error") if record.scale_run else None
    error = run.get("error")
    if error == before:
        return
    if error is None:
        add_event(tx.db, tx.now_us, "pool_scaling_well", record.id, "")
    else:
        text = f"{error['code']}: {error['values'][0]['value']}"
        add_event(tx.db, tx.now_us, "pool_scaling_failed", record.id, text)


def _resize(tx: Tx, pool: PoolState, record: PoolRecord, targets: Targets) -> None:
    """Follow the targets. A resize under way is given the new ones; one that is being stopped is
    left alone until the next evaluation. What an earlier resize could not get is tried again."""
    wanted = targets.dedicated_nodes, targets.low_priority_nodes
    before = record.target_dedicated, record.target_low_priority
    option = targets.node_deallocation_option
    if pool.allocation_state == "resizing":
        _give_up_silent(tx, pool, record)
        if wanted == before:
            return
        retarget(tx, pool, *wanted, option=option)
    elif pool.allocation_state == "steady":
        if wanted == before == _staying(tx, pool):
            return
        begin_resize(tx, pool, *wanted, option=option)
    else:
        return
    if wanted != before:
        text = f"dedicated {before[0]} to {wanted[0]}, low-priority {before[1]} to {wanted[1]}"
        add_event(tx.db, tx.now_us, "pool_scaled", pool.id, text)


def _give_up_silent(tx: Tx, pool: PoolState, record: PoolRecord) -> None:
    """Nodes whose agents have not called for as long as a resize by hand might take are ordered
    anew: no time-out ends a resize of a formula, and one that waits for them would not end."""
    before_us = tx.now_us - _us(record.resize_timeout_s)
    for row in list_pool_nodes(tx.db, pool.key):
        if row.state == "creating" and row.allocated_us < before_us:
            remove_node(tx, tx.memory.nodes[row.key])


def _staying(tx: Tx, pool: PoolState) -> tuple[int, int]:
    """Dedicated and low-priority nodes that are there to stay; for a lost one, its replacement."""
    nodes = [tx.memory.nodes[key] for key in pool.nodes]
    staying = [node for node in nodes if node.state != "leavingpool" and not node.is_lost]
    dedicated = sum(node.is_dedicated for node in staying)
    return dedicated, len(staying) - dedicated


def _us(seconds: float) -> int:
    return int(seconds * 1_000_000)
