"""The addresses at which nodes of a pool reach each other."""

from __future__ import annotations

from lote.engines.registry import ON_THIS_MACHINE

_FIRST = 64  # 127.64.0.0 and up: below it are addresses that systems use for themselves
_COUNT_BITS = 22  # to 127.127.255.255


def node_address(engine: str, node_key: int, told: str) -> str:
    """The address of a node: the one that its agent told of, if its machine has one node.

    Nodes of an engine that starts them on this machine share its addresses. Each has a loopback
    address for itself: Linux takes all of 127.0.0.0/8 for this machine, so that programs of one
    node can listen at it, and those of the others connect, with no network set up.
    """
    if engine not in ON_THIS_MACHINE:
        return told
    number = node_key % (1 << _COUNT_BITS)
    return f"127.{_FIRST + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
