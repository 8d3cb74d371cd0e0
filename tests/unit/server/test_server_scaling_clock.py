"""Pools that scale, over a day and over clocks that jump: the clock is stepped."""

from __future__ import annotations

import pytest
from bench import a_pool

from lote.store.pools import get_pool
from lote.store.scaling import list_evaluations, list_samples
from lote.wire.formats import parse_timestamp

MINUTE_S = 60
HOUR_S = 3600
SAMPLE_US = 30_000_000
QUARTER_US = 900_000_000
BY_DAY = """
    busy = time().hour >= 8 && time().hour < 18;
    known = $PendingTasks.GetSamplePercent(TimeInterval_Hour);
    $TargetDedicatedNodes = busy ? 3 : min(1, $PendingTaskSlots);
"""
KNOWN = "known = $ActiveTasks.GetSamplePercent(10 * TimeInterval_Minute);"


def add_scaling_pool(bench, formula, interval):
    members = a_pool() | {
        "enableAutoScale": True,
        "autoScaleFormula": formula,
        "autoScaleEvaluationInterval": interval,
    }
    del members["targetDedicatedNodes"]
    bench.ask("create_pool", members)


def need_not_last(bench):
    """Let the disk be: thousands of commits, and none of them is to survive anything."""
    bench.database.execute("PRAGMA synchronous=OFF")


def key_of(bench):
    record = get_pool(bench.reader, "p")
    assert record is not None
    return record.key


def evaluations(bench):
    """The pool's, the oldest first."""
    return list_evaluations(bench.reader, key_of(bench))[::-1]


def sample_times(bench):
    return [at_us for at_us, _ in list_samples(bench.reader, key_of(bench), 0, 1 << 62)]


def set_clock_back(bench, seconds):
    bench.world.advance(-seconds)
    bench.tick()


def hour_of(at_us):
    return at_us // 3_600_000_000 % 24


def test_a_day(bench):
    """With a night, a restart in the morning, and a queue in the evening."""
    begun_us = bench.world.now_us()
    assert begun_us % 86_400_000_000 == 0
    need_not_last(bench)
    add_scaling_pool(bench, BY_DAY, "PT15M")
    bench.add_job()
    for hour in range(24):
        if hour == 7:
            bench.restart()
            need_not_last(bench)
        if hour == 20:
            bench.add_task("late", seconds=2 * HOUR_S)
        ends_us = begun_us + (hour + 1) * 3_600_000_000
        bench.advance((ends_us - bench.world.now_us()) / 1e6 - 1)
        expected = 3 if 8 <= hour < 18 else int(hour in (20, 21, 22))
        if hour != 22:  # it ends within this hour
            assert len(bench.node_states()) == expected, hour
    made = evaluations(bench)
    assert [one.at_us for one in made] == [begun_us + n * QUARTER_US for n in range(96)]
    for one in made:
        is_busy = 8 <= hour_of(one.at_us) < 18
        assert one.variables["busy"] == str(int(is_busy))
        wanted = 3 if is_busy else min(1, int(one.readings["$PendingTaskSlots"]))
        assert one.target_dedicated == wanted
        assert one.variables["known"] == "100" or hour_of(one.at_us) == 0
    assert sample_times(bench) == [begun_us + n * SAMPLE_US for n in range(2880)]
    assert bench.task("late")["executionInfo"]["requeueCount"] == 0
    bench.check()


@pytest.mark.parametrize("back_s", [31, 10 * MINUTE_S, 30 * HOUR_S])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_clock_that_is_set_back_stops_nothing(bench, back_s, restarts):
    need_not_last(bench)
    add_scaling_pool(bench, KNOWN, "PT5M")
    bench.advance(HOUR_S + 17)
    count = len(evaluations(bench))
    if restarts:
        bench.world.advance(-back_s)
        bench.restart()
    else:
        set_clock_back(bench, back_s)
    now_us = bench.world.now_us()
    bench.advance(5 * MINUTE_S)
    assert len(evaluations(bench)) in (count + 1, count + 2)
    bench.advance(10 * MINUTE_S)
    newest = evaluations(bench)[-1]
    assert newest.at_us > now_us
    assert newest.variables["known"] == "100"
    times = sample_times(bench)
    assert times == sorted(times)
    assert times[-1] <= bench.world.now_us()
    assert len([at_us for at_us in times if at_us > now_us]) == 30
    bench.check()


def test_a_clock_that_is_set_forward_costs_samples_only(bench):
    need_not_last(bench)
    add_scaling_pool(bench, KNOWN, "PT5M")
    bench.advance(HOUR_S + 17)
    count = len(evaluations(bench))
    bench.world.advance(7 * HOUR_S)
    bench.tick()
    made = evaluations(bench)
    assert len(made) == count + 1
    assert float(made[-1].variables["known"]) <= 10
    bench.advance(10 * MINUTE_S)
    made = evaluations(bench)
    assert len(made) == count + 3
    assert float(made[-1].variables["known"]) >= 90
    bench.check()


@pytest.mark.parametrize("restarts", [False, True])
def test_enabling_again_waits_over_a_restart_too(bench, restarts):
    bench.add_pool(nodes=0)
    body = {"autoScaleFormula": "x = 1;"}
    bench.ask("enable_pool_auto_scale", body, pool_id="p")
    bench.advance(20)
    if restarts:
        bench.restart()
    code = bench.refusal("enable_pool_auto_scale", body, pool_id="p")
    assert code == "TooManyEnableAutoScaleRequests"
    set_clock_back(bench, HOUR_S)  # whoever waits for an hour waits for nothing
    bench.ask("enable_pool_auto_scale", body, pool_id="p")


def test_evaluations_are_listed_page_by_page(bench):
    add_scaling_pool(bench, "x = 1; $TargetDedicatedNodes = x;", "PT5M")
    bench.advance(11 * MINUTE_S)
    bench.ask("enable_pool_auto_scale", {"autoScaleFormula": "y = $nothing;"}, pool_id="p")
    first = bench.ask("list_pool_evaluations", pool_id="p")
    assert "odata.nextLink" not in first
    newest, *others = first["value"]
    assert newest["formula"] == "y = $nothing;"
    assert newest["error"]["code"] == "AutoScalingFormulaEvaluationError"
    assert newest["variables"] == {}
    assert newest["targetDedicatedNodes"] == 1
    for one in others:
        assert one["variables"] == {"x": "1"}
        assert (one["targetDedicatedNodes"], one["targetLowPriorityNodes"]) == (1, 0)
        assert one["results"].endswith(";x=1")
        assert one["readings"]["$PendingTasks"] == 0
        assert "error" not in one
    times = [parse_timestamp(one["timestamp"]) for one in first["value"]]
    assert times == sorted(times, reverse=True)
    pages, query = [], {"maxresults": "3"}
    while True:
        page = bench.ask("list_pool_evaluations", query=query, pool_id="p")
        pages += page["value"]
        if "odata.nextLink" not in page:
            break
        token = page["odata.nextLink"].partition("$skiptoken=")[2].partition("&")[0]
        query = {"maxresults": "3", "skiptoken": token}
    assert pages == first["value"]
    assert bench.refusal("list_pool_evaluations", pool_id="none") == "PoolNotFound"
    query = {"skiptoken": "bm8"}
    code = bench.refusal("list_pool_evaluations", query=query, pool_id="p")
    assert code == "InvalidQueryParameterValue"
