"""What the nodes of each pool use, as their agents measure it, for the pool's statistics.

An agent speaks every half minute. What the nodes of a pool say is gathered, and written with the
first word after half a minute: one row a pool, however many nodes it has.
"""

from __future__ import annotations

from lote.server.memory import PoolState
from lote.server.owner import Tx
from lote.store.pool_use import PoolUse, add_pool_use
from lote.wire.frames import Samples

WRITE_US = 30_000_000  # ours: what a crash may lose of the figures


def note_pool_use(tx: Tx, pool: PoolState, samples: Samples) -> None:
    """Add what a node of the pool used over its last interval."""
    if samples.interval_s <= 0:
        return  # nothing can be the mean of no time
    if pool.use is None:
        pool.use = PoolUse(tx.now_us - int(samples.interval_s * 1_000_000), tx.now_us)
    _add(pool.use, samples, tx.now_us)
    waits_us = pool.use_write_us - tx.now_us
    if 0 < waits_us <= WRITE_US:  # one of a clock that was set back since does not count
        return
    add_pool_use(tx.db, pool.key, pool.use)
    pool.use, pool.use_write_us = None, tx.now_us + WRITE_US


def _add(use: PoolUse, samples: Samples, now_us: int) -> None:
    use.last_us = max(use.last_us, now_us)
    use.measured_s += samples.interval_s
    use.cpu_percent_s += samples.cpu_percent * samples.interval_s
    use.memory_byte_s += samples.memory_bytes * samples.interval_s
    use.memory_bytes_max = max(use.memory_bytes_max, samples.memory_bytes)
    use.disk_byte_s += samples.disk_bytes * samples.interval_s
    use.disk_bytes_max = max(use.disk_bytes_max, samples.disk_bytes)
    use.disk_reads += samples.disk_reads
    use.disk_writes += samples.disk_writes
    use.disk_read_bytes += samples.disk_read_bytes
    use.disk_write_bytes += samples.disk_write_bytes
    use.network_in_bytes += samples.network_in_bytes
    use.network_out_bytes += samples.network_out_bytes
