"""What a scripted agent has to report: collected, sent as one batch, kept until acknowledged."""

from __future__ import annotations

from collections.abc import Callable

from lote.engines.fake_run import FakeRun
from lote.wire.frames import Entry

# As a real agent: a batch goes at once when the node is idle, else when one of these is reached.
REPORT_WAIT_US = 20_000
REPORT_ENTRIES_MAX = 64


class FakeOutbox:
    """Entries of one batch. A beginning whose end is in the same batch is left out.

    Entries carry ages, so they are made at the moment of sending, and anew when sent again.
    """

    __slots__ = ("_begun", "_first_us", "_others", "ended")

    def __init__(self) -> None:
        self._begun: dict[tuple[int, int], FakeRun] = {}
        self._others: list[Callable[[int], Entry]] = []
        self._first_us: int | None = None
        self.ended: list[FakeRun] = []

    def __len__(self) -> int:
        return len(self._begun) + len(self.ended) + len(self._others)

    @property
    def due_us(self) -> int:
        """When the batch goes even though the node is busy and the batch small."""
        return (self._first_us or 0) + REPORT_WAIT_US

    def add_begun(self, run: FakeRun, now_us: int) -> None:
        """A run began."""
        self._mark(now_us)
        self._begun[run.name] = run

    def add_ended(self, run: FakeRun, now_us: int) -> None:
        """A run ended."""
        self._mark(now_us)
        self._begun.pop(run.name, None)
        self.ended.append(run)

    def add_other(self, entry_at: Callable[[int], Entry], now_us: int) -> None:
        """Anything else, as a function of the moment of sending."""
        self._mark(now_us)
        self._others.append(entry_at)

    def forget(self, run: FakeRun) -> None:
        """A run that nobody wants to hear of any more."""
        self._begun.pop(run.name, None)
        if run in self.ended:
            self.ended.remove(run)

    def entries(self, now_us: int) -> list[Entry]:
        """The batch as it is sent at ``now_us``."""
        entries: list[Entry] = [run.started_entry(now_us) for run in self._begun.values()]
        entries += [run.ended_entry(now_us) for run in self.ended]
        entries += [entry_at(now_us) for entry_at in self._others]
        return entries

    def followed_by(self, later: FakeOutbox) -> FakeOutbox:
        """This batch, never acknowledged, and what arose since, as one."""
        ended_since = {run.name for run in later.ended}
        self._begun = {n: r for n, r in self._begun.items() if n not in ended_since} | later._begun
        self.ended += later.ended
        self._others += later._others
        return self

    def _mark(self, now_us: int) -> None:
        if self._first_us is None:
            self._first_us = now_us
