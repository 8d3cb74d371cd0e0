"""Gangs: the instances of multi-instance tasks on their nodes, and what their agents are told.

The instances of a task are begun together and end together. The primary is the task's own run:
what becomes of it is written into the task's row, as of any run. The others are subtasks, with
rows of their own. How a gang ends is in ``runs`` and ``ends``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from lote.server.memory import KEEP, Gang, Placed
from lote.server.owner import Tx
from lote.server.special_runs import tell_job
from lote.store import instances as rows
from lote.wire.frames import Instance, Proceed, Run

_members = msgspec.json.Decoder(dict[str, Any]).decode

ENDED_WITH_TASK = (
    '{"category":"usererror","code":"TaskEnded",'
    '"message":"The subtask was ended with its multi-instance task."}'
)


def instances_of(spec: bytes) -> int:
    """How many instances a multi-instance task has."""
    settings = _members(spec)["multiInstanceSettings"]
    return int(settings.get("numberOfInstances") or 1)


def make_gang(
    tx: Tx, task_key: int, job_key: int, node_keys: Iterable[int], run: int, flags: int
) -> Gang:
    """A gang in these nodes' hands, the primary's first."""
    gang = Gang()
    for number, node_key in enumerate(node_keys):
        placed = Placed(task_key, job_key, node_key, run, 1, flags, False, gang=gang, number=number)
        gang.members.append(placed)
        take_in_hand(tx, placed)
    tx.memory.placed[task_key] = gang.members[0]
    return gang


def take_in_hand(tx: Tx, placed: Placed) -> None:
    """An instance is in its node's hands."""
    memory = tx.memory
    gang = placed.gang
    if gang is not None:
        gang.in_hand.add(placed.number)
    memory.nodes[placed.node_key].placed[placed.key] = placed
    memory.jobs[placed.job_key].placed += 1
    memory.dirty_nodes.add(placed.node_key)


def send_instance(tx: Tx, placed: Placed, retries: int, spec: bytes, token: str) -> None:
    """Have an instance begun on its node."""
    memory = tx.memory
    gang, node = placed.gang, memory.nodes[placed.node_key]
    job = memory.jobs[placed.job_key]
    if gang is None:
        raise RuntimeError(f"task {placed.key} has no gang")
    if job.key not in node.told_jobs:
        tell_job(tx, node, job)
    nodes = [memory.nodes[one.node_key] for one in gang.members]
    hosts = [(one.address, memory.pools[one.pool_key].cores) for one in nodes]
    run = Run(placed.key, placed.run, placed.job_key, retries, spec, token)
    tx.send(node.key, Instance(run, placed.number, hosts))


def note_coordinated(tx: Tx, placed: Placed) -> None:
    """An instance is coordinated; when all are, the primary goes on."""
    gang = placed.gang
    if gang is None or gang.doom != KEEP:
        return
    gang.coordinated.add(placed.number)
    rows.coordinate_instance(tx.db, placed.key, placed.number, placed.run)
    proceed(tx, gang)


def proceed(tx: Tx, gang: Gang) -> None:
    """Have the primary begin its command line if all are coordinated; it may hear it twice."""
    primary = gang.members[0]
    if len(gang.coordinated) == len(gang.members) and gang.doom == KEEP:
        tx.send(primary.node_key, Proceed([(primary.key, primary.run)]))


def in_hand(gang: Gang) -> list[Placed]:
    """The instances that are still in nodes' hands."""
    return [gang.members[number] for number in sorted(gang.in_hand)]


def note_subtask_start(tx: Tx, placed: Placed, start_us: int) -> None:
    """Work on a subtask began."""
    rows.start_instance(tx.db, tx.now_us, start_us, placed.key, placed.number, placed.run)


def note_instance_end(
    tx: Tx,
    placed: Placed,
    start_us: int | None,
    end_us: int,
    exit_code: int | None,
    failure: str | None,
) -> None:
    """An instance is over, and its agent says how."""
    row = (tx.now_us, start_us, end_us, exit_code, failure, placed.key, placed.number, placed.run)
    rows.end_instances(tx.db, [row])


def close_subtasks(tx: Tx, gang: Gang, *, is_success: bool) -> None:
    """The task is over, or runs anew: so are those of its subtasks that are not.

    ``is_success``: the primary has ended; a subtask that was coordinated has done its part.
    """
    ends: list[tuple[int | str | None, ...]] = []
    for one in gang.members:
        has_served = is_success and one.number in gang.coordinated
        result = (0, None) if has_served else (None, ENDED_WITH_TASK)
        ends.append((tx.now_us, None, tx.now_us, *result, one.key, one.number, one.run))
    rows.end_instances(tx.db, ends)
