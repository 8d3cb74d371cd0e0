"""The page about formulas says what is, and its examples come to what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from autoscale_pool import add_samples, evaluated

from lote.autoscale.calendar import MEMBERS
from lote.autoscale.context import ELEMENTS_MAX
from lote.autoscale.functions import FUNCTIONS
from lote.autoscale.metrics import METHODS
from lote.autoscale.parser import CHARS_MAX, NESTING_MAX, STATEMENTS_MAX, parse
from lote.autoscale.samples import SampleHistory
from lote.autoscale.variables import ALIASES, INTERVALS, METRICS, OPTIONS, TARGETS

PAGE = (Path(__file__).parents[3] / "docs" / "autoscale.md").read_text()
EXAMPLE = re.compile(r"^```formula\n(.*?)^```\n\n((?:- With [^\n]*\n)+)", re.MULTILINE | re.DOTALL)
LINE = re.compile(r"- With `(\S+)` at (\d+) for (\d+) minutes: `(.*)`")


EXAMPLES = [
    (formula, line) for formula, lines in EXAMPLE.findall(PAGE) for line in lines.splitlines()
]


@pytest.mark.parametrize(("formula", "line"), EXAMPLES)
def test_an_example_comes_to_what_the_page_shows(formula, line):
    found = LINE.fullmatch(line)
    assert found, line
    name, value, minutes, shown = found.groups()
    history = SampleHistory()
    add_samples(history, name, [float(value)] * (int(minutes) * 2), 30)
    outcome = evaluated(formula, history)
    if outcome.error is None:
        assert outcome.results == shown
    else:
        assert f"{outcome.error.code}`, `{outcome.error.detail}" == shown


def test_every_formula_of_the_page_is_an_example():
    assert PAGE.count("```formula") == len(EXAMPLE.findall(PAGE)) > 5


@pytest.mark.parametrize("row", [*FUNCTIONS.values(), *METHODS.values()], ids=lambda row: row.name)
def test_functions_and_methods_have_their_row(row):
    assert f"| `{row.name}({row.arguments})` | {row.gives} | {row.meaning} |\n" in PAGE


def test_variables_have_their_row():
    rows = TARGETS | METRICS | {f".{name}": row[0] for name, row in MEMBERS.items()}
    assert [name for name, text in rows.items() if f"| `{name}` | {text} |\n" not in PAGE] == []


def test_other_names_are_there():
    names = (*ALIASES, *INTERVALS, *OPTIONS)
    assert [name for name in names if f"`{name}`" not in PAGE] == []


def test_the_page_has_no_function_or_variable_that_is_none():
    called = set(re.findall(r"\| `(\w+)\(", PAGE))
    assert called == set(FUNCTIONS) | set(METHODS)
    assert set(re.findall(r"\| `(\$\w+)`", PAGE)) == set(TARGETS) | set(METRICS)


def test_what_the_page_writes_about_values_can_be_read():
    for text in re.findall(r"`(time\([^`]*|time\(\) \+ [^`]*)`", PAGE):
        assert parse(f"x = {text};").instructions


def test_limits_are_those_of_the_code():
    limits = PAGE.partition("### Limits")[2]
    assert f"{CHARS_MAX} characters, {STATEMENTS_MAX} statements, {NESTING_MAX} levels" in limits
    assert f"{ELEMENTS_MAX:,} elements of vectors" in limits
