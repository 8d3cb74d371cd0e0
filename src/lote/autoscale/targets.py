"""What an evaluation starts from and comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lote.autoscale.values import Value, shown
from lote.autoscale.variables import DEALLOCATION, DEDICATED, LOW_PRIORITY

_RESULTS_CHARS_MAX = 65_536  # ours: eight times the longest formula


class Targets(NamedTuple):
    """What a pool should have, and what becomes of tasks on nodes that leave."""

    dedicated_nodes: int = 0
    low_priority_nodes: int = 0
    node_deallocation_option: str = "requeue"


def results_text(targets: Targets, variables: Mapping[str, Value]) -> str:
    """``results`` of the protocol: the targets, then the variables, without those of no room."""
    text = (
        f"{DEDICATED}={targets.dedicated_nodes};{LOW_PRIORITY}={targets.low_priority_nodes};"
        f"{DEALLOCATION}={targets.node_deallocation_option}"
    )
    parts, room = [text], _RESULTS_CHARS_MAX - len(text)
    for name, value in variables.items():
        part = f"{name}={shown(value)}"
        room -= len(part) + 1
        if room >= 0:
            parts.append(part)
        else:
            break
    return ";".join(parts)
