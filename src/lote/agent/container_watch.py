"""Notice the end of a container that no command waits for."""

from __future__ import annotations

import os
import select
import threading

from lote.agent.container_engine import RUNNING, ContainerEngine
from lote.agent.container_line import ContainerFailed, ContainerGone

LOOK_AGAIN_S = 2.0  # at a container whose processes are not seen from here
LOOK_LATEST_S = 60.0  # even if its process is seen: that may be another one of the same number
LOOKS_FAILED_MAX = 5  # one after another: a busy runtime misses one now and then


def await_end(engine: ContainerEngine, container_id: str, over: threading.Event) -> None:
    """Return when a container has ended, whoever ended it, when nobody can say so any more, or
    within LOOK_LATEST_S after ``over`` is set."""
    failed = 0
    while not over.is_set():
        try:
            state = engine.look(container_id)
        except ContainerGone:
            return
        except ContainerFailed:
            failed += 1
            if failed == LOOKS_FAILED_MAX:
                return
            over.wait(LOOK_AGAIN_S)
            continue
        failed = 0
        if state.status != RUNNING:
            return
        if not await_process(state.pid, LOOK_LATEST_S):
            over.wait(LOOK_AGAIN_S)


def await_process(pid: int, within_s: float) -> bool:
    """Wait for the end of a process, at no cost; False if there is nothing to wait for: it has
    ended, or is not seen from here, as that of a docker in a machine of its own."""
    try:
        descriptor = os.pidfd_open(pid)
    except (OSError, ValueError):
        return False
    try:
        end = select.poll()
        end.register(descriptor, select.POLLIN)
        if end.poll(0):
            return False
        end.poll(within_s * 1000)
    finally:
        os.close(descriptor)
    return True
