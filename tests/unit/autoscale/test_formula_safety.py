"""Whatever the text: an outcome, or an error with its place; and work that has a bound."""

from __future__ import annotations

import pytest
from autoscale_pool import add_samples, evaluated
from hypothesis import given, settings
from hypothesis import strategies as st

from lote.autoscale.context import ELEMENTS_MAX
from lote.autoscale.errors import EVALUATION, INSUFFICIENT, SYNTAX, TOO_LONG, FormulaError
from lote.autoscale.formula import parse_formula
from lote.autoscale.functions import FUNCTIONS
from lote.autoscale.instructions import Jump, JumpUnless, ShortCut
from lote.autoscale.metrics import METHODS
from lote.autoscale.samples import SampleHistory
from lote.autoscale.tokens import tokens_of
from lote.autoscale.values import Timestamp
from lote.autoscale.variables import ALIASES, CONSTANTS, METRICS, TARGETS

PIECES = [
    *FUNCTIONS, *METHODS, *METRICS, *TARGETS, *ALIASES, *CONSTANTS,
    *("x", "y", "$z", "year", "hour", "0", "1", "2", "3.5", "1e300", "1e-300", "400000000"),
    *('"2025-03-06"', '"a"', '""', '"', "//", "#", "\n", "\r\n", " ", "\u00a0", "é", "٣", "\x00"),
    *"+-*/<>=!&|?:;,.()",
    *("&&", "||", "==", "!=", "<=", ">=", "x = ", "; ", "GetSample(", "time()", ".GetSample(1)"),
    *("(TimeInterval_Hour)", "$ActiveTasks.GetSample(TimeInterval_Hour", "$TargetDedicatedNodes ="),
]  # fmt: skip
VALUES = st.sampled_from([
    "0", "1", "2.5", "1e300", "x", "time()", '"2025-03-06"', "requeue", "TimeInterval_Day",
    "$ActiveTasks", "$TargetDedicatedNodes", "$ActiveTasks.GetSample(2)", "rand()",
    "$ActiveTasks.GetSample(9)", "$ActiveTasks.GetSample(0)", "$RunningTasks.GetSample(1)",
])  # fmt: skip


def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Right by the grammar, with types of all kinds in all places."""
    operators = st.sampled_from(["+", "-", "*", "/", "<", "==", "!=", "&&", "||"])
    calls = st.tuples(st.sampled_from(sorted(FUNCTIONS)), st.lists(inner, max_size=3))
    asked = st.tuples(inner, st.sampled_from(sorted(METHODS)), st.lists(inner, max_size=3))
    return st.one_of(
        st.tuples(inner, operators, inner).map(" ".join),
        st.tuples(inner, inner, inner).map(lambda three: "({} ? {} : {})".format(*three)),
        inner.map("-{}".format),
        inner.map("!({})".format),
        inner.map("({}).hour".format),
        calls.map(lambda call: f"{call[0]}({', '.join(call[1])})"),
        asked.map(lambda ask: f"({ask[0]}).{ask[1]}({', '.join(ask[2])})"),
    )


NAMES = st.sampled_from(["x", "$y", *TARGETS, *ALIASES, "$ActiveTasks", "$activeTasks"])
STATEMENTS = st.tuples(NAMES, st.recursive(VALUES, grown, max_leaves=6)).map(" = ".join)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=25).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=25).map(" ".join),
    st.lists(STATEMENTS, max_size=5).map("; ".join),
)


def a_history() -> SampleHistory:
    made = SampleHistory()
    add_samples(made, "$ActiveTasks", [3, 0, 5, 5, 1], 30)
    return made


HISTORY = a_history()


@settings(deadline=None)  # a loaded machine is slow at times
@given(TEXTS)
def test_any_text_has_an_outcome_or_an_error_in_its_place(text):
    found = evaluated(text, HISTORY)
    assert found.results.startswith("$TargetDedicatedNodes=")
    assert found.targets.dedicated_nodes >= 0
    assert found.targets.low_priority_nodes >= 0
    if found.error is not None:
        assert found.error.code in (SYNTAX, EVALUATION, INSUFFICIENT)
        line, column = found.error.position
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        assert 1 <= line <= len(lines)
        assert 1 <= column <= len(lines[line - 1]) + 1


@settings(deadline=None)  # a loaded machine is slow at times
@given(TEXTS)
def test_a_formula_takes_no_more_steps_than_it_has_tokens(text):
    try:
        program = parse_formula(text).program
    except FormulaError:
        return
    # && and || take two, a conditional has two marks.
    assert len(program.instructions) <= 2 * len(tokens_of(text))
    for place, step in enumerate(program.instructions):
        if isinstance(step, Jump | JumpUnless | ShortCut):
            assert place < step.target <= len(program.instructions)


@settings(deadline=None)  # a loaded machine is slow at times
@given(TEXTS)
def test_the_same_formula_comes_to_the_same(text):
    first, again = evaluated(text, HISTORY), evaluated(text, HISTORY)
    assert first.results == again.results
    assert str(first.error) == str(again.error)


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "(" * 31 + "1" + ")" * 31,
        "x = " + "max(" * 31 + "1" + ")" * 31,
        "x = " + "0||1&&1==1<1+1*max(" * 31 + "1" + ")" * 31,
        "x = " + "1 ? " * 31 + "1" + " : 2" * 31,
        "x = " + "0 ? 2 : " * 1000 + "1",
        "x = 1" + " - 1" * 2000 + " + 2000",
        "x = " + "-" * 8000 + "1",
        "x = " + "!" * 8000 + "1",
        "x = 0" + " || 0" * 1600 + " || 1",
        "x = max(" + "1," * 4000 + "1)",
        "x = 1" + ";" * 8000,
        "x = 1//" + "x" * 8000,
        "x = 1 " + " " * 8000,
        "x = 0." + "0" * 8000 + " + 1",
        'x = "' + "a" * 8000 + '" != ""',
    ],
    ids=lambda text: text[:12],
)
def test_long_and_deep_formulas(text):
    found = evaluated(text)
    assert found.error is None
    assert found.variables["x"] == 1.0


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("x = " + "(" * 4000 + "1" + ")" * 4000, 37),
        ("x = " + "(" * 8000, 37),
        ("x = " + "max(" * 2000, 133),
        ("x = " + "1 ? " * 2000, 133),
        ("x = $ActiveTasks.GetSample(" + "(" * 8000, 59),
    ],
    ids=lambda text: str(text)[:12],
)
def test_too_deep(text, column):
    error = evaluated(text).error
    assert error is not None
    assert (error.code, error.detail) == (
        SYNTAX,
        f"Line 1, Col {column}: The formula is nested too deeply.",
    )


def test_a_chain_of_members_is_no_nesting():
    error = evaluated("x = time()" + ".hour" * 1500).error
    assert error is not None
    assert error.detail == "Line 1, Col 17: hour is of timestamps, not of a double."


def test_8192_characters_and_100_statements():
    assert evaluated("x = 1;".ljust(8192)).error is None
    assert evaluated("x = 1;" * 100).error is None
    for text, place, limit in [
        ("x = 1;".ljust(8193), "Col 8193", "8192 characters"),
        ("x = 1;" * 101, "Col 601", "100 statements"),
    ]:
        error = evaluated(text).error
        assert error is not None
        assert error.code == TOO_LONG
        assert error.detail == f"Line 1, {place}: A formula has at most {limit}."


def test_vectors_cannot_fill_the_memory():
    history = SampleHistory()
    add_samples(history, "$ActiveTasks", [1.5] * 20_160, 30)  # a week
    text = "x = $ActiveTasks.GetSample(20160);" + "x = round(x, x, x, x);" * 99
    error = evaluated(text, history).error
    assert error is not None
    assert error.code == EVALUATION
    assert str(ELEMENTS_MAX) in error.reason
    # The same in a list alone, by operators, and by samples.
    for text in [
        "x = $ActiveTasks.GetSample(20160);" + f"y = len({','.join('x' * 30)});",
        "x = $ActiveTasks.GetSample(20160);" + "x = x" + " + x" * 30,
        "x = 0" + " + len($ActiveTasks.GetSample(20160))" * 20,
        "x = $ActiveTasks.GetSample(20160); y = 0" + " + percentile(x, 50)" * 30,
    ]:
        error = evaluated(text, history).error
        assert error is not None
        assert error.reason == f"The formula works on more than {ELEMENTS_MAX} elements of vectors."


def test_ten_variables_of_a_week_are_not_too_much():
    history = SampleHistory()
    add_samples(history, "$ActiveTasks", [1.5] * 20_160, 30)
    text = "x = 0" + " + avg($ActiveTasks.GetSample(TimeInterval_Week))" * 10
    assert evaluated(text, history).variables == {"x": 15.0}


def test_results_are_of_bounded_length():
    history = SampleHistory()
    add_samples(history, "$ActiveTasks", [0.1] * 20_160, 30)
    text = "a = $ActiveTasks.GetSample(20160);" + "".join(f"x{n} = a;" for n in range(99))
    found = evaluated(text, history)
    assert found.error is None
    assert len(found.results) < 65_536
    assert "a=[0.1,0.1," in found.results
    assert "0.1,…];x0=[" in found.results
    assert len(found.variables) == 100


def test_a_moment_of_the_calendar_is_kept_to_100_ns():
    text = 'x = time("9999-12-31T23:59:59.9999999Z")'
    assert evaluated(text).variables["x"] == Timestamp(2_534_023_007_999_999_999)
    assert evaluated(text).results.endswith("x=9999-12-31T23:59:59.999Z")
