"""The functions of the language, a row each.

Source: the provider's guide to autoscale formulas. Lists of arguments mix doubles and vectors and
become one vector. What the guide leaves open is ours: the functions of an empty list give 0, the
deviation is that of a sample, percentiles lie between the closest ranks, and halves round away from
zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from lote.autoscale.calendar import parse_time
from lote.autoscale.context import Context
from lote.autoscale.errors import Fault
from lote.autoscale.values import TYPE_NAMES, Timestamp, Value, Vector, number, plain

Body = Callable[[Context, Sequence[Value]], Value]


class Function(NamedTuple):
    """``most`` is None when there may be any number of arguments."""

    name: str
    arguments: str
    least: int
    most: int | None
    gives: str
    meaning: str
    body: Body


class Stopped(Exception):
    """The formula has called ``stop()``."""


def flattened(context: Context, values: Sequence[Value]) -> Vector:
    """One vector of a list. Fault: an argument is neither a double nor a vector."""
    if len(values) == 1 and isinstance(values[0], list):
        context.spend(len(values[0]))
        return values[0]
    context.spend(sum(len(value) if isinstance(value, list) else 1 for value in values))
    flat: Vector = []
    for value in values:
        if isinstance(value, list):
            flat.extend(value)
        else:
            flat.append(number(value))
    return flat


def _of_list(function: Callable[[Vector], float]) -> Body:
    def body(context: Context, values: Sequence[Value]) -> float:
        flat = flattened(context, values)
        return function(flat) if flat else 0.0

    return body


def _of_each(function: Callable[[float], float]) -> Body:
    def body(context: Context, values: Sequence[Value]) -> Value:
        first = plain(values[0])
        if len(values) == 1 and isinstance(first, float):
            return function(first)
        return [function(value) for value in flattened(context, values)]

    return body


def _logarithm(function: Callable[[float], float]) -> Callable[[float], float]:
    def of_any(value: float) -> float:
        if value > 0:
            return function(value)
        return -math.inf if value == 0 else math.nan

    return of_any


def _up(value: float) -> float:
    return float(math.ceil(value)) if math.isfinite(value) else value


def _down(value: float) -> float:
    return float(math.floor(value)) if math.isfinite(value) else value


def _half_away(value: float) -> float:
    if not math.isfinite(value):
        return value
    size = abs(value)
    below = math.floor(size)
    return math.copysign(below + 1 if size - below >= 0.5 else below, value)


def _mean(values: Vector) -> float:
    return sum(values) / len(values)


def _deviation(values: Vector) -> float:
    if len(values) < 2:
        return 0.0
    mean = _mean(values)
    # Not **: Python raises where IEEE 754 has infinity.
    return math.sqrt(sum((x - mean) * (x - mean) for x in values) / (len(values) - 1))


def _vector(context: Context, value: Value) -> Vector:
    value = plain(value)
    if not isinstance(value, list | float):
        raise Fault(f"A doubleVec is needed here, not a {TYPE_NAMES[type(value)]}.")
    return flattened(context, [value])


def _percentile(context: Context, values: Sequence[Value]) -> float:
    ordered = sorted(_vector(context, values[0]))
    percent = number(values[1])
    if not 0 <= percent <= 100:
        raise Fault("The percentile is not from 0 to 100.")
    if not ordered:
        return 0.0
    rank = percent / 100 * (len(ordered) - 1)
    below = math.floor(rank)
    low, high = ordered[below], ordered[min(below + 1, len(ordered) - 1)]
    return low if rank == below or low == high else low + (high - low) * (rank - below)


def _value_at(context: Context, values: Sequence[Value]) -> float:
    value, place = plain(values[0]), number(values[1])
    if not isinstance(value, list):
        value = _vector(context, value)
    return value[int(place)] if 0 <= place < len(value) else 0.0


def _time(context: Context, values: Sequence[Value]) -> Value:
    text = values[0] if values else ""
    if not isinstance(text, str):
        raise Fault(f"A string is needed here, not a {TYPE_NAMES[type(text)]}.")
    return parse_time(text) if text else Timestamp(context.now_ticks)


def _stop(context: Context, values: Sequence[Value]) -> Value:
    raise Stopped


_ROWS = (
    Function("avg", "list", 0, None, "double", "arithmetic mean", _of_list(_mean)),
    Function("len", "list", 0, None, "double", "number of elements",
             _of_list(lambda values: float(len(values)))),
    Function("lg", "list", 1, None, "double or doubleVec", "logarithm to base 2 of each",
             _of_each(_logarithm(math.log2))),
    Function("ln", "list", 1, None, "double or doubleVec", "natural logarithm of each",
             _of_each(_logarithm(math.log))),
    Function("log", "list", 1, None, "double or doubleVec", "logarithm to base 10 of each",
             _of_each(_logarithm(math.log10))),
    Function("ceil", "list", 1, None, "double or doubleVec", "each rounded up",
             _of_each(_up)),
    Function("floor", "list", 1, None, "double or doubleVec", "each rounded down",
             _of_each(_down)),
    Function("round", "list", 1, None, "double or doubleVec",
             "each rounded, halves away from zero", _of_each(_half_away)),
    Function("max", "list", 0, None, "double", "largest", _of_list(max)),
    Function("min", "list", 0, None, "double", "smallest", _of_list(min)),
    Function("norm", "list", 0, None, "double", "Euclidean norm",
             _of_list(lambda values: math.hypot(*values))),
    Function("percentile", "doubleVec, double", 2, 2, "double",
             "the value below which so many percent lie, 0 to 100", _percentile),
    Function("rand", "", 0, 0, "double", "by chance, from 0 up to 1",
             lambda context, values: context.rand()),
    Function("range", "list", 0, None, "double", "largest minus smallest",
             _of_list(lambda values: max(values) - min(values))),
    Function("std", "list", 0, None, "double", "standard deviation of a sample (n - 1)",
             _of_list(_deviation)),
    Function("stop", "", 0, 0, "nothing", "ends the evaluation; what is set stays set", _stop),
    Function("sum", "list", 0, None, "double", "sum", _of_list(sum)),
    Function("time", "string", 0, 1, "timestamp",
             "the moment of the evaluation, or that of a W3C or RFC 1123 text", _time),
    Function("val", "doubleVec, double", 2, 2, "double",
             "the element at a place, counted from 0; 0 if there is none", _value_at),
)  # fmt: skip

FUNCTIONS = {row.name: row for row in _ROWS}
