"""Processes of a task, as /proc shows them: who belongs to it, and how to end them all."""

from __future__ import annotations

import os
import signal
from typing import NamedTuple

from lote.agent.environment import TASK_DIR


class Process(NamedTuple):
    """One process: its state letter, parent, session, and start in clock ticks since boot."""

    pid: int
    state: str
    parent: int
    session: int
    start_ticks: int


def read_process(pid: int) -> Process | None:
    """What /proc/<pid>/stat says; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as source:
            text = source.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text[text.rindex(b")") + 2 :].split()  # the name before it may hold anything
    return Process(pid, fields[0].decode(), int(fields[1]), int(fields[3]), int(fields[19]))


def has_variable(pid: int, variable: bytes) -> bool:
    """Whether a process began with ``NAME=value`` in its environment."""
    return variable in read_environment(pid)


def read_environment(pid: int) -> frozenset[bytes]:
    """The environment a process began with; empty when it can't be read."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as source:
            return frozenset(source.read().split(b"\0"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return frozenset()


def children_of(pid: int) -> list[int]:
    """The children of all threads of a process."""
    found: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except (FileNotFoundError, ProcessLookupError):
        return found
    for thread in threads:
        try:
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as source:
                found.extend(map(int, source.read().split()))
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread ended meanwhile
    return found


def own_children() -> list[int]:
    """The children of this (single-threaded) process, adopted ones included."""
    with open("/proc/thread-self/children", "rb") as source:
        return [int(pid) for pid in source.read().split()]


def with_descendants(pids: list[int]) -> list[int]:
    """These processes and all below them."""
    found = list(pids)
    for pid in found:  # grows while it is walked
        found.extend(children_of(pid))
    return found


def kill_all(pids: list[int]) -> set[int]:
    """SIGKILL to each; stopped first, so that none forks away while the rest is killed.

    Gives those that this process may not kill: set-uid programs of tasks of an agent that isn't
    root. Nothing can be done about them but to leave them alone.
    """
    immune = {pid for pid in pids if not send_signal(pid, signal.SIGSTOP)}
    for pid in pids:
        send_signal(pid, signal.SIGKILL)
    return immune


def send_signal(pid: int, number: int) -> bool:
    """Send a signal to a process that may have ended already; False if that is not allowed."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def task_marker(directory: bytes) -> bytes:
    """What tells a task's processes when nothing else does: a variable they inherit."""
    return TASK_DIR + b"=" + directory
