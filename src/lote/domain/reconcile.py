"""What an agent should have against what it has, after any reconnection."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def reconcile(
    wanted: Mapping[int, int], actual: Iterable[tuple[int, int]]
) -> tuple[list[tuple[int, int]], list[int]]:
    """Compare runs by task key.

    ``wanted``: task key → the run the record says the node has. ``actual``: (key, run) the agent
    holds. Returns the runs that are right, and the keys of tasks the agent lacks: those are to be
    run again. Whatever else the agent holds is stale and to be killed.
    """
    held = set(actual)
    confirmed = [(key, run) for key, run in wanted.items() if (key, run) in held]
    found = {key for key, _ in confirmed}
    return confirmed, [key for key in wanted if key not in found]
