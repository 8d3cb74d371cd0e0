"""Formulas with what must come of them: the cases of cases.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from autoscale_pool import evaluated, history

from lote.autoscale.errors import MESSAGES
from lote.autoscale.targets import Targets

CASES = json.loads((Path(__file__).parent / "cases.json").read_text())


def results(targets: Targets, variables: str = "") -> str:
    text = (
        f"$TargetDedicatedNodes={targets.dedicated_nodes};"
        f"$TargetLowPriorityNodes={targets.low_priority_nodes};"
        f"$NodeDeallocationOption={targets.node_deallocation_option}"
    )
    return f"{text};{variables}" if variables else text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_case(case):
    current = Targets(*case.get("current", (0, 0)))
    found = evaluated(case["formula"], history(case.get("samples", {})), current)
    if "error" in case:
        assert found.error is not None
        assert (found.error.code, found.error.detail) == tuple(case["error"].values())
        assert found.error.message == MESSAGES[found.error.code]
        assert found.error.values == (("Message", found.error.detail),)
        assert (found.targets, found.results) == (current, results(current))
        return
    assert found.error is None, found.error
    wanted = case.get("targets", {})
    targets = Targets(
        wanted.get("dedicated", current.dedicated_nodes),
        wanted.get("low_priority", current.low_priority_nodes),
        wanted.get("option", "requeue"),
    )
    assert (found.targets, found.results) == (targets, results(targets, case["results"]))
