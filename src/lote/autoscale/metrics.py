"""What can be asked of a read-only variable: its methods, a row each.

Source: the provider's guide to autoscale formulas. Windows are given by moments or by intervals
back from now, in either order. A sample belongs to a window that begins at its moment, not to one
that ends there; but a window that reaches up to now takes in a sample of this very moment (ours).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lote.autoscale.context import Context
from lote.autoscale.errors import INSUFFICIENT, Fault
from lote.autoscale.samples import SAMPLE_PERIOD_S
from lote.autoscale.values import (
    TICKS_PER_S,
    TICKS_PER_US,
    Interval,
    Metric,
    Timestamp,
    Value,
    Vector,
    number,
    timestamp,
)

_PERIOD_TICKS = SAMPLE_PERIOD_S * TICKS_PER_S

Body = Callable[[Context, Metric, Sequence[Value]], Value]


class Method(NamedTuple):
    """A row; ``least`` and ``most`` are numbers of arguments."""

    name: str
    arguments: str
    least: int
    most: int
    gives: str
    meaning: str
    body: Body


class _Window(NamedTuple):
    """The samples from ``first`` up to, not including, ``end``; ``percent`` of what could be."""

    first: int
    end: int
    percent: float


def _moment(context: Context, value: Value) -> int:
    """A moment in ticks, of a timestamp or of an interval back from now."""
    if isinstance(value, Timestamp):
        return value.ticks
    if isinstance(value, Interval):
        return timestamp(context.now_ticks - value.ticks).ticks
    raise Fault("A window is given by timestamps or timeintervals.")


def _window(context: Context, metric: Metric, bounds: Sequence[Value]) -> _Window:
    moments = [_moment(context, value) for value in bounds]
    begins, ends = min(moments), max(moments)
    if len(moments) == 1:
        begins, ends = min(begins, context.now_ticks), max(ends, context.now_ticks)
    times = metric.series.times_us
    first = bisect_left(times, -(-begins // TICKS_PER_US))
    last_us = context.now_us + 1 if ends >= context.now_ticks else -(-ends // TICKS_PER_US)
    end = max(bisect_left(times, last_us), first)
    possible = max((ends - begins + _PERIOD_TICKS // 2) // _PERIOD_TICKS, 1)
    return _Window(first, end, min((end - first) / possible * 100, 100.0))


def _taken(context: Context, metric: Metric, first: int, end: int) -> Vector:
    """Newest first."""
    context.spend(end - first)
    return list(map(float, reversed(metric.series.values[first:end])))


def _get_sample(context: Context, metric: Metric, values: Sequence[Value]) -> Vector:
    if not isinstance(values[0], Timestamp | Interval):
        return _get_newest(context, metric, values)
    has_end = len(values) > 1 and isinstance(values[1], Timestamp | Interval)
    bounds = values[: 1 + has_end]
    rest = values[len(bounds) :]
    if len(rest) > 1:
        raise Fault("GetSample takes one percentage, after the window.")
    window = _window(context, metric, bounds)
    if rest:
        wanted = number(rest[0])
        if window.percent < wanted:
            shown = f"wanted {_shown(wanted)}%, received {_shown(window.percent)}%"
            reason = f"Insufficient data from data set: {metric.name} {shown}"
            raise Fault(reason, INSUFFICIENT)
    return _taken(context, metric, window.first, window.end)


def _get_newest(context: Context, metric: Metric, values: Sequence[Value]) -> Vector:
    count = number(values[0])
    if len(values) > 1:
        raise Fault("GetSample takes a number of samples alone.")
    if not count >= 0:
        raise Fault("The number of samples is not 0 or more.")
    end = bisect_left(metric.series.times_us, context.now_us + 1)
    return _taken(context, metric, end - int(min(count, end)), end)


def _shown(percent: float) -> str:
    return f"{percent:.2f}".rstrip("0").rstrip(".")


def _begin(context: Context, metric: Metric, values: Sequence[Value]) -> Timestamp:
    times = metric.series.times_us
    return Timestamp((times[0] if len(times) else context.now_us) * TICKS_PER_US)


_ROWS = (
    Method("GetSample", "count, or start [, end] [, percent]", 1, 3, "doubleVec",
           "the newest samples, or those of a window, newest first; with `percent`, the evaluation "
           "fails when fewer of the possible samples are there", _get_sample),
    Method("GetSamplePercent", "start [, end]", 1, 2, "double",
           "how many of the possible samples of a window are there, 0 to 100",
           lambda context, metric, values: _window(context, metric, values).percent),
    Method("GetSamplePeriod", "", 0, 0, "timeinterval", "the time between samples",
           lambda context, metric, values: Interval(_PERIOD_TICKS)),
    Method("Count", "", 0, 0, "double", "how many samples there are in all",
           lambda context, metric, values: float(len(metric.series.values))),
    Method("HistoryBeginTime", "", 0, 0, "timestamp",
           "the moment of the oldest sample; now, when there is none", _begin),
)  # fmt: skip

METHODS = {row.name: row for row in _ROWS}
