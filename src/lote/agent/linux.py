"""The few kernel calls that the standard library does not offer."""

from __future__ import annotations

import ctypes
import os

PR_SET_PDEATHSIG = 1  # linux/prctl.h, as are the others
PR_SET_DUMPABLE = 4
PR_SET_CHILD_SUBREAPER = 36
SFD_CLOEXEC = 0o2000000  # bits/signalfd.h
SFD_NONBLOCK = 0o4000

_LIBC = ctypes.CDLL(None, use_errno=True)


def _checked(result: int, call: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
    return result


def _prctl(option: int, value: int) -> None:
    _checked(_LIBC.prctl(option, ctypes.c_ulong(value), 0, 0, 0), "prctl")


def hide_memory() -> None:
    """No core dump, no tracer, no reading of /proc/self by the users tasks run as."""
    _prctl(PR_SET_DUMPABLE, 0)


def adopt_orphans() -> None:
    """Descendants whose parent died become children of this process instead of init's."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(signal_number: int) -> None:
    """Ask for a signal at the end of the thread that forked this process."""
    _prctl(PR_SET_PDEATHSIG, signal_number)


def open_signalfd(signals: tuple[int, ...]) -> int:
    """A non-blocking descriptor that becomes readable when one of these (blocked) signals came."""
    mask = (ctypes.c_ulong * 16)()  # sigset_t is 1024 bits
    for number in signals:
        mask[(number - 1) // 64] |= 1 << ((number - 1) % 64)
    return _checked(_LIBC.signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd")
