"""Rows of what nodes of pools used, as their agents measured it. One row a pool."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lote.store.database import Connection


class PoolUse(msgspec.Struct):
    """What was measured on all nodes of a pool, summed up. ``measured_s`` are seconds of all nodes
    together, and ``…_s`` of the others are products with them; ``…_max`` is of one node."""

    first_us: int
    last_us: int
    measured_s: float = 0
    cpu_percent_s: float = 0
    memory_byte_s: float = 0
    memory_bytes_max: float = 0
    disk_byte_s: float = 0
    disk_bytes_max: float = 0
    disk_reads: float = 0
    disk_writes: float = 0
    disk_read_bytes: float = 0
    disk_write_bytes: float = 0
    network_in_bytes: float = 0
    network_out_bytes: float = 0


_NAMES = PoolUse.__struct_fields__


def _merged(name: str) -> str:
    """How a column takes up a further row."""
    if name == "first_us":
        return "first_us = min(first_us, excluded.first_us)"
    if name == "last_us" or name.endswith("_max"):
        return f"{name} = max({name}, excluded.{name})"
    return f"{name} = {name} + excluded.{name}"


_ADD = (
    f"INSERT INTO pool_use (pool_key, {', '.join(_NAMES)}) VALUES (?{', ?' * len(_NAMES)})"
    f" ON CONFLICT (pool_key) DO UPDATE SET {', '.join(map(_merged, _NAMES))}"
)


def add_pool_use(db: Connection, pool_key: int, use: PoolUse) -> None:
    """Add what was measured to what is noted of the pool."""
    db.execute(_ADD, (pool_key, *msgspec.structs.astuple(use)))


def pools_use(db: Connection, pool_keys: Sequence[int]) -> dict[int, PoolUse]:
    """What is noted of these pools, by key; those of which nothing was measured are not there."""
    wanted = ",".join(map(str, pool_keys))
    found = db.execute(
        f"SELECT pool_key, {', '.join(_NAMES)} FROM pool_use WHERE pool_key IN ({wanted})"
    )
    return {key: PoolUse(*values) for key, *values in found}


def delete_pool_use(db: Connection, pool_key: int) -> None:
    """Forget what was measured on the pool's nodes."""
    db.execute("DELETE FROM pool_use WHERE pool_key = ?", (pool_key,))
