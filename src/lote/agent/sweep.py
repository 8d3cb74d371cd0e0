"""Ending what an earlier life of this node's agent left running."""

from __future__ import annotations

import os
import select
from collections.abc import Iterable

from lote.agent import tree
from lote.agent.environment import ROOT_DIR

SWEEPS_MAX = 200
SWEEP_PAUSE_MS = 10


def sweep_survivors(root: str) -> int:
    """Kill all processes that began with this root in their environment, and what is below them.

    The caller holds the node directory's lock and runs nothing itself. Spared are those that this
    process descends from: an agent may itself be run by a task of another node. Gives how many
    were killed. Raises TimeoutError if some won't die.
    """
    marker = ROOT_DIR + b"=" + os.fsencode(root)
    own = tree.read_process(os.getpid())
    assert own is not None
    spared = _ancestors(own)
    killed: set[int] = set()
    pause = select.poll()
    for _ in range(SWEEPS_MAX):
        found = _marked(marker, spared)
        if not found:
            return len(killed)
        doomed = [pid for pid in tree.with_descendants(found) if pid not in spared]
        killed.update(doomed)
        spared |= tree.kill_all(doomed)
        _reap_adopted(killed)
        pause.poll(SWEEP_PAUSE_MS)
    raise TimeoutError("processes of an earlier agent of this node do not end")


def end_orphans(spared: Iterable[int] = ()) -> None:
    """Kill all that is below this process: what a spawner left when it was killed itself.

    The caller's spawners are gone, and it runs nothing else. A task's process that shed every mark
    is known by this alone. Raises TimeoutError if some won't die.
    """
    pause = select.poll()
    spared = set(spared)
    for _ in range(SWEEPS_MAX):
        orphans = set(tree.children_of(os.getpid())) - spared
        if not orphans:
            return
        spared |= tree.kill_all(tree.with_descendants(list(orphans)))
        _reap_adopted(orphans)
        pause.poll(SWEEP_PAUSE_MS)
    raise TimeoutError("what a lost spawner left does not end")


def _marked(marker: bytes, spared: set[int]) -> list[int]:
    found = []
    for pid in _process_ids():
        before = tree.read_process(pid)
        if before is None or before.state in "ZX" or pid in spared:
            continue
        if not tree.has_variable(pid, marker):
            continue
        after = tree.read_process(pid)  # the number may be another process's by now
        if after is not None and after.start_ticks == before.start_ticks:
            found.append(pid)
    return found


def _reap_adopted(killed: set[int]) -> None:
    """Those that were orphaned to this process wait for it to look at their end."""
    for pid in killed.intersection(tree.children_of(os.getpid())):
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)


def _ancestors(process: tree.Process) -> set[int]:
    spared = {process.pid}
    parent = tree.read_process(process.parent)
    while parent is not None and parent.pid > 1:
        spared.add(parent.pid)
        parent = tree.read_process(parent.parent)
    return spared


def _process_ids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
