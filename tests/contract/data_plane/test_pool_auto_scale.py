"""Pools that scale by a formula: enable, evaluate, disable, and what they then do by themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError

from lote.cli.ready import exports
from lote.cli.service import temporary_service

from .conftest import (
    MACHINE,
    VM_SIZE,
    add_task,
    create_pool,
    fresh,
    new_client,
    until,
    wait_steady,
    wait_task,
)
from .raw_http import check_error
from .success import check_headers

QUICK = {"polling_interval": 0.02}
IDLE = "$TargetDedicatedNodes = 0;"
FIVE_MINUTES = timedelta(minutes=5)


def create_scaling_pool(batch, pool_id, formula=IDLE, **members):
    batch.create_pool(
        m.BatchPoolCreateOptions(
            id=pool_id,
            vm_size=VM_SIZE,
            virtual_machine_configuration=MACHINE,
            enable_auto_scale=True,
            auto_scale_formula=formula,
            **members,
        )
    )


def enable(batch, pool_id, formula=None, interval=None):
    options = m.BatchPoolEnableAutoScaleOptions(
        auto_scale_formula=formula, auto_scale_evaluation_interval=interval
    )
    batch.enable_pool_auto_scale(pool_id, options)


def evaluate(batch, pool_id, formula):
    options = m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
    return batch.evaluate_pool_auto_scale(pool_id, options)


@pytest.fixture
def empty(batch):
    """A pool without nodes, sized by hand; gone after the test."""
    pool_id = fresh("scales")
    create_pool(batch, pool_id, 0)
    yield pool_id
    batch.begin_delete_pool(pool_id, **QUICK)


@pytest.fixture
def scaling(batch):
    """A pool that its formula keeps empty; gone after the test."""
    pool_id = fresh("scaling")
    create_scaling_pool(batch, pool_id)
    yield pool_id
    batch.begin_delete_pool(pool_id, **QUICK)


def test_a_pool_is_created_with_a_formula(batch):
    pool_id = fresh("formula")
    before = datetime.now(UTC) - timedelta(seconds=1)
    formula = "workers = 1; $TargetDedicatedNodes = workers;"
    create_scaling_pool(batch, pool_id, formula, auto_scale_evaluation_interval=FIVE_MINUTES)
    pool = batch.get_pool(pool_id)
    assert pool.enable_auto_scale
    assert pool.auto_scale_formula == formula
    assert pool.auto_scale_evaluation_interval == FIVE_MINUTES
    assert pool.target_dedicated_nodes == 1
    assert before < pool.auto_scale_run.timestamp
    assert pool.auto_scale_run.error is None
    assert pool.auto_scale_run.results == (
        "$TargetDedicatedNodes=1;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;"
        "workers=1"
    )
    assert len(wait_steady(batch, pool_id)) == 1
    batch.begin_delete_pool(pool_id, **QUICK)


def test_enabling_is_seen_at_once(batch, raw, empty):
    before = raw("GET", f"/pools/{empty}").headers["etag"]
    enable(batch, empty, "$TargetDedicatedNodes = 1;", FIVE_MINUTES)
    pool = batch.get_pool(empty)
    assert raw("GET", f"/pools/{empty}").headers["etag"] != before
    assert (pool.enable_auto_scale, pool.target_dedicated_nodes) == (True, 1)
    assert pool.auto_scale_run.results.startswith("$TargetDedicatedNodes=1;")
    assert len(wait_steady(batch, empty)) == 1


def test_the_interval_is_15_minutes_unless_given(batch, empty):
    enable(batch, empty, IDLE)
    assert batch.get_pool(empty).auto_scale_evaluation_interval == timedelta(minutes=15)


def test_enable_answer(raw, empty):
    reply = raw("POST", f"/pools/{empty}/enableautoscale", {"autoScaleFormula": IDLE})
    assert (reply.status, reply.body) == (200, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/pools/{empty}/enableautoscale")
    assert raw("GET", f"/pools/{empty}").headers["etag"] == reply.headers["etag"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MissingRequiredProperty"),
        ({"autoScaleFormula": ""}, "InvalidPropertyValue"),
        ({"autoScaleFormula": "x = 1 y = 2;"}, "AutoScalingFormulaSyntaxError"),
        ({"autoScaleFormula": "x = 5 % 2;"}, "AutoScalingFormulaSyntaxError"),
        ({"autoScaleFormula": "x" * 8193}, "AutoScaleFormulaTooLong"),
        (
            {"autoScaleFormula": IDLE, "autoScaleEvaluationInterval": "PT4M59S"},
            "InvalidPropertyValue",
        ),
        (
            {"autoScaleFormula": IDLE, "autoScaleEvaluationInterval": "P7DT1S"},
            "InvalidPropertyValue",
        ),
        ({"autoScaleFormula": IDLE, "else": 1}, "UnsupportedProperty"),
    ],
)
def test_a_wrong_enable_changes_nothing(raw, empty, body, code):
    before = raw("GET", f"/pools/{empty}").body
    check_error(raw("POST", f"/pools/{empty}/enableautoscale", body), 400, code)
    assert raw("GET", f"/pools/{empty}").body == before


def test_a_syntax_error_names_its_place(raw, empty):
    body = {"autoScaleFormula": "x = 1;\ny = ;"}
    reply = raw("POST", f"/pools/{empty}/enableautoscale", body)
    (value,) = reply.json["values"]
    assert value["key"] == "Message"
    assert value["value"].startswith("Line 2, Col 5: ")


def test_a_second_enable_within_half_a_minute_is_refused(raw, empty):
    path = f"/pools/{empty}/enableautoscale"
    assert raw("POST", path, {"autoScaleFormula": IDLE}).status == 200
    reply = raw("POST", path, {"autoScaleFormula": IDLE})
    check_error(reply, 503, "TooManyEnableAutoScaleRequests")
    assert 1 <= int(reply.headers["retry-after"]) <= 31


def test_a_formula_for_a_pool_that_is_being_resized(batch, gate):
    pool_id, job_id = fresh("draining"), fresh("draining-job")
    create_pool(batch, pool_id, 1)
    wait_steady(batch, pool_id)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id)))
    add_task(batch, job_id, "t", gate.waits)
    wait_task(batch, job_id, "t", "running")
    drain = m.BatchPoolResizeOptions(
        target_dedicated_nodes=0, node_deallocation_option="taskcompletion"
    )
    poller = batch.begin_resize_pool(pool_id, drain, **QUICK)
    with pytest.raises(ResourceExistsError) as caught:
        enable(batch, pool_id, IDLE)
    assert caught.value.error.code == "PoolBeingResized"
    gate.open()
    poller.result()
    batch.begin_delete_job(job_id, **QUICK)
    batch.begin_delete_pool(pool_id, **QUICK)


def test_a_pool_that_scales_is_not_resized_by_hand(batch, scaling):
    options = m.BatchPoolResizeOptions(target_dedicated_nodes=1)
    with pytest.raises(ResourceExistsError) as caught:
        batch.begin_resize_pool(scaling, options, **QUICK)
    assert caught.value.error.code == "OperationNotValidOnPool"


def test_disabling_keeps_the_targets_and_the_etag(batch, raw, scaling):
    before = raw("GET", f"/pools/{scaling}").headers["etag"]
    reply = raw("POST", f"/pools/{scaling}/disableautoscale")
    assert (reply.status, reply.body, reply.headers["etag"]) == (200, b"", before)
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/pools/{scaling}/disableautoscale")
    batch.disable_pool_auto_scale(scaling)  # once more does no harm
    pool = batch.get_pool(scaling)
    assert (pool.enable_auto_scale, pool.target_dedicated_nodes) == (False, 0)
    assert pool.auto_scale_formula is None
    assert pool.auto_scale_evaluation_interval is None
    assert pool.auto_scale_run is None
    batch.begin_resize_pool(
        scaling, m.BatchPoolResizeOptions(target_dedicated_nodes=1), **QUICK
    ).result()
    assert batch.get_pool(scaling).current_dedicated_nodes == 1


def test_evaluate_shows_and_changes_nothing(batch, raw, scaling):
    before = raw("GET", f"/pools/{scaling}").body
    run = evaluate(batch, scaling, "$TargetDedicatedNodes = 3; x = $ActiveTasks.Count() > 0;")
    assert run.results == (
        "$TargetDedicatedNodes=3;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue;x=1"
    )
    assert run.error is None
    assert datetime.now(UTC) - run.timestamp < timedelta(minutes=1)
    assert raw("GET", f"/pools/{scaling}").body == before


def test_evaluate_answer(raw, scaling):
    path = f"/pools/{scaling}/evaluateautoscale"
    reply = raw("POST", path, {"autoScaleFormula": "$something_useless"})
    assert reply.status == 200
    check_headers(reply, service_id=f"{raw.endpoint}{path}")
    name = "Microsoft.Azure.Batch.Protocol.Entities.AutoScaleRun"
    assert reply.json["odata.metadata"] == f"{raw.endpoint}/$metadata#{name}"
    assert reply.json["results"] == (
        "$TargetDedicatedNodes=0;$TargetLowPriorityNodes=0;$NodeDeallocationOption=requeue"
    )
    error = reply.json["error"]
    assert error["code"] == "AutoScalingFormulaEvaluationError"
    assert error["values"][0]["name"] == "Message"
    assert error["values"][0]["value"].startswith("Line 1, Col 1: ")


@pytest.mark.parametrize(
    ("formula", "code"),
    [
        ("x = ;", "AutoScalingFormulaSyntaxError"),
        ("$TargetDedicatedNodes = -1;", "AutoScalingFormulaEvaluationError"),
        ("x = $CPUPercent.GetSample(TimeInterval_Day, 70);", "InsufficientSampleData"),
    ],
)
def test_evaluate_answers_200_with_the_error_inside(batch, scaling, formula, code):
    assert evaluate(batch, scaling, formula).error.code == code


def test_evaluate_needs_a_pool_that_scales(batch, empty):
    with pytest.raises(ResourceExistsError) as caught:
        evaluate(batch, empty, IDLE)
    assert caught.value.error.code == "OperationNotValidOnPool"


def test_evaluations_are_kept_and_listed(batch, raw, scaling, service):
    """``list_pool_evaluations`` is ours; the terminal has it as ``lote evaluations``."""
    path = f"/pools/{scaling}/evaluations"
    before = raw("GET", path)
    check_headers(before)
    assert before.json["odata.metadata"] == f"{raw.endpoint}/$metadata#evaluations"
    newest = before.json["value"][0]
    assert newest["formula"] == batch.get_pool(scaling).auto_scale_formula
    assert newest["readings"]["$TaskSlotsPerNode"] == 1
    evaluate(batch, scaling, "$TargetDedicatedNodes = 5;")  # changes nothing, so it is not kept
    assert raw("GET", path).json["value"] == before.json["value"]
    check_error(raw("GET", "/pools/none/evaluations"), 404, "PoolNotFound")
    check_error(raw("GET", path + "?maxresults=0"), 400, "OutOfRangeQueryParameterValue")
    variables = {**os.environ, **exports(service)}
    command = [sys.executable, "-m", "lote.main", "evaluations", scaling]
    for more in ([], ["-o", "json"]):
        done = subprocess.run(
            command + more, env=variables, capture_output=True, check=True, timeout=60
        )
        if more:
            assert msgspec.json.decode(done.stdout) == before.json["value"][::-1]
        else:
            lines = done.stdout.decode().splitlines()
            assert lines[-1].startswith(newest["timestamp"][:19])
    failed = subprocess.run(
        [*command[:-1], "none"], env=variables, capture_output=True, check=False, timeout=60
    )
    assert failed.returncode == 1
    assert b"PoolNotFound" in failed.stderr


def test_pools_with_a_formula_are_found_by_it(batch, scaling, empty):
    found = {pool.id for pool in batch.list_pools(filter="enableAutoScale eq true")}
    assert scaling in found
    assert empty not in found


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"enableAutoScale": True}, "MissingRequiredProperty"),
        ({"autoScaleFormula": IDLE}, "InvalidPropertyValue"),
        (
            {"enableAutoScale": True, "autoScaleFormula": IDLE, "targetDedicatedNodes": 1},
            "InvalidPropertyValue",
        ),
        (
            {"enableAutoScale": True, "autoScaleFormula": "x = 1 y"},
            "AutoScalingFormulaSyntaxError",
        ),
    ],
)
def test_a_pool_that_cannot_be_is_not_made(raw, members, code):
    pool_id = fresh("wrong")
    machine = MACHINE.as_dict()
    body = {"id": pool_id, "vmSize": VM_SIZE, "virtualMachineConfiguration": machine} | members
    check_error(raw("POST", "/pools", body), 400, code)
    assert raw("GET", f"/pools/{pool_id}").status == 404


def test_a_pool_follows_its_queue_by_itself(tmp_path, monkeypatch, gate):
    """With intervals of a second, which a setting allows: nodes come for tasks and go again."""
    monkeypatch.setenv("LOTE_SCALE_INTERVAL_MIN_S", "1")
    formula = (
        "$TargetDedicatedNodes = min(2, $PendingTasks); $NodeDeallocationOption = taskcompletion;"
    )
    with temporary_service(tmp_path) as ready, new_client(ready) as batch:
        interval = timedelta(seconds=1)
        create_scaling_pool(batch, "p", formula, auto_scale_evaluation_interval=interval)
        batch.create_job(m.BatchJobCreateOptions(id="j", pool_info=m.BatchPoolInfo(pool_id="p")))
        for number in range(3):
            add_task(batch, "j", f"t{number}", gate.waits)
        until(lambda: batch.get_pool("p").current_dedicated_nodes == 2)
        until(lambda: batch.get_job_task_counts("j").task_counts.running == 2)
        gate.open()
        until(lambda: batch.get_pool("p").current_dedicated_nodes == 0)
        counts = batch.get_job_task_counts("j").task_counts
        assert (counts.succeeded, counts.failed) == (3, 0)
        assert batch.get_pool("p").auto_scale_run.results.startswith("$TargetDedicatedNodes=0;")


def test_a_broken_formula_shows_on_the_pool(batch, empty):
    enable(batch, empty, "$TargetDedicatedNodes = $no_such_variable;")
    pool = batch.get_pool(empty)
    assert pool.auto_scale_run.error.code == "AutoScalingFormulaEvaluationError"
    assert pool.target_dedicated_nodes == 0
    with pytest.raises(HttpResponseError):
        enable(batch, empty)
