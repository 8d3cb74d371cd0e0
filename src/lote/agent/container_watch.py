"""Notice the end of a container that no command waits for."""

from __future__ import annotations

import os
import select
import threading

from lote.agent.container_engine import RUNNING, ContainerEngine
from lote.agent.container_line import ContainerFailed

LOOK_AGAIN_S = 2.0  # at a container whose processes are not seen from here


def await_end(engine: ContainerEngine, container_id: str, over: threading.Event) -> None:
    """Return when a container has ended, whoever ended it, or soon after ``over`` is set."""
    while not over.is_set():
        try:
            state = engine.look(container_id)
        except ContainerFailed:  # somebody has removed it
            return
        if state.status != RUNNING or _await_process(state.pid):
            return
        over.wait(LOOK_AGAIN_S)


def _await_process(pid: int) -> bool:
    """Wait for the end of a process, at no cost; False if it is not seen from here, as that of a
    docker in a machine of its own."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        end = select.poll()
        end.register(descriptor, select.POLLIN)
        end.poll()
    finally:
        os.close(descriptor)
    return True
