"""What the formulas of pools read: one sample of each variable every 30 seconds.

Only pools that scale by a formula are sampled. Samples are in the database, so that a server that
was started again does not take its pools for new ones; the time it was away lacks samples.
"""

from __future__ import annotations

from collections.abc import Iterable

from lote.autoscale.samples import SAMPLE_PERIOD_S, SampleHistory
from lote.server.memory import Link, NodeState, PoolState, ScaleState
from lote.server.owner import Tx
from lote.server.pool_use import note_pool_use
from lote.store import scaling as rows
from lote.store.instances import count_further_instances
from lote.store.records import JobCount
from lote.store.scaling import Readings
from lote.wire.frames import Samples

PERIOD_US = SAMPLE_PERIOD_S * 1_000_000
USE_US_MAX = 2 * PERIOD_US  # older words of an agent do not count: it speaks every 30 s
_MB = 1_000_000
_GB = 1_000_000_000
_READY = frozenset({"idle", "running"})


def note_use(tx: Tx, node_key: int, link: Link, samples: Samples) -> None:
    """An agent told of its node's use over the last interval."""
    node = tx.memory.nodes.get(node_key)
    if node is None or node.link is not link:
        return
    node.use, node.use_us = samples, tx.now_us
    note_pool_use(tx, tx.memory.pools[node.pool_key], samples)


def load_history(tx: Tx, pool_key: int) -> SampleHistory:
    """The samples of a pool that are kept; those too old go when the next is taken."""
    history = SampleHistory()
    for at_us, readings in rows.list_samples(tx.db, pool_key, 0, tx.now_us):
        history.record(at_us, readings)
    return history


def next_sample_us(now_us: int) -> int:
    """The moment of the next sample: all pools are sampled together, at half minutes."""
    return (now_us // PERIOD_US + 1) * PERIOD_US


def take_sample(tx: Tx, pool: PoolState, scale: ScaleState) -> None:
    """Sample a pool if that is due; the sample is dated with the half minute, not its delay."""
    if tx.now_us < scale.sample_us:
        return
    scale.sample_us = next_sample_us(tx.now_us)
    at_us = scale.sample_us - PERIOD_US
    newest_us = scale.history.newest_us
    if newest_us is None:
        at_us = tx.now_us  # the first may come at any moment
    elif at_us <= newest_us:
        return
    readings = read_pool(tx, pool)
    keep_from_us = tx.now_us - _kept_us(tx)
    rows.add_sample(tx.db, pool.key, at_us, readings, keep_from_us=keep_from_us)
    scale.history.record(at_us, readings)
    scale.history.forget_before(keep_from_us)


def present_samples(tx: Tx, pool: PoolState, scale: ScaleState) -> tuple[SampleHistory, Readings]:
    """The pool's samples and one of this very moment, which is not kept; and that one alone."""
    samples, readings = scale.history.copy(), read_pool(tx, pool)
    newest_us = samples.newest_us
    if newest_us is None or newest_us < tx.now_us:
        samples.record(tx.now_us, readings)
    return samples, readings


def read_pool(tx: Tx, pool: PoolState) -> Readings:
    """Every variable that formulas may read, as it is now.

    Those that agents measure are left out while no agent has told of its node.
    """
    nodes = [tx.memory.nodes[key] for key in pool.nodes]
    return _read_tasks(tx, pool) | _read_nodes(nodes) | _read_use(tx, nodes)


def _read_tasks(tx: Tx, pool: PoolState) -> Readings:
    """Tasks as they are counted everywhere, but multi-instance ones with each of their instances:
    a formula asks how many nodes are wanted."""
    count = JobCount()
    jobs = tx.memory.jobs_of_pool(pool.key)
    for job in jobs:
        count.active += job.counts.active
        count.active_slots += job.counts.active_slots
        count.running += job.counts.running
        count.running_slots += job.counts.running_slots
        count.succeeded += job.counts.succeeded
        count.failed += job.counts.failed
        if job.uses_dependencies and job.counts.active:
            blocked, blocked_slots = rows.count_blocked(tx.db, job.key)
            count.active -= blocked
            count.active_slots -= blocked_slots
    if jobs:
        active, running = count_further_instances(tx.db, [job.key for job in jobs])
        count.active += active
        count.active_slots += active
        count.running += running
        count.running_slots += running
    succeeded, failed = rows.count_ended(tx.db, pool.id)
    return {
        "$ActiveTasks": count.active,
        "$RunningTasks": count.running,
        "$PendingTasks": count.active + count.running,
        "$SucceededTasks": count.succeeded + succeeded,
        "$FailedTasks": count.failed + failed,
        "$ActiveTaskSlots": count.active_slots,
        "$RunningTaskSlots": count.running_slots,
        "$PendingTaskSlots": count.active_slots + count.running_slots,
        "$TaskSlotsPerNode": pool.slots,
    }


def _read_nodes(nodes: list[NodeState]) -> Readings:
    present = [node for node in nodes if not node.is_lost]
    dedicated = sum(node.is_dedicated for node in present)
    usable = (node.state in _READY and node.scheduling == "enabled" for node in present)
    return {
        "$CurrentDedicatedNodes": dedicated,
        "$CurrentLowPriorityNodes": len(present) - dedicated,
        "$PreemptedNodeCount": sum(node.state == "preempted" for node in present),
        "$UsableNodeCount": sum(usable),
    }


def _read_use(tx: Tx, nodes: list[NodeState]) -> Readings:
    since_us = tx.now_us - USE_US_MAX
    uses = [
        node.use for node in nodes if node.use is not None and since_us <= node.use_us <= tx.now_us
    ]
    if not uses:
        return {"$SampleNodeCount": 0}
    return {
        "$SampleNodeCount": len(uses),
        "$CPUPercent": _mean(one.cpu_percent for one in uses),
        "$MemoryBytes": _mean(one.memory_bytes / _MB for one in uses),
        "$DiskBytes": _mean(one.disk_bytes / _GB for one in uses),
        "$WallClockSeconds": sum(one.interval_s for one in uses),
        "$DiskReadBytes": sum(one.disk_read_bytes for one in uses),
        "$DiskWriteBytes": sum(one.disk_write_bytes for one in uses),
        "$DiskReadOps": sum(one.disk_reads for one in uses),
        "$DiskWriteOps": sum(one.disk_writes for one in uses),
        "$NetworkInBytes": sum(one.network_in_bytes for one in uses),
        "$NetworkOutBytes": sum(one.network_out_bytes for one in uses),
    }


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def _kept_us(tx: Tx) -> int:
    return int(tx.settings.scale_history_s * 1_000_000)
