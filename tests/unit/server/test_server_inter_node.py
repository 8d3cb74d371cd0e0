"""How many nodes a pool may have in which they reach each other."""

from __future__ import annotations

import pytest
from bench import a_pool

from lote.engines.script import NodeFate, Script
from lote.wire.errors import Refused

LINKED = {"enableInterNodeCommunication": True}
MINUTE_S = 60


def refused_values(bench, name, body, **params):
    with pytest.raises(Refused) as caught:
        bench.ask(name, body, **params)
    assert caught.value.code == "InvalidPropertyValue"
    return dict(caught.value.values)


def current(bench):
    pool = bench.pool()
    assert pool["allocationState"] == "steady"
    return pool["currentDedicatedNodes"], pool["currentLowPriorityNodes"]


def errors(bench):
    return [(one["code"], "at most 100" in one["message"]) for one in bench.pool()["resizeErrors"]]


def scaling(formula):
    shown = a_pool(enableAutoScale=True, autoScaleFormula=formula, **LINKED)
    del shown["targetDedicatedNodes"]
    return shown | {"autoScaleEvaluationInterval": "PT5M"}


def test_more_than_a_hundred_cannot_be_asked_for(bench):
    values = refused_values(bench, "create_pool", a_pool(nodes=101, **LINKED))
    assert (values["PropertyName"], values["PropertyValue"]) == ("targetDedicatedNodes", "101")
    both = a_pool(nodes=60, targetLowPriorityNodes=41, **LINKED)
    refused_values(bench, "create_pool", both)
    bench.add_pool(nodes=60, targetLowPriorityNodes=40, **LINKED)
    assert current(bench) == (60, 40)
    assert "resizeErrors" not in bench.pool()
    # The target that is not given stays as it is, and counts.
    one_more = {"targetLowPriorityNodes": 41}
    refused_values(bench, "resize_pool", one_more, pool_id="p")
    bench.ask("resize_pool", {"targetDedicatedNodes": 0}, pool_id="p")
    bench.ask("resize_pool", one_more, pool_id="p")
    assert current(bench) == (0, 41)
    bench.check()


def test_other_pools_may_have_more(bench):
    bench.add_pool(nodes=101)
    assert current(bench) == (101, 0)


def test_an_auto_pool_is_bound_too(bench):
    pool = a_pool(nodes=101, **LINKED)
    del pool["id"]
    info = {"autoPoolSpecification": {"poolLifetimeOption": "job", "pool": pool}}
    values = refused_values(bench, "create_job", {"id": "j", "poolInfo": info})
    name = "poolInfo.autoPoolSpecification.pool.targetDedicatedNodes"
    assert values["PropertyName"] == name


def test_a_formula_gets_what_there_can_be_and_an_error(bench):
    formula = "$TargetDedicatedNodes = 90; $TargetLowPriorityNodes = 30;"
    bench.ask("create_pool", scaling(formula))
    assert current(bench) == (90, 10)
    assert errors(bench) == [("AllocationFailed", True)]
    pool = bench.pool()
    assert (pool["targetDedicatedNodes"], pool["targetLowPriorityNodes"]) == (90, 30)
    assert "low-priority" in pool["resizeErrors"][0]["message"]
    bench.advance(6 * MINUTE_S)  # the formula again, and low-priority nodes are sought meanwhile
    assert current(bench) == (90, 10)
    assert errors(bench) == [("AllocationFailed", True)]
    less = {"autoScaleFormula": "$TargetDedicatedNodes = 120; $TargetLowPriorityNodes = 0;"}
    bench.ask("enable_pool_auto_scale", less, pool_id="p")
    assert current(bench) == (100, 0)
    assert errors(bench) == [("AllocationFailed", True)]
    bench.advance(31)
    fits = {"autoScaleFormula": "$TargetDedicatedNodes = 3; $TargetLowPriorityNodes = 0;"}
    bench.ask("enable_pool_auto_scale", fits, pool_id="p")
    assert current(bench) == (3, 0)
    assert "resizeErrors" not in bench.pool()
    bench.check()


def test_what_a_formula_left_refuses_no_resize(bench):
    formula = "$TargetDedicatedNodes = 120; $TargetLowPriorityNodes = 0;"
    bench.ask("create_pool", scaling(formula))
    bench.ask("disable_pool_auto_scale", pool_id="p")
    values = refused_values(bench, "resize_pool", {"targetLowPriorityNodes": 5}, pool_id="p")
    assert (values["PropertyName"], values["PropertyValue"]) == ("targetLowPriorityNodes", "5")
    bench.ask("resize_pool", {"targetLowPriorityNodes": 0}, pool_id="p")
    assert current(bench) == (100, 0)
    pool = bench.pool()
    assert (pool["targetDedicatedNodes"], pool["targetLowPriorityNodes"]) == (100, 0)
    assert "resizeErrors" not in pool
    bench.ask("resize_pool", {"targetDedicatedNodes": 95}, pool_id="p")
    bench.ask("resize_pool", {"targetLowPriorityNodes": 5}, pool_id="p")
    assert current(bench) == (95, 5)
    bench.check()


def test_those_that_are_leaving_have_their_places_until_they_are_gone(make_bench):
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=1)))
    bench.add_pool(nodes=100, **LINKED)
    bench.advance(2)
    bench.add_job()
    bench.add_tasks(100, seconds=50)
    targets = {"targetDedicatedNodes": 0, "targetLowPriorityNodes": 100}
    bench.ask("resize_pool", targets | {"nodeDeallocationOption": "taskcompletion"}, pool_id="p")
    assert bench.node_states().count("leavingpool") == 100 == len(bench.nodes())
    bench.advance(60)
    assert current(bench) == (0, 100)
    assert "resizeErrors" not in bench.pool()
    bench.check()
