"""Pools: their own two states and the states of their allocation."""

from __future__ import annotations

from lote.domain.machine import Machine, Move

# REST: BatchPoolState. A deleted pool is gone; ``deleting`` is the last state anyone can see.
POOL = Machine(
    "pool",
    initial="active",
    final={"deleting"},
    moves=(Move("delete", ("active",), "deleting"),),
)

# REST: AllocationState. A deletion resizes to zero, whatever the allocation was doing before.
ALLOCATION = Machine(
    "allocation",
    initial="steady",
    final={"steady"},
    moves=(
        Move("resize", ("steady",), "resizing"),
        Move("empty", ("steady", "resizing", "stopping"), "resizing"),  # the pool is being deleted
        Move("stop", ("resizing",), "stopping"),
        Move("settle", ("resizing", "stopping"), "steady"),  # met, timed out, failed or stopped
    ),
)


def pool_refusal(state: str, allocation_state: str, event: str) -> str:
    """The error code that refuses ``event``, a write, on a pool in these states.

    Source: REST: Resize Pool, Stop Pool Resize, Remove Nodes, Delete Pool.
    """
    if state == "deleting":
        return "PoolBeingDeleted"
    if event in NEEDS_STEADY and allocation_state != "steady":
        return "PoolBeingResized"
    return "OperationInvalidForCurrentState"


# Writes that a pool takes only while no resize is under way.
NEEDS_STEADY = frozenset({"resize", "remove_nodes", "enable_auto_scale"})
