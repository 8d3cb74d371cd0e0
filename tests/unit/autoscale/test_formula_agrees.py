"""Trees, written as formulas with as few parentheses as the grammar asks for, and evaluated apart.

The evaluator here walks the tree; it shares nothing with the one it is compared with.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import pytest
from autoscale_pool import add_samples, evaluated
from hypothesis import given, settings
from hypothesis import strategies as st

from lote.autoscale.samples import SampleHistory
from lote.autoscale.values import Interval

VECTOR = [3.0, -1.5, 0.0, 8.0]
SOURCE = "$ActiveTasks.GetSample(4)"
STRENGTH = {"?": 0, "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, ">=": 4, "+": 5, "-": 5,
            "*": 6, "/": 6, "unary": 7, "call": 8}  # fmt: skip
LISTS = {
    "avg": statistics.fmean,
    "max": max,
    "min": min,
    "sum": math.fsum,
    "len": len,
    "range": lambda values: max(values) - min(values),
    "std": lambda values: statistics.stdev(values) if len(values) > 1 else 0.0,
    "norm": lambda values: math.dist(values, [0.0] * len(values)),
}


@dataclass(frozen=True)
class Tree:
    op: str
    parts: tuple[Tree, ...] = ()
    leaf: float = 0.0


def leaf(value: float) -> Tree:
    return Tree("leaf", leaf=value)


def strength(tree: Tree) -> int:
    if tree.op in ("leaf", "vector") or tree.op in LISTS:
        return STRENGTH["call"]
    return STRENGTH["unary"] if tree.op in ("neg", "not") else STRENGTH[tree.op]


def text_of(tree: Tree, least: int = 0) -> str:
    """The text; in parentheses when its operator is weaker than its place asks for."""
    own = strength(tree)
    match tree.op:
        case "leaf":
            text = repr(tree.leaf)
        case "vector":
            text = SOURCE
        case "neg" | "not":
            text = ("-" if tree.op == "neg" else "!") + text_of(tree.parts[0], own)
        case "?":
            condition, yes, no = tree.parts
            text = f"{text_of(condition, 1)} ? {text_of(yes)} : {text_of(no)}"
        case op if op in LISTS:
            text = f"{op}({', '.join(map(text_of, tree.parts))})"
        case op:
            first, second = tree.parts
            text = f"{text_of(first, own)} {op} {text_of(second, own + 1)}"
    return f"({text})" if own < least else text


def quotient(a: float, b: float) -> float:
    if b != 0:
        return a / b
    return (
        math.nan
        if a == 0 or math.isnan(a)
        else math.inf * math.copysign(1, a) * (math.copysign(1, b))
    )


def value_of(tree: Tree) -> float | list[float]:  # long: one line an operator
    match tree.op:
        case "leaf":
            return tree.leaf
        case "vector":
            return VECTOR
        case "?":
            return value_of(tree.parts[1] if value_of(tree.parts[0]) != 0 else tree.parts[2])
        case "&&":
            return float(all(value_of(part) != 0 for part in tree.parts))
        case "||":
            return float(any(value_of(part) != 0 for part in tree.parts))
        case op if op in LISTS:
            values: list[float] = []
            for part in map(value_of, tree.parts):
                values += part if isinstance(part, list) else [part]
            return float(LISTS[op](values))
    a, *more = (value_of(part) for part in tree.parts)
    match tree.op:
        case "neg":
            return -a
        case "not":
            return float(a == 0)
        case "==":
            return float(a == more[0])
        case "!=":
            return float(a != more[0])
        case "<":
            return float(a < more[0])
        case ">=":
            return float(a >= more[0])
    functions = {
        "+": lambda x, y: x + y,
        "-": lambda x, y: x - y,
        "*": lambda x, y: x * y,
        "/": quotient,
    }
    if isinstance(a, list):
        seconds = more[0] if isinstance(more[0], list) else [more[0]] * len(a)
        return [functions[tree.op](x, y) for x, y in zip(a, seconds, strict=True)]
    return functions[tree.op](a, more[0])


def doubles(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    infix = st.sampled_from([op for op in STRENGTH if op not in ("?", "unary", "call")])
    lists = st.lists(inner | st.just(Tree("vector")) | vectors(inner), min_size=1, max_size=3)
    return st.one_of(
        st.builds(lambda op, a, b: Tree(op, (a, b)), infix, inner, inner),
        st.builds(lambda a, b, c: Tree("?", (a, b, c)), inner, inner, inner),
        st.builds(lambda op, a: Tree(op, (a,)), st.sampled_from(["neg", "not"]), inner),
        st.builds(lambda op, some: Tree(op, tuple(some)), st.sampled_from(sorted(LISTS)), lists),
    )


def vectors(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    second = inner | st.just(Tree("vector"))
    return st.builds(
        lambda op, b: Tree(op, (Tree("vector"), b)), st.sampled_from(["+", "-", "*", "/"]), second
    )


LEAVES = st.sampled_from([0.0, 1.0, 2.0, 0.5, 7.25, 100.0]).map(leaf)
TREES = st.recursive(LEAVES, doubles, max_leaves=12)


def same(found: object, wanted: float | list[float]) -> bool:
    if isinstance(wanted, list):
        return (
            isinstance(found, list) and len(found) == len(wanted) and all(map(same, found, wanted))
        )
    if not isinstance(found, float):
        return False
    return math.isnan(found) if math.isnan(wanted) else math.isclose(found, wanted, abs_tol=1e-9)


def is_finite(tree: Tree) -> bool:
    """Whether all values below are: what a list of infinities comes to is told elsewhere."""
    if not all(map(is_finite, tree.parts)):
        return False
    value = value_of(tree)
    return all(map(math.isfinite, value if isinstance(value, list) else [value]))


def a_history() -> SampleHistory:
    made = SampleHistory()
    add_samples(made, "$ActiveTasks", VECTOR, 30)
    return made


HISTORY = a_history()


@settings(deadline=None)  # a loaded machine is slow at times
@given(TREES)
def test_expressions_come_to_what_a_walk_over_the_tree_does(tree):
    has_lists = any(name in text_of(tree) for name in LISTS)
    if has_lists and not is_finite(tree):
        return
    found = evaluated(f"x = {text_of(tree)};", HISTORY)
    assert found.error is None, found.error
    assert same(found.variables["x"], value_of(tree)), text_of(tree)


@settings(deadline=None)  # a loaded machine is slow at times
@given(vectors(TREES))
def test_vectors_too(tree):
    if not is_finite(tree):
        return
    found = evaluated(f"x = {text_of(tree)};", HISTORY)
    assert found.error is None, found.error
    assert same(found.variables["x"], value_of(tree)), text_of(tree)


@settings(deadline=None)  # a loaded machine is slow at times
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.integers(1, 99))
def test_percentiles_are_those_of_the_library(values, percent):
    history = SampleHistory()
    add_samples(history, "$CPUPercent", values, 30)
    found = evaluated(f"x = percentile($CPUPercent.GetSample(30), {percent});", history)
    inclusive = values[0]
    if len(values) > 1:
        inclusive = statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
    assert found.variables["x"] == pytest.approx(inclusive, abs=1e-6)


@settings(deadline=None)  # a loaded machine is slow at times
@given(
    st.lists(st.integers(-5, 700), max_size=40, unique=True).map(sorted),
    st.integers(0, 700),
    st.integers(0, 700),
)
def test_windows_have_the_samples_of_their_ages(ages_s, one_s, other_s):
    history = SampleHistory()
    for age_s in reversed(ages_s):
        history.record(1_741_295_045_678_000 - age_s * 1_000_000, {"$ActiveTasks": age_s})
    window = f"{one_s} * TimeInterval_Second, {other_s} * TimeInterval_Second"
    text = f"x = $ActiveTasks.GetSample({window}); p = $ActiveTasks.GetSamplePercent({window});"
    found = evaluated(text, history)
    far_s, near_s = max(one_s, other_s), min(one_s, other_s)
    inside = [float(s) for s in ages_s if near_s < s <= far_s or (near_s == 0 == s)]
    assert found.variables["x"] == inside
    possible = max(math.floor((far_s - near_s) / 30 + 0.5), 1)
    assert found.variables["p"] == pytest.approx(min(len(inside) / possible * 100, 100))


@settings(deadline=None)  # a loaded machine is slow at times
@given(st.integers(-(10**15), 10**15), st.integers(-(10**15), 10**15))
def test_intervals_add_and_compare_like_their_ticks(a, b):
    text = (
        f"a = TimeInterval_100ns * {a}; b = TimeInterval_100ns * {b};"
        "sum = a + b; less = a < b; back = (time() + a) - time();"
    )
    found = evaluated(text).variables
    assert found["sum"] == Interval(a + b)
    assert found["less"] == float(a < b)
    assert found["back"] == Interval(a)
