"""Pools that scale by a formula: when it is evaluated, what it reads, what follows from it."""

from __future__ import annotations

import pytest
from bench import a_pool, depends_on

from lote.engines.script import NodeFate, Script
from lote.server.channel import Callers
from lote.server.handlers.pool import create_pool
from lote.server.handlers.pool_scaling import enable_pool_auto_scale
from lote.server.scaling import INTERVAL_DEFAULT_S
from lote.store.events import list_events
from lote.store.pools import save_pool
from lote.store.scaling import EVALUATIONS_MAX, list_evaluations, list_samples
from lote.wire.formats import format_timestamp
from lote.wire.frames import Samples

MINUTE_S = 60
QUEUE = "$TargetDedicatedNodes = min(4, $PendingTasks); $NodeDeallocationOption = taskcompletion;"
BROKEN = "$TargetDedicatedNodes = $no_such_thing;"
UNHURRIED = Script(fate=lambda order: NodeFate(start_s=0.5))
SLOW = Script(fate=lambda order: NodeFate(start_s=600))


def scaling_pool(formula=QUEUE, interval="PT5M", **given):
    members = {
        "enableAutoScale": True,
        "autoScaleFormula": formula,
        "autoScaleEvaluationInterval": interval,
    }
    shown = a_pool(**given) | members
    del shown["targetDedicatedNodes"]
    return shown


def add_scaling_pool(bench, formula=QUEUE, interval="PT5M", **given):
    bench.ask("create_pool", scaling_pool(formula, interval, **given))


def enable(bench, formula=None, interval=None, **given):
    body = {"autoScaleFormula": formula, "autoScaleEvaluationInterval": interval}
    body = {name: value for name, value in body.items() if value is not None}
    return bench.ask("enable_pool_auto_scale", body, pool_id="p", **given)


def evaluate(bench, formula):
    return bench.ask("evaluate_pool_auto_scale", {"autoScaleFormula": formula}, pool_id="p")


def read(bench, *names):
    """The present values of variables, as a formula sees them."""
    formula = "".join(f"v{number} = {name};" for number, name in enumerate(names))
    run = evaluate(bench, formula)
    assert "error" not in run, run
    values = dict(part.split("=", 1) for part in run["results"].split(";"))
    return [float(values[f"v{number}"]) for number in range(len(names))]


def kept(bench):
    """The pool's evaluations, the newest first."""
    return list_evaluations(bench.reader, bench.owner.memory.pool_of_id("p").key)


def targets(bench):
    pool = bench.pool()
    return pool["targetDedicatedNodes"], pool["targetLowPriorityNodes"]


def events(bench, kind):
    return [event[3] for event in list_events(bench.reader) if event[1] == kind]


# -- the timetable --------------------------------------------------------------------------


def test_a_new_pool_is_evaluated_before_the_answer(make_bench):
    bench = make_bench(UNHURRIED)
    formula = "$TargetDedicatedNodes = 2; $TargetLowPriorityNodes = 1;"
    started_us = bench.world.now_us()
    bench.ask("create_pool", scaling_pool(formula, "PT10M"), settled=False)
    pool = bench.pool()
    assert targets(bench) == (2, 1)
    assert pool["allocationState"] == "resizing"
    assert (pool["enableAutoScale"], pool["autoScaleFormula"]) == (True, formula)
    assert pool["autoScaleEvaluationInterval"] == "PT10M"
    assert pool["autoScaleRun"] == {
        "timestamp": format_timestamp(started_us),
        "results": "$TargetDedicatedNodes=2;$TargetLowPriorityNodes=1;"
        "$NodeDeallocationOption=requeue",
    }
    bench.advance(1)
    assert bench.node_states() == ["idle"] * 3
    assert bench.pool()["allocationState"] == "steady"
    bench.check()


def test_a_pool_follows_its_queue(bench):
    add_scaling_pool(bench)
    bench.add_job()
    bench.add_tasks(6, seconds=200)
    assert bench.node_states() == []
    bench.advance(5 * MINUTE_S)
    assert bench.node_states() == ["running"] * 4
    bench.advance(10 * MINUTE_S)  # 8 minutes for all tasks, then one evaluation without any
    assert bench.counts()["succeeded"] == 6
    assert (bench.node_states(), targets(bench)) == ([], (0, 0))
    changes = ["0 to 4", "4 to 2", "2 to 0"]
    expected = [f"dedicated {change}, low-priority 0 to 0" for change in changes]
    assert events(bench, "pool_scaled")[::-1] == expected
    bench.check()


def test_evaluations_keep_their_timetable(bench):
    add_scaling_pool(bench, "x = $PendingTasks;")
    first_us = kept(bench)[0].at_us
    bench.advance(30 * MINUTE_S)
    times_s = [(one.at_us - first_us) / 1e6 for one in reversed(kept(bench))]
    assert times_s == [number * 300.0 for number in range(7)]
    bench.check()


def test_a_new_interval_begins_now_and_a_new_formula_keeps_the_timetable(bench):
    add_scaling_pool(bench, "x = 1;", "PT10M")
    base_us = kept(bench)[0].at_us
    bench.advance(4 * MINUTE_S)
    enable(bench, "x = 2;")
    bench.advance(6 * MINUTE_S)
    enable(bench, interval="PT7M")
    bench.advance(8 * MINUTE_S)
    shown = [(round((one.at_us - base_us) / 60e6, 1), one.variables) for one in kept(bench)]
    two = {"x": "2"}
    assert shown == [(17.0, two), (10.0, two), (10.0, two), (4.0, two), (0.0, {"x": "1"})]
    assert bench.pool()["autoScaleEvaluationInterval"] == "PT7M"


def test_the_interval_is_15_minutes_unless_given(bench):
    bench.add_pool(nodes=0)
    enable(bench, "x = 1;")
    assert bench.pool()["autoScaleEvaluationInterval"] == "PT15M"
    bench.advance(INTERVAL_DEFAULT_S - 1)
    assert len(kept(bench)) == 1
    bench.advance(1)
    assert len(kept(bench)) == 2


@pytest.mark.parametrize("interval", ["PT4M59S", "P7DT1S", "PT0S", "soon"])
def test_an_interval_out_of_range(bench, interval):
    bench.add_pool("q", nodes=0)
    assert bench.refusal("create_pool", scaling_pool(interval=interval)) == "InvalidPropertyValue"
    body = {"autoScaleFormula": "x=1;", "autoScaleEvaluationInterval": interval}
    refusal = bench.refusal("enable_pool_auto_scale", body, pool_id="q")
    assert refusal == "InvalidPropertyValue"


def test_the_setting_allows_shorter_intervals(make_bench):
    bench = make_bench(scale_interval_min_s=10)
    add_scaling_pool(bench, "x = $PendingTasks;", "PT10S")
    bench.advance(MINUTE_S)
    assert len(kept(bench)) == 7
    assert bench.refusal("create_pool", scaling_pool(interval="PT9S")) == "InvalidPropertyValue"


# -- enabling and disabling -----------------------------------------------------------------


def test_enabling_on_a_pool_sized_by_hand(make_bench):
    bench = make_bench(UNHURRIED)
    bench.add_pool(nodes=1)
    bench.advance(1)
    assert "autoScaleRun" not in bench.pool()
    enable(bench, "$TargetDedicatedNodes = 3;", "PT5M", settled=False)
    assert bench.pool()["allocationState"] == "resizing"
    bench.advance(1)
    assert bench.node_states() == ["idle"] * 3
    assert bench.refusal("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p") == (
        "OperationNotValidOnPool"
    )
    bench.check()


def test_enabling_takes_a_formula_or_what_is_there(bench):
    bench.add_pool(nodes=0)
    code = bench.refusal("enable_pool_auto_scale", {}, pool_id="p")
    assert code == "MissingRequiredProperty"
    enable(bench, "x = 1;")
    bench.advance(MINUTE_S)
    code = bench.refusal("enable_pool_auto_scale", {}, pool_id="p")
    assert code == "InvalidAutoScalingSettings"


def test_enabling_again_needs_half_a_minute(bench):
    bench.add_pool(nodes=0)
    enable(bench, "x = 1;")
    bench.advance(10)
    body = {"autoScaleFormula": "x = 2;"}
    code = bench.refusal("enable_pool_auto_scale", body, pool_id="p")
    assert code == "TooManyEnableAutoScaleRequests"
    bench.ask("disable_pool_auto_scale", pool_id="p")
    code = bench.refusal("enable_pool_auto_scale", body, pool_id="p")
    assert code == "TooManyEnableAutoScaleRequests"
    bench.advance(20)
    enable(bench, "x = 2;")
    assert kept(bench)[0].variables == {"x": "2"}


def test_enabling_is_refused_during_a_resize(make_bench):
    bench = make_bench(SLOW)
    bench.add_pool(nodes=1)
    body = {"autoScaleFormula": "x = 1;"}
    assert bench.refusal("enable_pool_auto_scale", body, pool_id="p") == "PoolBeingResized"


def test_a_formula_that_cannot_be_read_is_refused_and_nothing_changes(bench):
    bench.add_pool(nodes=0)
    before = bench.pool()
    for text, code in (
        ("x = 1 y = 2;", "AutoScalingFormulaSyntaxError"),
        ("x = 1;" * 101, "AutoScaleFormulaTooLong"),
        ("x" * 8193, "AutoScaleFormulaTooLong"),
    ):
        assert bench.refusal("create_pool", scaling_pool(text, id="q")) == code
        body = {"autoScaleFormula": text}
        assert bench.refusal("enable_pool_auto_scale", body, pool_id="p") == code
    assert bench.pool() == before


def test_a_disabled_pool_keeps_its_targets_and_is_sized_by_hand(bench):
    add_scaling_pool(bench, "$TargetDedicatedNodes = 2;")
    key = bench.owner.memory.pool_of_id("p").key
    assert list_samples(bench.reader, key, 0, 1 << 62)
    bench.ask("disable_pool_auto_scale", pool_id="p")
    pool = bench.pool()
    assert not pool["enableAutoScale"]
    assert not {"autoScaleFormula", "autoScaleEvaluationInterval", "autoScaleRun"} & pool.keys()
    assert targets(bench) == (2, 0)
    assert list_samples(bench.reader, key, 0, 1 << 62) == []
    bench.advance(MINUTE_S * 20)
    assert len(kept(bench)) == 1
    bench.ask("resize_pool", {"targetDedicatedNodes": 1}, pool_id="p")
    assert bench.node_states() == ["idle"]
    bench.ask("disable_pool_auto_scale", pool_id="p")  # harmless
    bench.check()


def test_a_deleted_pool_leaves_nothing_behind(bench):
    add_scaling_pool(bench, "$TargetDedicatedNodes = 2;")
    bench.ask("delete_pool", pool_id="p")
    assert bench.owner.memory.scales == {}
    tables = ("scale_sample", "scale_evaluation")
    counts = [bench.reader.execute(f"SELECT count(*) FROM {one}").fetchone() for one in tables]
    assert counts == [(0,), (0,)]
    bench.advance(20 * MINUTE_S)
    bench.check()


# -- what follows from it -------------------------------------------------------------------


def test_a_formula_that_fails_changes_nothing_and_says_so_once(bench):
    bench.add_pool(nodes=1)
    enable(bench, BROKEN, "PT5M")
    bench.advance(10 * MINUTE_S)
    run = bench.pool()["autoScaleRun"]
    assert run["error"]["code"] == "AutoScalingFormulaEvaluationError"
    assert run["error"]["values"][0]["name"] == "Message"
    assert "Line 1, Col 25" in run["error"]["values"][0]["value"]
    assert run["results"].startswith("$TargetDedicatedNodes=1;")
    assert (targets(bench), bench.node_states()) == ((1, 0), ["idle"])
    assert len(kept(bench)) == 3
    assert len(events(bench, "pool_scaling_failed")) == 1
    enable(bench, "$TargetDedicatedNodes = 0;")
    assert "error" not in bench.pool()["autoScaleRun"]
    assert len(events(bench, "pool_scaling_well")) == 1
    assert bench.node_states() == []


def test_a_pool_grows_while_its_last_resize_still_drains(bench):
    formula = (
        "$TargetDedicatedNodes = $ActiveTasks > 0 ? 2 : 0;$NodeDeallocationOption = taskcompletion;"
    )
    add_scaling_pool(bench, formula)
    bench.add_job()
    bench.add_task("hour", seconds=3600)
    bench.advance(10 * MINUTE_S)  # two nodes come for it, then none waits and all may go
    assert bench.node_states() == ["leavingpool"]
    assert bench.pool()["allocationState"] == "resizing"
    bench.add_tasks(2, seconds=30)
    bench.advance(5.6 * MINUTE_S)
    assert sorted(bench.node_states()) == ["idle", "idle", "leavingpool"]
    assert bench.counts()["succeeded"] == 2
    assert bench.pool()["allocationState"] == "resizing"  # the old node still has its hour
    bench.advance(60 * MINUTE_S)
    assert bench.task("hour")["executionInfo"]["exitCode"] == 0
    assert (bench.node_states(), bench.pool()["allocationState"]) == ([], "steady")
    bench.check()


def test_a_resize_of_a_formula_has_no_time_out_until_autoscale_is_disabled(make_bench):
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=3000)))
    add_scaling_pool(bench, "$TargetDedicatedNodes = 1;", resizeTimeout="PT5M")
    bench.advance(40 * MINUTE_S)
    assert bench.pool()["allocationState"] == "resizing"
    bench.ask("disable_pool_auto_scale", pool_id="p")
    bench.advance(15 * MINUTE_S)
    pool = bench.pool()
    assert pool["allocationState"] == "steady"
    assert [error["code"] for error in pool["resizeErrors"]] == ["AllocationTimedout"]


def test_nodes_that_never_call_are_ordered_anew(make_bench):
    silent = iter([True, False])
    fate = lambda order: NodeFate(start_s=None if next(silent) else 0.0)  # noqa: E731, a script
    bench = make_bench(Script(fate=fate))
    add_scaling_pool(bench, "$TargetDedicatedNodes = 1;")
    bench.advance(15 * MINUTE_S - 1)
    (mute,) = bench.nodes()
    assert mute["state"] == "creating"
    bench.advance(6 * MINUTE_S)
    (node,) = bench.nodes()
    assert (node["state"], bench.pool()["allocationState"]) == ("idle", "steady")
    assert node["id"] != mute["id"]
    bench.check()


def test_a_stopped_resize_ends_though_nodes_never_call(make_bench):
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=None)))
    add_scaling_pool(bench, "$TargetDedicatedNodes = 1;", interval="PT12H")
    bench.advance(3 * 60 * MINUTE_S)
    assert bench.pool()["allocationState"] == "resizing"
    bench.ask("stop_pool_resize", pool_id="p")
    bench.advance(14 * MINUTE_S)
    assert bench.pool()["allocationState"] == "stopping"
    bench.advance(2 * MINUTE_S)
    assert bench.pool()["allocationState"] == "steady"
    codes = [error["code"] for error in bench.pool()["resizeErrors"]]
    assert codes == ["AllocationTimedout", "ResizeStopped"]
    bench.check()


def test_a_stopped_resize_is_left_alone_until_the_next_evaluation(make_bench):
    bench = make_bench(Script(fate=lambda order: NodeFate(start_s=60)))
    add_scaling_pool(bench, "$TargetDedicatedNodes = 2;")
    bench.ask("stop_pool_resize", pool_id="p")
    assert bench.pool()["allocationState"] == "stopping"
    bench.advance(4 * MINUTE_S)
    assert bench.pool()["allocationState"] == "steady"
    bench.advance(6 * MINUTE_S)
    assert bench.node_states() == ["idle"] * 2


def test_a_node_that_was_replaced_is_no_reason_to_resize(bench):
    add_scaling_pool(bench, "$TargetDedicatedNodes = 2;")
    lost = bench.nodes()[0]["id"]
    bench.engine.kill_node(lost)
    bench.advance(10)
    assert bench.node_states() == ["idle", "idle"]
    assert lost not in {node["id"] for node in bench.nodes()}
    before = bench.trail["allocation p"][:]
    bench.advance(20 * MINUTE_S)
    assert bench.trail["allocation p"] == before
    assert bench.pool()["allocationState"] == "steady"
    bench.check()


def test_what_a_quota_kept_back_is_tried_again(make_bench):
    bench = make_bench(dedicated_core_quota=8)  # two nodes of four cores
    bench.add_pool("other", nodes=1)
    add_scaling_pool(bench, "$TargetDedicatedNodes = 2;")
    assert len(bench.nodes()) == 1
    errors = bench.pool()["resizeErrors"]
    assert [error["code"] for error in errors] == ["AccountCoreQuotaReached"]
    bench.ask("delete_pool", pool_id="other")
    bench.advance(5 * MINUTE_S)
    assert len(bench.nodes()) == 2
    assert "resizeErrors" not in bench.pool()


def test_an_evaluation_of_a_formula_that_was_replaced_meanwhile_is_dropped(bench):
    add_scaling_pool(bench, "$TargetDedicatedNodes = 0;")
    body = {"autoScaleFormula": "$TargetDedicated = 7;"}
    first = bench.request("enable_pool_auto_scale", body, pool_id="p")
    bench.owner.call(enable_pool_auto_scale, first)  # ordered, not evaluated yet
    bench.owner.call(lambda tx: save_pool(tx.db, 1, scale_enabled_us=None))  # at once again
    enable(bench, "$TargetDedicatedNodes = 1;")
    assert targets(bench) == (1, 0)
    assert [one.target_dedicated for one in kept(bench)] == [1, 0]
    bench.check()


# -- evaluate -------------------------------------------------------------------------------


def test_evaluate_changes_nothing(bench):
    add_scaling_pool(bench, "x = 1;")
    before, rows = bench.pool(), kept(bench)
    run = evaluate(bench, "$TargetDedicatedNodes = 9; y = 3;")
    metadata = "http://lote.test/$metadata#Microsoft.Azure.Batch.Protocol.Entities.AutoScaleRun"
    assert run.pop("odata.metadata") == metadata
    assert run.pop("timestamp").endswith("Z")
    assert run == {
        "results": "$TargetDedicatedNodes=9;$TargetLowPriorityNodes=0;"
        "$NodeDeallocationOption=requeue;y=3"
    }
    assert (bench.pool(), kept(bench)) == (before, rows)
    bench.check()


@pytest.mark.parametrize(
    ("formula", "code"),
    [
        (BROKEN, "AutoScalingFormulaEvaluationError"),
        ("x = ;", "AutoScalingFormulaSyntaxError"),
        ("x = $PendingTasks.GetSample(TimeInterval_Hour, 90);", "InsufficientSampleData"),
    ],
)
def test_evaluate_tells_what_is_wrong(bench, formula, code):
    add_scaling_pool(bench, "x = 1;")
    run = evaluate(bench, formula)
    assert run["error"]["code"] == code
    assert run["results"].startswith("$TargetDedicatedNodes=0;")


def test_evaluate_is_for_pools_that_scale(bench):
    body = {"autoScaleFormula": "x = 1;"}
    assert bench.refusal("evaluate_pool_auto_scale", body, pool_id="p") == "PoolNotFound"
    bench.add_pool(nodes=0)
    code = bench.refusal("evaluate_pool_auto_scale", body, pool_id="p")
    assert code == "OperationNotValidOnPool"


# -- samples --------------------------------------------------------------------------------


def test_what_formulas_read_of_tasks(bench):
    add_scaling_pool(bench, "$TargetDedicatedNodes = 1;", slots=4)
    bench.add_job(usesTaskDependencies=True)
    bench.add_task("well", seconds=1)
    bench.add_task("badly", seconds=1, exits=3)
    bench.advance(2)
    bench.add_task("wide", slots=3, seconds=600)
    bench.add_task("waits", slots=2, seconds=600)
    bench.add_task("later", slots=4, **depends_on("wide"))  # blocked: no node would help it
    names = ("ActiveTasks", "RunningTasks", "PendingTasks", "SucceededTasks", "FailedTasks")
    names += ("ActiveTaskSlots", "RunningTaskSlots", "PendingTaskSlots", "TaskSlotsPerNode")
    values = read(bench, *(f"${name}" for name in names))
    assert values == [1, 1, 2, 1, 1, 2, 3, 5, 4]
    bench.add_job("done")
    bench.add_task("t", "done", seconds=0.1)
    bench.advance(1)
    bench.ask("terminate_job", job_id="done")
    assert bench.job("done")["state"] == "completed"
    assert read(bench, "$SucceededTasks", "$PendingTasks") == [2, 2]


def test_what_formulas_read_of_nodes(bench):
    add_scaling_pool(bench, "$TargetDedicatedNodes = 2; $TargetLowPriorityNodes = 1;")
    names = ("CurrentDedicatedNodes", "CurrentLowPriorityNodes", "PreemptedNodeCount")
    names += ("UsableNodeCount", "SampleNodeCount")
    assert read(bench, *(f"${name}" for name in names)) == [2, 1, 0, 3, 0]


def test_what_agents_tell_is_averaged_or_summed_while_it_is_fresh(bench):
    add_scaling_pool(bench, "$TargetDedicatedNodes = 2;")
    memory = bench.owner.memory
    callers = Callers(bench.owner, lambda: ("lote", ""), lambda: None)
    names = ("CPUPercent", "MemoryBytes", "DiskBytes", "NetworkInBytes", "SampleNodeCount")
    names = [f"${name}" for name in names]
    assert read(bench, "$CPUPercent", "$CPUPercent.Count()") == [0, 0]
    for node, percent in zip(list(memory.nodes.values()), (20.0, 60.0), strict=True):
        use = Samples(30.0, percent, 500_000_000, 3_000_000_000, 0, 1, 2, 3, 4, 5, 6)
        callers.take(node.key, node.link, [use])
    bench.settle()
    assert read(bench, *names) == [40, 500, 3, 10, 2]
    reads = read(bench, "$DiskReadBytes", "$DiskWriteBytes", "$DiskReadOps", "$DiskWriteOps")
    assert reads == [2, 4, 6, 8]
    bench.advance(2 * MINUTE_S)
    assert read(bench, "$SampleNodeCount") == [0]
    (per_cent,) = read(bench, "$CPUPercent.GetSamplePercent(2 * TimeInterval_Minute)")
    assert 0 < per_cent < 100


def test_a_sample_every_half_minute_and_one_of_this_moment(bench):
    bench.advance(17)
    add_scaling_pool(bench, "x = 1;", "PT5M")
    bench.advance(10 * MINUTE_S)
    key = bench.owner.memory.pool_of_id("p").key
    times = [at_us for at_us, _ in list_samples(bench.reader, key, 0, 1 << 62)]
    assert len(times) == 21
    assert all(at_us % 30_000_000 == 0 for at_us in times[1:])
    window = "10 * TimeInterval_Minute"
    assert read(bench, f"$ActiveTasks.GetSamplePercent({window})", "$ActiveTasks.Count()") == [
        100,
        22,
    ]


def test_pools_sized_by_hand_are_not_sampled(bench):
    bench.add_pool(nodes=1)
    commits = bench.database.commits
    timers = len(bench.owner.memory.timers)
    bench.advance(10 * MINUTE_S)
    assert bench.database.commits - commits < 10
    assert len(bench.owner.memory.timers) <= timers


def test_alarms_do_not_pile_up(bench):
    add_scaling_pool(bench, "x = 1;")
    for number in range(5):
        bench.advance(MINUTE_S)
        enable(bench, f"x = {number};")
    bench.advance(60 * MINUTE_S)
    assert len([timer for timer in bench.owner.memory.timers if timer[1] == "scale"]) <= 2


def test_samples_are_kept_for_as_long_as_the_setting_says(make_bench):
    bench = make_bench(scale_history_s=600)
    add_scaling_pool(bench, "x = 1;")
    bench.advance(30 * MINUTE_S)
    key = bench.owner.memory.pool_of_id("p").key
    assert len(list_samples(bench.reader, key, 0, 1 << 62)) in (20, 21)
    bench.check()


# -- what is kept ---------------------------------------------------------------------------


def test_evaluations_are_kept_with_what_they_saw(bench):
    add_scaling_pool(bench, "wanted = $PendingTasks + 0.5; $TargetDedicatedNodes = wanted;")
    bench.add_job()
    bench.add_tasks(3, seconds=1000)
    bench.advance(5 * MINUTE_S)
    newest, first = kept(bench)
    assert (newest.target_dedicated, first.target_dedicated) == (3, 0)
    assert newest.variables == {"wanted": "3.5"}
    assert newest.readings["$PendingTasks"] == 3
    assert newest.results.endswith("wanted=3.5")
    assert newest.error is None


def test_a_hundred_evaluations_are_kept(make_bench):
    bench = make_bench(scale_interval_min_s=1)
    add_scaling_pool(bench, "x = 1;", "PT1S")
    bench.advance(EVALUATIONS_MAX + 50)
    assert len(kept(bench)) == EVALUATIONS_MAX


def test_a_restart_keeps_samples_and_timetable(bench):
    formula = "x = $ActiveTasks.Count(); $TargetDedicatedNodes = 1;"
    add_scaling_pool(bench, formula)
    bench.advance(9 * MINUTE_S)
    bench.restart()
    bench.check()
    assert bench.pool()["autoScaleFormula"] == formula
    times = [one.at_us for one in kept(bench)]
    bench.advance(2 * MINUTE_S)
    (newest, *rest) = [one.at_us for one in kept(bench)]
    assert (rest, newest - rest[0]) == (times, 300_000_000)
    assert kept(bench)[0].variables["x"] == "21"  # 19 from before the restart


def test_a_first_evaluation_that_a_kill_prevented_is_made_up_for(bench):
    request = bench.request("create_pool", scaling_pool("$TargetDedicatedNodes = 1;"))
    bench.owner.call(create_pool, request)
    assert "autoScaleRun" not in bench.pool()
    bench.restart()
    bench.advance(31)
    assert targets(bench) == (1, 0)
    assert bench.node_states() == ["idle"]
    bench.check()


def test_what_fell_due_while_the_server_was_away_is_made_up_for_once(bench):
    add_scaling_pool(bench, "x = $ActiveTasks.GetSamplePercent(10 * TimeInterval_Minute);")
    bench.advance(10 * MINUTE_S)
    count = len(kept(bench))
    bench.world.advance(62 * MINUTE_S)  # nobody there
    bench.restart()
    assert len(kept(bench)) == count
    bench.advance(31)
    assert len(kept(bench)) == count + 1
    assert float(kept(bench)[0].variables["x"]) < 20  # the time away lacks samples, and says so
    bench.advance(6 * MINUTE_S)
    assert 1 <= len(kept(bench)) - count <= 3


@pytest.mark.parametrize("good", range(0, 24, 2))
def test_a_database_that_fails_costs_an_evaluation_at_most(bench, good):
    add_scaling_pool(bench, "$TargetDedicatedNodes = min(2, $PendingTasks);")
    bench.add_job()
    bench.add_tasks(2, seconds=3000)
    bench.database.break_down(good, times=2)
    bench.advance(12 * MINUTE_S)
    assert bench.node_states() == ["running"] * 2
    bench.check()
