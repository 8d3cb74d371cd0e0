"""Processes as /proc shows them: who they are, when they began, and a handle that outlives reuse.

A pid alone names nothing for long. Here a process is its pid with its start time (in clock ticks
since boot, /proc/<pid>/stat field 22), and is signalled through a pidfd.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec

PROC = Path("/proc")
_LIBC = ctypes.CDLL(None)
DEAD_STATES = "ZX"  # proc(5): zombie and dead


class ProcessStat(msgspec.Struct, frozen=True, gc=False):
    """A line of /proc/<pid>/stat, as far as it is needed."""

    pid: int
    parent: int
    session: int
    start_ticks: int
    dead: bool


def read_stat(pid: int) -> ProcessStat | None:
    """What the kernel says of ``pid`` now; None when there is no such process."""
    try:
        text = (PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The name stands in parentheses and may itself hold blanks and parentheses.
    fields = text[text.rindex(b")") + 2 :].split()
    return ProcessStat(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
        dead=fields[0].decode() in DEAD_STATES,
    )


def list_stats() -> Iterator[ProcessStat]:
    """All processes of the machine that are not dead, each as of the moment it is read."""
    for name in os.listdir(PROC):
        if name.isdecimal():
            stat = read_stat(int(name))
            if stat is not None and not stat.dead:
                yield stat


def read_command(pid: int) -> list[str] | None:
    """The command line of a process; None when it is gone or not ours to read."""
    content = _read(pid, "cmdline")
    return None if content is None else [os.fsdecode(w) for w in content.split(b"\0")[:-1]]


def read_environment(pid: int) -> dict[bytes, bytes] | None:
    """The environment a process was started with; None when it is gone or not ours to read."""
    content = _read(pid, "environ")
    if content is None:
        return None
    return dict(pair.split(b"=", 1) for pair in content.split(b"\0") if b"=" in pair)


def boot_id() -> str:
    """Names this boot of the machine: start ticks of another boot mean nothing."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def open_process(pid: int, start_ticks: int) -> int | None:
    """A pidfd of exactly this process, or None when it is gone. The caller closes it."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    # Only now is the pid held; what it meant before this line may have been somebody else.
    stat = read_stat(pid)
    if stat is None or stat.start_ticks != start_ticks:
        os.close(descriptor)
        return None
    return descriptor


def kill_process(stat: ProcessStat) -> None:
    """SIGKILL for exactly this process; nothing when it is gone or not ours to signal."""
    descriptor = open_process(stat.pid, stat.start_ticks)
    if descriptor is None:
        return
    try:
        signal_process(descriptor, signal.SIGKILL)
    finally:
        os.close(descriptor)


def signal_process(descriptor: int, number: signal.Signals) -> bool:
    """Send a signal through a pidfd; False when the process is gone or another user's."""
    try:
        signal.pidfd_send_signal(descriptor, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def reap_process(descriptor: int) -> int | None:
    """Exit status of an ended process, minus the signal's number if one killed it.

    None when it is no child of ours: then somebody else reaps it and nobody tells us.
    """
    try:
        ended = os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if ended is None:
        return None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _read(pid: int, name: str) -> bytes | None:
    path = PROC / str(pid) / name
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    except PermissionError:
        return _read_as_owner(path) if os.geteuid() == 0 else None


def _read_as_owner(path: Path) -> bytes | None:
    """Read a /proc file of another user's process as that user, on this thread alone.

    Root in a container usually lacks CAP_SYS_PTRACE, and /proc asks for it or for the same ids.
    """
    try:
        owner = path.parent.stat()
        _LIBC.setfsgid(owner.st_gid)
        _LIBC.setfsuid(owner.st_uid)
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    finally:
        _LIBC.setfsuid(os.geteuid())
        _LIBC.setfsgid(os.getegid())
