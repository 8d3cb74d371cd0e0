"""The samples a formula reads, and a record of them to keep in memory."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Mapping
from typing import Protocol

from lote.autoscale.values import Series

SAMPLE_PERIOD_S = 30  # documented: each metric is sampled every 30 seconds

NO_SAMPLES = Series((), ())


class Samples(Protocol):
    """Where a formula finds what is known of its pool."""

    def series(self, name: str) -> Series:
        """The samples of a variable by its full name (``variables.METRICS``), oldest first.

        ``NO_SAMPLES`` when there are none. Times are microseconds since 1970.
        """
        ...


class SampleHistory:
    """Samples of one pool: 16 bytes each, a sample may lack some variables."""

    def __init__(self) -> None:
        self._series: dict[str, tuple[array[int], array[float]]] = {}

    def series(self, name: str) -> Series:
        """See ``Samples``. What it gives is not a copy."""
        found = self._series.get(name)
        return NO_SAMPLES if found is None else Series(*found)

    @property
    def newest_us(self) -> int | None:
        """The moment of the newest sample of any variable; None when there is none."""
        return max((times[-1] for times, _ in self._series.values() if times), default=None)

    def copy(self) -> SampleHistory:
        """One that goes its own way from here: for another thread, or for what might be."""
        made = SampleHistory()
        made._series = {name: (times[:], kept[:]) for name, (times, kept) in self._series.items()}
        return made

    def record(self, time_us: int, values: Mapping[str, float]) -> None:
        """Add a sample. ValueError: not newer than the newest of the same variable."""
        for name, value in values.items():
            times, kept = self._series.setdefault(name, (array("q"), array("d")))
            if times and time_us <= times[-1]:
                raise ValueError(f"{name}: a sample of {time_us} after one of {times[-1]}")
            times.append(time_us)
            kept.append(value)

    def forget_before(self, time_us: int) -> None:
        """Drop what is older."""
        for times, kept in self._series.values():
            count = bisect_left(times, time_us)
            del times[:count]
            del kept[:count]
