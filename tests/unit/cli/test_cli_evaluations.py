"""`lote evaluations`: one line for each."""

from __future__ import annotations

from lote.cli.evaluations import line_of

GOOD = {
    "timestamp": "2025-01-01T10:15:00.123456Z",
    "targetDedicatedNodes": 12,
    "targetLowPriorityNodes": 0,
    "variables": {"$busy": "1", "queue": "[1,2]"},
}


def test_the_variables_of_one_that_went_well():
    assert line_of(GOOD) == "2025-01-01T10:15:00Z     12      0  $busy=1  queue=[1,2]"


def test_where_a_formula_failed():
    values = [{"name": "Message", "value": "Line 1, Col 5: x is not set."}]
    error = {"code": "AutoScalingFormulaEvaluationError", "message": "m", "values": values}
    line = line_of(GOOD | {"error": error, "variables": {}})
    assert line.endswith("  AutoScalingFormulaEvaluationError: Line 1, Col 5: x is not set.")


def test_values_cannot_steer_the_terminal():
    assert line_of(GOOD | {"variables": {"x": "\x1b[2J\n"}}).endswith("  x=?[2J?")
