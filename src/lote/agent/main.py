"""An agent's life: take the node's directory, sweep it, talk, and leave nothing behind."""

from __future__ import annotations

import asyncio
import fcntl
import gc
import os
import select
import shutil
import sys

from lote.agent import linux, talker
from lote.agent.fork import Forked
from lote.agent.layout import Layout
from lote.agent.log import Log
from lote.agent.settings import AgentSettings
from lote.agent.sweep import end_orphans, sweep_survivors
from lote.world import World

EXIT_OK = 0
EXIT_TAKEN = 3  # another agent has the node's directory
AGAIN_PAUSE_MS = 200
COLLECTOR_THRESHOLDS = (10_000, 20, 20)  # as in the servers
EXIT_AGAIN = -1  # not an exit code: the agent is to be begun anew, in place


def run_agent(settings: AgentSettings, forked: Forked, world: World) -> int:
    """Run one agent until it is told to leave; gives its exit code, or EXIT_AGAIN.

    ``forked``: spawners made before anything large was loaded.
    Refuses: a second agent in the same node directory (EXIT_TAKEN, with a word on stderr).
    """
    linux.hide_memory()
    linux.adopt_orphans()
    layout = Layout(settings.node_dir)
    base = settings.task_uid_base if os.geteuid() == 0 else None
    layout.make(None if base is None else (base, base))
    lock = _take_lock(layout)
    if lock is None:
        print(f"another agent is at work in {layout.node_dir}", file=sys.stderr)
        return EXIT_TAKEN
    log = Log(layout.log, world.now_us)
    killed = sweep_survivors(layout.root)
    log.event("agent_started", node=settings.node_id, pid=os.getpid(), swept=killed)
    agent = talker.Talker(settings, world, layout, forked, log)
    gc.freeze()  # what is there by now is there to stay
    gc.set_threshold(*COLLECTOR_THRESHOLDS)
    reason = asyncio.run(agent.talk())
    for pid in talker.wait_for_spawners(forked.pids):
        log.event("spawner_killed", pid=pid)
    crew = agent.crew_pid
    spared = set() if crew is None or talker.wait_for_crew(crew) else {crew}
    log.flush()
    end_orphans(spared)
    if reason in (talker.LOST_SPAWNER, talker.BROKEN):
        select.poll().poll(AGAIN_PAUSE_MS)
        sweep_survivors(layout.root)
        return EXIT_AGAIN
    if reason == talker.LEFT:
        shutil.rmtree(layout.node_dir, ignore_errors=True)
    os.close(lock)
    return EXIT_OK


def _take_lock(layout: Layout) -> int | None:
    """The lock of the node directory, held until the process ends; None when it is taken."""
    descriptor = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
