"""Ctrl-C, SIGTERM and a closed terminal, looked for instead of striking anywhere.

An exception out of the blue leaves a half-read HTTP answer behind, and may be lost altogether when
it strikes inside a destructor. So the signals are held back and taken at the pauses.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(Exception):
    """The user, or the system, wants us to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class Interrupts:
    """Holds the signals back within the block. One that nobody took strikes at its end."""

    def __enter__(self) -> Interrupts:
        self._before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._before)

    def pause(self, seconds: float) -> None:
        """Wait; raises ``Interrupted`` as soon as one of the signals comes or has come."""
        came = signal.sigtimedwait(SIGNALS, seconds)
        if came is not None:
            raise Interrupted(came.si_signo)


_came = threading.Event()


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal end the block as Ctrl-C does: by ``KeyboardInterrupt``."""
    _came.clear()
    before = {one: signal.signal(one, _interrupt) for one in SIGNALS}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def check_interrupted() -> None:
    """Raises ``KeyboardInterrupt`` when a signal has come, also if its own one was lost."""
    if _came.is_set():
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _came.set()
    raise KeyboardInterrupt
