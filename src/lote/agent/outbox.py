"""What the agent has to report: gathered into batches, sent one at a time until acknowledged.

A batch goes at once when the node is idle or something is urgent, else after 20 ms or 64 entries
(design: reports). Stamps are seconds on the monotonic clock and become ages when a batch is sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from lote.agent.ending import Ending
from lote.wire.frames import (
    Confirm,
    ContainersReady,
    Coordinated,
    Entry,
    NodeTrouble,
    Report,
    RetentionOver,
    Returned,
    Started,
)

REPORT_DELAY_S = 0.020
REPORT_ENTRIES = 64
REPORT_ENTRIES_MAX = 1024  # in one batch, after a long silence

Run = tuple[int, int]
Start = tuple[float, int, float | None]  # when, retries so far, when the last of them


class Dated(Protocol):
    """Something to report that has ages, which are known when it is sent."""

    def entry(self, now_s: float) -> Entry:
        """The frame to send now."""
        ...


_UNDATED = (Confirm, Coordinated, Returned, NodeTrouble, RetentionOver, ContainersReady)
Urgent = Confirm | Coordinated | Returned | NodeTrouble | RetentionOver | ContainersReady | Dated


class Batch:
    """Entries on their way, kept until the server has them."""

    __slots__ = ("endings", "others", "sent_s", "seq", "starts")

    def __init__(
        self,
        seq: int,
        sent_s: float,
        starts: dict[Run, Start],
        endings: list[Ending],
        others: list[Urgent],
    ) -> None:
        self.seq = seq
        self.sent_s = sent_s
        self.starts = starts
        self.endings = endings
        self.others = others

    def confirms(self) -> list[Run]:
        """The runs whose outputs this batch asked about."""
        return [(one.key, one.run) for one in self.others if isinstance(one, Confirm)]


class Outbox:
    """Entries waiting, and the one batch that is not acknowledged.

    ``clock`` gives monotonic seconds. The owner asks ``delay_s`` when to call ``next_report``.
    ``sending_clock`` dates batches, for those who count from there.
    """

    def __init__(
        self, clock: Callable[[], float], sending_clock: Callable[[], float] | None = None
    ) -> None:
        self._clock = clock
        self._sending_clock = sending_clock or clock
        self._seq = 0
        self._starts: dict[Run, Start] = {}
        self._endings: list[Ending] = []
        self._others: list[Urgent] = []
        self._is_urgent = False
        self._sent: Batch | None = None

    def add_start(
        self, run: Run, start_s: float, retries: int = 0, last_retry_s: float | None = None
    ) -> None:
        """Work on a run began, or began again."""
        self._starts[run] = (start_s, retries, last_retry_s)

    def add_ending(self, ending: Ending) -> None:
        """A run is over: an unsent start of it need not be told."""
        if self._starts:
            self._starts.pop((ending.key, ending.run), None)
        self._endings.append(ending)

    def add_urgent(self, entry: Urgent) -> None:
        """Anything else: somebody waits for it."""
        self._others.append(entry)
        self._is_urgent = True

    def forget(self, run: Run) -> None:
        """The server does not want to hear of this run any more."""
        self._starts.pop(run, None)
        self._endings = [one for one in self._endings if (one.key, one.run) != run]
        self._others = [
            one
            for one in self._others
            if not (isinstance(one, (Confirm, Coordinated)) and (one.key, one.run) == run)
        ]

    def delay_s(self, *, is_idle: bool) -> float | None:
        """How long to wait before the next batch; None when there is nothing to send now."""
        if self._sent is not None:
            return None
        waiting = len(self._starts) + len(self._endings) + len(self._others)
        if not waiting:
            return None
        if is_idle or self._is_urgent or waiting >= REPORT_ENTRIES:
            return 0.0
        return REPORT_DELAY_S

    def next_report(self) -> Report | None:
        """The batch to send now, which then is the unacknowledged one; None if there is none."""
        if self._sent is not None or self.delay_s(is_idle=True) is None:
            return None
        self._seq += 1
        endings, self._endings = (
            self._endings[:REPORT_ENTRIES_MAX],
            self._endings[REPORT_ENTRIES_MAX:],
        )
        sent_s = self._sending_clock()
        self._sent = Batch(self._seq, sent_s, self._starts, endings, self._others)
        self._starts, self._others = {}, []
        self._is_urgent = False
        return self._frame(self._sent)

    def acknowledge(self, seq: int) -> Batch | None:
        """The server has this batch; gives it, or None if no such batch is on its way."""
        if self._sent is None or self._sent.seq != seq:
            return None
        batch, self._sent = self._sent, None
        return batch

    def take_back(self) -> None:
        """The channel broke: what was not acknowledged is to be sent again."""
        batch, self._sent = self._sent, None
        if batch is None:
            return
        over = {(one.key, one.run) for one in self._endings}
        self._starts = {
            **{run: stamp for run, stamp in batch.starts.items() if run not in over},
            **self._starts,
        }
        self._endings = batch.endings + self._endings
        self._others = batch.others + self._others

    def unacknowledged(self) -> list[Ending]:
        """Endings that the server is not known to have."""
        sent = self._sent.endings if self._sent is not None else []
        return sent + self._endings

    def _frame(self, batch: Batch) -> Report:
        now_s = self._clock()
        entries: list[Entry] = [
            Started(
                key,
                run,
                _age_us(now_s, start_s),
                retries,
                None if last_retry_s is None else _age_us(now_s, last_retry_s),
            )
            for (key, run), (start_s, retries, last_retry_s) in batch.starts.items()
        ]
        entries.extend([ending.entry(now_s) for ending in batch.endings])
        entries.extend(
            [one if isinstance(one, _UNDATED) else one.entry(now_s) for one in batch.others]
        )
        return Report(batch.seq, entries)


def _age_us(now_s: float, stamp_s: float) -> int:
    return max(0, int((now_s - stamp_s) * 1e6))
