"""Processes that outlive their node's agent: how they are known, so that they can be ended.

An agent that is killed takes its spawners along, and they kill their tasks; this is the net below
them. A node's tasks may be placed anew only when nothing of it runs any more.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

import msgspec

from lote.engines.agent_record import AgentRecord
from lote.engines.process import ProcessStat, list_stats, read_command, read_environment

NODE_ID_VARIABLE = b"AZ_BATCH_NODE_ID"
NODE_ROOT_VARIABLE = b"AZ_BATCH_NODE_ROOT_DIR"


class Remains(msgspec.Struct, frozen=True):
    """What is known of a node whose agent has ended."""

    node_id: str
    node_dir: str
    record: AgentRecord


class Survivors(msgspec.Struct):
    """What still runs of one node: spawners, and the tasks with all that they started."""

    spawners: list[ProcessStat] = []
    tasks: list[ProcessStat] = []


def find_survivors(ended: Sequence[Remains]) -> dict[str, Survivors]:
    """What still runs of each of these nodes, by node id, found in one pass over /proc.

    A *task* carries its node's id in the environment it was started with, and the folder of this
    very node if it names one (another service on the machine may use the same ids). A *spawner*
    lives in the agent's session with the agent's command line. What descends from either belongs
    to the node too, whatever its environment. All of them began after the agent.
    """
    oldest_ticks = min((r.record.start_ticks for r in ended), default=0)
    # A thread group older than every agent concerned need not be looked at closely.
    stats = [s for s in list_stats() if s.start_ticks >= oldest_ticks and s.pid != os.getpid()]
    by_id = {r.node_id.encode(): r for r in ended}
    by_session = {r.record.pid: r for r in ended if r.record.pid}
    found = {r.node_id: Survivors() for r in ended}
    owner: dict[int, str] = {}
    for stat in stats:
        spawned = by_session.get(stat.session)
        if spawned is not None and _is_spawner(stat, spawned):
            owner[stat.pid] = spawned.node_id
            found[spawned.node_id].spawners.append(stat)
            continue
        marked = _marked(stat, by_id)
        if marked is not None:
            owner[stat.pid] = marked.node_id
            found[marked.node_id].tasks.append(stat)
    for stat in _descendants(stats, owner):
        found[owner[stat.pid]].tasks.append(stat)
    return found


def _is_spawner(stat: ProcessStat, remains: Remains) -> bool:
    record = remains.record
    if stat.start_ticks < record.start_ticks or stat.pid == record.pid:
        return False
    return read_command(stat.pid) == list(record.command)


def _marked(stat: ProcessStat, by_id: dict[bytes, Remains]) -> Remains | None:
    environment = read_environment(stat.pid)
    remains = by_id.get((environment or {}).get(NODE_ID_VARIABLE, b""))
    if environment is None or remains is None:
        return None
    root = environment.get(NODE_ROOT_VARIABLE)
    if root is not None and not os.fsdecode(root).startswith(remains.node_dir + os.sep):
        return None
    return remains if stat.start_ticks >= remains.record.start_ticks else None


def _descendants(stats: Collection[ProcessStat], owner: dict[int, str]) -> list[ProcessStat]:
    """Children of owned processes, and theirs; ``owner`` is extended with them."""
    children: dict[int, list[ProcessStat]] = {}
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat)
    found = []
    frontier = list(owner)
    while frontier:
        parent = frontier.pop()
        for child in children.get(parent, ()):
            if child.pid not in owner:
                owner[child.pid] = owner[parent]
                found.append(child)
                frontier.append(child.pid)
    return found
