from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.engines.script import Outcome, ScriptedTask, outcome_of_command


@pytest.mark.parametrize(
    ("command_line", "outcome"),
    [
        ("/bin/true", Outcome(0, 0)),
        ("false", Outcome(0, 1)),
        ("sleep 10", Outcome(10, 0)),
        ("sleep 0.25", Outcome(0.25, 0)),
        ("exit 3", Outcome(0, 3)),
        ("/bin/sh -c 'sleep 2; exit 3'", Outcome(2, 3)),
        ("bash -c 'sleep 1 && sleep 2 && exit 0'", Outcome(3, 0)),
        ("exit 257", Outcome(0, 1)),
        ("asleep 5", Outcome(0, 0)),
        ("", Outcome(0, 0)),
    ],
)
def test_the_words_of_a_command_say_how_it_goes(command_line: str, outcome: Outcome):
    assert outcome_of_command(ScriptedTask(command_line=command_line), 0) == outcome


@given(st.text())
def test_any_command_has_an_outcome(command_line: str):
    outcome = outcome_of_command(ScriptedTask(command_line=command_line), 0)
    assert outcome.seconds >= 0
    assert outcome.exit_code is not None
    assert 0 <= outcome.exit_code < 256
