"""What an agent reads of a task, and what that means."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.agent.failures import FAILURES, exit_failure, failure, signal_text
from lote.agent.task_spec import (
    Constraints,
    decode_task,
    duration_s,
    retention_s,
    wall_clock_limit_s,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT0S", 0), ("PT15M", 900), ("PT15M00S", 900), ("P1DT02H00M03.5S", 93603.5),
        ("P7D", 604800), ("PT01H00M00S", 3600), ("PT0.25S", 0.25), ("PT90S", 90),
        ("P", 0), ("PT", 0), ("P1Y", 31536000), ("P2W", 1209600), ("1.00:00:00", 86400),
    ],
)  # fmt: skip
def test_durations(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "15M", "PT-1S", "P1S", "1 day"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        duration_s(text)


@given(st.integers(0, 99), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_durations_add_up(days, hours, minutes, seconds):
    text = f"P{days}DT{hours}H{minutes:02}M{seconds}S"
    assert duration_s(text) == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def test_limits():
    forever = Constraints(max_wall_clock_time="P10675199DT2H48M5.4775807S")
    assert wall_clock_limit_s(None) is None
    assert wall_clock_limit_s(forever) is None
    assert wall_clock_limit_s(Constraints(max_wall_clock_time="PT5S")) == 5
    assert retention_s(None) == retention_s(Constraints()) == 7 * 86400
    assert retention_s(Constraints(retention_time="PT1M")) == 60


def test_a_task_with_much_that_agents_ignore():
    spec = {
        "id": "t", "commandLine": "true", "displayName": "x", "odata.metadata": "y",
        "dependsOn": {"taskIds": ["a"]}, "exitConditions": {"default": {}}, "requiredSlots": 2,
        "constraints": {"maxTaskRetryCount": -1}, "environmentSettings": [{"name": "A"}],
        "outputFiles": [{"filePattern": "*", "destination": {"container": {"containerUrl": "u"}},
                         "uploadOptions": {"uploadCondition": "tasksuccess"}}],
        "resourceFiles": None,
    }  # fmt: skip
    task = decode_task(json.dumps(spec).encode())
    assert (task.id, task.command_line, task.required_slots) == ("t", "true", 2)
    assert task.output_files is not None
    assert task.output_files[0].upload_options.upload_condition == "tasksuccess"


def test_exit_codes_are_explained():
    assert exit_failure(0) is None
    found = exit_failure(-15)
    assert found is not None
    assert found.code == "FailureExitCode"
    assert "15 (SIGTERM)" in found.details[0][1]
    assert "SIGRTMIN+1" in signal_text(35)


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_failures_are_of_the_caller_or_the_service(code):
    found = failure(code, ("Message", "m"), ("Empty", ""))
    assert found.category in ("usererror", "servererror")
    assert found.message
    assert found.details == [("Message", "m")]
