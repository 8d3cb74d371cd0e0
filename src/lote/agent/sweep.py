"""Ending what an earlier life of this node's agent left running."""

from __future__ import annotations

import os
import select

from lote.agent import tree
from lote.agent.environment import ROOT_DIR

SWEEPS_MAX = 200
SWEEP_PAUSE_MS = 10


def sweep_survivors(root: str) -> int:
    """Kill all processes that began with this root in their environment, and what is below them.

    Only processes older than this one, and none that it descends from: an agent may itself be run
    by a task of another node. Gives how many were killed. Raises TimeoutError if some won't die.
    """
    marker = ROOT_DIR + b"=" + os.fsencode(root)
    own = tree.read_process(os.getpid())
    assert own is not None
    spared = _ancestors(own)
    killed: set[int] = set()
    pause = select.poll()
    for _ in range(SWEEPS_MAX):
        found = [
            process.pid
            for process in map(tree.read_process, _process_ids())
            if process is not None
            and process.state not in "ZX"
            and process.pid not in spared
            and process.start_ticks <= own.start_ticks
            and tree.has_variable(process.pid, marker)
        ]
        if not found:
            return len(killed)
        found = [pid for pid in tree.with_descendants(found) if pid not in spared]
        killed.update(found)
        tree.kill_all(found)
        pause.poll(SWEEP_PAUSE_MS)
    raise TimeoutError("processes of an earlier agent of this node do not end")


def _ancestors(process: tree.Process) -> set[int]:
    spared = {process.pid}
    parent = tree.read_process(process.parent)
    while parent is not None and parent.pid > 1:
        spared.add(parent.pid)
        parent = tree.read_process(parent.parent)
    return spared


def _process_ids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]
