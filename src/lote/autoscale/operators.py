"""Which operators there are for which types, as a table.

Source: the provider's guide to autoscale formulas, its table of operations. Two conveniences are
ours: a variable of the service stands for its newest sample, and a vector of one element for that
element where the table has no row for the vector.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from lote.autoscale.context import Context
from lote.autoscale.errors import Fault
from lote.autoscale.values import (
    TYPE_NAMES,
    Interval,
    Timestamp,
    Value,
    Vector,
    interval,
    plain,
    single,
    timestamp,
)

# Any: each row's function takes the two types of its row.
Operation = Callable[[Any, Any], Value]


def divide(a: float, b: float) -> float:
    """As IEEE 754 has it: by zero gives infinity, or NaN."""
    if b:
        return a / b
    if not a or math.isnan(a):
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _each(function: Callable[[float, float], float]) -> Operation:
    def with_all(a: Vector, b: float) -> Vector:
        return [function(x, b) for x in a]

    return with_all


def _pairs(function: Callable[[float, float], float]) -> Operation:
    def by_element(a: Vector, b: Vector) -> Vector:
        if len(a) != len(b):
            raise Fault(f"The vectors have {len(a)} and {len(b)} elements.")
        return [function(x, y) for x, y in zip(a, b, strict=True)]

    return by_element


def _truth(function: Callable[[Any, Any], bool]) -> Operation:
    return lambda a, b: 1.0 if function(a, b) else 0.0


_ARITHMETIC: dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": divide,
}
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
    "!=": operator.ne,
}

BINARY: dict[tuple[str, type, type], Operation] = {
    ("*", float, Interval): lambda a, b: interval(a * b.ticks),
    ("*", Interval, float): lambda a, b: interval(a.ticks * b),
    ("/", Interval, float): lambda a, b: interval(divide(a.ticks, b)),
    ("+", Interval, Interval): lambda a, b: interval(a.ticks + b.ticks),
    ("-", Interval, Interval): lambda a, b: interval(a.ticks - b.ticks),
    ("+", Interval, Timestamp): lambda a, b: timestamp(a.ticks + b.ticks),
    ("+", Timestamp, Interval): lambda a, b: timestamp(a.ticks + b.ticks),
    ("-", Timestamp, Timestamp): lambda a, b: interval(a.ticks - b.ticks),
}
BINARY |= {(op, float, float): function for op, function in _ARITHMETIC.items()}
BINARY |= {(op, list, float): _each(function) for op, function in _ARITHMETIC.items()}
BINARY |= {(op, list, list): _pairs(function) for op, function in _ARITHMETIC.items()}
BINARY |= {
    (op, kind, kind): _truth(function)
    for op, function in _COMPARISONS.items()
    for kind in (float, str, Timestamp, Interval)
}

UNARY: dict[tuple[str, type], Callable[[Any], Value]] = {
    ("-", float): operator.neg,
    ("!", float): lambda a: 0.0 if a else 1.0,
    ("-", Interval): lambda a: interval(-a.ticks),
}


def apply_binary(context: Context, op: str, a: Value, b: Value) -> Value:
    """``a op b``. Fault: the operator is not for these types, or the result is no value."""
    a, b = plain(a), plain(b)
    found = BINARY.get((op, type(a), type(b)))
    if found is None:
        first, second = single(a), single(b)
        found = BINARY.get((op, type(first), type(second)))
        if found is None:
            left, right = TYPE_NAMES[type(a)], TYPE_NAMES[type(b)]
            raise Fault(f"The operator {op} is not for a {left} and a {right}.")
        a, b = first, second
    if isinstance(a, list):
        context.spend(len(a))
    return found(a, b)


def apply_unary(op: str, a: Value) -> Value:
    """``op a``. Fault: the operator is not for this type."""
    a = single(plain(a))
    found = UNARY.get((op, type(a)))
    if found is None:
        raise Fault(f"The operator {op} is not for a {TYPE_NAMES[type(a)]}.")
    return found(a)
