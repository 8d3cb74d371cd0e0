"""Values of the language: their types, their texts, and how one becomes a number.

Doubles are ``float``, doubleVecs lists of them (never changed once made), strings ``str``.
Comparisons give 1 and 0; there is no other truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from lote.autoscale.errors import Fault

TICKS_PER_US = 10  # TimeInterval_100ns is the smallest of the language's constants
TICKS_PER_S = 10_000_000
_TICKS_MAX = 2**63 - 1  # .NET: TimeSpan.MaxValue
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_TICK = -621_355_968_000_000_000  # 0001-01-01T00:00:00Z, counted from 1970
_LAST_TICK = 2_534_023_007_999_999_999  # 9999-12-31T23:59:59.9999999Z
_ELEMENTS_SHOWN_MAX = 1000  # ours: of a vector in the results

Vector = list[float]


@dataclass(frozen=True, slots=True, order=True)
class Interval:
    """A length of time, in steps of 100 ns."""

    ticks: int


@dataclass(frozen=True, slots=True, order=True)
class Timestamp:
    """A moment: steps of 100 ns since 1970 UTC."""

    ticks: int

    @property
    def moment(self) -> datetime:
        """As the calendar has it, to the microsecond."""
        return _EPOCH + timedelta(microseconds=self.ticks // TICKS_PER_US)


@dataclass(frozen=True, slots=True)
class Option:
    """A word for ``$NodeDeallocationOption``."""

    word: str


class Series(NamedTuple):
    """The samples of one variable, oldest first; times are microseconds since 1970."""

    times_us: Sequence[int]
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A read-only variable of the service, under the name by which the formula calls it."""

    name: str
    series: Series

    @property
    def latest(self) -> float:
        """The newest sample; 0 when there is none, so that formulas work on a new pool."""
        return float(self.series.values[-1]) if len(self.series.values) else 0.0


Value = float | Vector | str | Timestamp | Interval | Option | Metric

TYPE_NAMES: dict[type, str] = {
    float: "double",
    list: "doubleVec",
    str: "string",
    Timestamp: "timestamp",
    Interval: "timeinterval",
    Option: "deallocation option",
    Metric: "double",
}


def interval(ticks: float) -> Interval:
    """An interval of so many steps of 100 ns. Fault: one that .NET could not hold."""
    if not math.isfinite(ticks) or abs(ticks) > _TICKS_MAX:
        raise Fault("The timeinterval is out of range.")
    return Interval(round(ticks))


def timestamp(ticks: int) -> Timestamp:
    """A moment. Fault: one outside the years 1 to 9999."""
    if not _FIRST_TICK <= ticks <= _LAST_TICK:
        raise Fault("The timestamp is out of range.")
    return Timestamp(ticks)


def timestamp_of(moment: datetime) -> Timestamp:
    """A moment of the calendar."""
    return timestamp((moment - _EPOCH) // timedelta(microseconds=1) * TICKS_PER_US)


def plain(value: Value) -> Value:
    """A variable of the service becomes its newest sample; anything else stays."""
    return value.latest if isinstance(value, Metric) else value


def single(value: Value) -> Value:
    """A vector of one element becomes that element; anything else stays."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def number(value: Value) -> float:
    """The double that this is. Fault: it is none."""
    value = single(plain(value))
    if isinstance(value, float):
        return value
    shown = TYPE_NAMES[type(value)]
    if isinstance(value, list):
        shown += f" of {len(value)} elements"
    raise Fault(f"A double is needed here, not a {shown}.")


def shown(value: Value) -> str:
    """The text of a value in the results."""
    value = plain(value)
    match value:
        case float():
            return _shown_double(value)
        case list():
            return _shown_vector(value)
        case Timestamp():
            return value.moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case Interval():
            return _shown_interval(value)
        case Option():
            return value.word
    return str(value)


def _shown_double(value: float) -> str:
    """The shortest digits that mean it, in the spelling of .NET."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value).upper()


def _shown_vector(values: Vector) -> str:
    texts = [_shown_double(value) for value in values[:_ELEMENTS_SHOWN_MAX]]
    if len(values) > _ELEMENTS_SHOWN_MAX:
        texts.append("…")
    return f"[{','.join(texts)}]"


def _shown_interval(value: Interval) -> str:
    seconds, fraction = divmod(abs(value.ticks), TICKS_PER_S)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    day, hour = divmod(hours, 24)
    text = f"{day}." if day else ""
    text += f"{hour:02}:{minute:02}:{second:02}"
    text += f".{fraction:07}" if fraction else ""
    return "-" + text if value.ticks < 0 else text
