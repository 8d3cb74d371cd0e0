"""Many small pieces of work side by side, with a count of what became of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

from lote.blobs.failure import BlobError
from lote.cli.interrupts import check_interrupted
from lote.cli.storage.failures import explain
from lote.cli.storage.transfers import Changed, Damaged, Stopped

T = TypeVar("T")
LOOK_S = 0.5  # whether a signal has come whose exception was lost
GRACE_S = 2.0  # for pieces of work that are broken off, together

# What may go wrong with one file while the others go on; anything else is a bug and ends it all.
PROBLEMS = (BlobError, OSError, Changed, Damaged, UnicodeEncodeError)


class Problem(NamedTuple):
    """Something that could not be done, and why."""

    what: str
    why: str


class Tally:
    """What was done, skipped and failed. Safe for several threads."""

    def __init__(self, on_problem: Callable[[Problem], None]) -> None:
        self.done = self.skipped = self.bytes = 0
        self.problems: list[Problem] = []
        self._on_problem = on_problem
        self._lock = threading.Lock()

    def add(self, is_done: bool, size_bytes: int = 0) -> None:
        """One more is done, or was skipped."""
        with self._lock:
            if is_done:
                self.done, self.bytes = self.done + 1, self.bytes + size_bytes
            else:
                self.skipped += 1

    def fail(self, what: str, error: BaseException | str) -> None:
        """One more has failed."""
        problem = Problem(what, error if isinstance(error, str) else explain(error))
        with self._lock:
            self.problems.append(problem)
            self._on_problem(problem)


def work_through(
    items: Iterable[T], work: Callable[[T], None], threads: int, stop: threading.Event
) -> None:
    """Do the work on each item, ``threads`` at a time; items are taken as they are needed.

    What ``items`` or ``work`` raises ends it. After Ctrl-C the pieces under way are broken off
    (``stop`` is set); those that wait for a network that is silent are left behind.
    """
    source, lock = iter(items), threading.Lock()
    running = [Runner(source, lock, work, stop) for _ in range(threads)]
    try:
        for one in running:
            one.start()
        for one in running:
            while one.is_alive():
                one.join(LOOK_S)
                check_interrupted()
    except BaseException:
        stop.set()
        for one in filter(Runner.is_alive, running):
            one.join(GRACE_S / threads)
        raise
    for one in running:
        if one.error is not None:
            raise one.error


class Runner(threading.Thread, Generic[T]):
    """Takes items and works on them until there are none, or ``stop`` is set."""

    def __init__(
        self,
        source: Iterator[T],
        lock: threading.Lock,
        work: Callable[[T], None],
        stop: threading.Event,
    ) -> None:
        super().__init__(name="storage", daemon=True)
        self.error: BaseException | None = None
        self._source = source
        self._lock = lock
        self._work = work
        self._stop_event = stop

    def run(self) -> None:
        """The thread."""
        try:
            while not self._stop_event.is_set():
                with self._lock:
                    item = next(self._source)
                self._work(item)
        except (StopIteration, Stopped):
            return
        except BaseException as error:
            self.error = error
            self._stop_event.set()
