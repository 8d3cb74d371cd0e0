"""The record of samples, and what a formula and the rest of the service have between them."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest
from autoscale_pool import NOW_US, add_samples

from lote.autoscale.errors import SYNTAX, TOO_LONG, FormulaError, position_of
from lote.autoscale.formula import parse_formula
from lote.autoscale.parser import CHARS_MAX
from lote.autoscale.samples import NO_SAMPLES, SampleHistory
from lote.autoscale.targets import Targets
from lote.autoscale.values import Series
from lote.autoscale.variables import OPTIONS
from lote.wire.check_pools import FORMULA_CHARS_MAX
from lote.wire.enums import NodeDeallocationOption
from lote.wire.errors import ERRORS


def shown(series: Series) -> list[tuple[int, float]]:
    return list(zip(series.times_us, series.values, strict=True))


def test_a_sample_may_lack_variables():
    history = SampleHistory()
    history.record(10, {"$ActiveTasks": 1, "$CPUPercent": 7.5})
    history.record(20, {"$ActiveTasks": 2})
    assert shown(history.series("$ActiveTasks")) == [(10, 1.0), (20, 2.0)]
    assert shown(history.series("$CPUPercent")) == [(10, 7.5)]
    assert history.series("$FailedTasks") == NO_SAMPLES


def test_old_samples_are_forgotten():
    history = SampleHistory()
    for time_us in (10, 20, 30):
        history.record(time_us, {"$ActiveTasks": time_us})
    history.forget_before(20)
    assert shown(history.series("$ActiveTasks")) == [(20, 20.0), (30, 30.0)]
    history.forget_before(1000)
    assert shown(history.series("$ActiveTasks")) == []


@pytest.mark.parametrize("time_us", [20, 19])
def test_time_goes_on(time_us):
    history = SampleHistory()
    history.record(20, {"$ActiveTasks": 1})
    with pytest.raises(ValueError, match="after one of 20"):
        history.record(time_us, {"$ActiveTasks": 2})
    assert shown(history.series("$ActiveTasks")) == [(20, 1.0)]


def test_a_formula_keeps_nothing_from_one_evaluation_to_the_next():
    formula = parse_formula("$TargetDedicatedNodes = $ActiveTasks; $x = rand(); y = rand();")
    chances = itertools.count(1)
    for tasks in (3, 5):
        history = SampleHistory()
        add_samples(history, "$ActiveTasks", [tasks], 30)
        found = formula.evaluate(history, NOW_US, Targets(1, 1), lambda: next(chances) / 10)
        assert found.targets == Targets(tasks, 1)
    assert found.variables == {"$x": 0.3, "y": 0.4}


def test_a_sample_after_now_is_not_seen_by_windows():
    history = SampleHistory()
    history.record(NOW_US - 1_000_000, {"$ActiveTasks": 1})
    history.record(NOW_US + 1_000_000, {"$ActiveTasks": 2})
    formula = parse_formula("x = $ActiveTasks.GetSample(TimeInterval_Minute, -TimeInterval_Hour);")
    found = formula.evaluate(history, NOW_US, Targets(), lambda: 0.0)
    assert found.variables == {"x": [1.0]}


def test_errors_of_reading_are_raised():
    with pytest.raises(
        FormulaError, match=r"^Line 2, Col 3: ';' is not expected here\.$"
    ) as caught:
        parse_formula("\nx=;")
    assert (caught.value.code, caught.value.position) == (SYNTAX, (2, 3))


@pytest.mark.parametrize(
    ("offset", "position"), [(0, (1, 1)), (1, (1, 2)), (2, (2, 1)), (4, (3, 1)), (5, (4, 1))]
)
def test_lines_end_in_three_ways(offset, position):
    assert position_of("a\n\r\n\rb", offset) == position


def test_the_protocol_and_the_language_agree():
    assert CHARS_MAX == FORMULA_CHARS_MAX
    assert {SYNTAX, TOO_LONG} <= set(ERRORS)
    assert set(OPTIONS) == set(get_args(NodeDeallocationOption))
