"""What is wrong with a request itself is told before what is wrong with what it names."""

from __future__ import annotations

import pytest

from lote.wire.filters import LIST_FILTERS
from lote.wire.operations import OPERATIONS

from .conftest import fresh
from .raw_http import check_error

PLACES = {
    "{pool_id}": "no-such-pool",
    "{node_id}": "no-such-node",
    "{job_id}": "no-such-job",
    "{task_id}": "t",
    "{job_schedule_id}": "no-such-schedule",
    "{file_path}": "f",
    "{extension_name}": "x",
    "{thumbprint_algorithm}": "sha1",
    "{thumbprint}": "0" * 40,
}
WRONG = {
    "maxresults": ("maxresults=1001", "OutOfRangeQueryParameterValue"),
    "filter": ("$filter=nothing%20eq%20'x'", "InvalidQueryParameterValue"),
    "select": ("$select=id,nothing", "InvalidQueryParameterValue"),
    "expand": ("$expand=everything", "InvalidQueryParameterValue"),
    "force": ("force=maybe", "InvalidQueryParameterValue"),
    "recursive": ("recursive=maybe", "InvalidQueryParameterValue"),
}
OPTIONS = [
    pytest.param(row, *WRONG[option], id=f"{row.name}-{option}")
    for row in OPERATIONS
    for option in sorted(row.query & WRONG.keys())
]


def target(path: str) -> str:
    for place, value in PLACES.items():
        path = path.replace(place, value)
    return path


def test_every_list_with_a_filter_says_which():
    assert {row.name for row in OPERATIONS if "filter" in row.query} == LIST_FILTERS.keys()


@pytest.mark.parametrize(("row", "query", "code"), OPTIONS)
def test_an_option_that_cannot_be(raw, row, query, code):
    version = row.until or row.since or "2025-06-01"
    reply = check_error(raw(row.method, f"{target(row.path)}?{query}", version=version), 400, code)
    assert reply.values["QueryParameterName"].lstrip("$") == query.partition("=")[0].lstrip("$")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("timeout=soon", "InvalidQueryParameterValue"),
        ("timeOut=1.5", "InvalidQueryParameterValue"),
        ("timeout=0", "OutOfRangeQueryParameterValue"),
        ("timeOut=-1", "OutOfRangeQueryParameterValue"),
    ],
)
def test_a_time_to_wait_that_cannot_be(raw, text, code):
    reply = check_error(raw("GET", f"/pools?{text}"), 400, code)
    assert reply.values["QueryParameterName"] == "timeout"


@pytest.mark.parametrize("text", ["timeout=1", "timeOut=30", "timeout=31", "timeout="])
def test_a_time_to_wait(raw, text):
    assert raw("GET", f"/pools?{text}").status == 200


LONG = "x" * 1025
RULES = [
    ("PATCH", "/pools/none", {"displayName": LONG}, "displayName"),
    ("POST", "/pools/none/resize", {"targetDedicatedNodes": -1}, "targetDedicatedNodes"),
    ("POST", "/pools/none/removenodes", {"nodeList": []}, "nodeList"),
    ("POST", "/pools/none/enableautoscale", {"autoScaleEvaluationInterval": "PT1M"},
     "autoScaleEvaluationInterval"),
    ("POST", "/pools/none/nodes/n/users", {"name": "x" * 21}, "name"),
    ("PUT", "/pools/none/nodes/n/users/u", {"expiryTime": "soon"}, "expiryTime"),
    ("POST", "/pools/none/nodes/n/uploadbatchservicelogs",
     {"containerUrl": "x", "startTime": "2024-01-01T00:00:00Z"}, "containerUrl"),
    ("PATCH", "/jobs/none", {"priority": 1001}, "priority"),
    ("PUT", "/jobs/none", {"poolInfo": {"poolId": "p"}, "priority": 1001}, "priority"),
    ("POST", "/jobs/none/tasks", {"id": "a b", "commandLine": "x"}, "id"),
    ("PUT", "/jobs/none/tasks/t", {"constraints": {"maxTaskRetryCount": -2}},
     "constraints.maxTaskRetryCount"),
    ("PATCH", "/jobschedules/none", {"schedule": {"startWindow": "PT1S"}}, "schedule.startWindow"),
    ("PUT", "/jobschedules/none",
     {"schedule": {"startWindow": "PT1S"}, "jobSpecification": {"poolInfo": {"poolId": "p"}}},
     "schedule.startWindow"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "body", "name"), RULES)
def test_a_body_that_breaks_a_rule(raw, method, path, body, name):
    reply = check_error(raw(method, path, body), 400, "InvalidPropertyValue")
    assert reply.values["PropertyName"] == name


def test_packages_of_an_account_without_applications(raw, lone_job):
    task = {
        "id": fresh("t"),
        "commandLine": "x",
        "applicationPackageReferences": [{"applicationId": "blender", "version": "2.0"}],
    }
    reply = raw("POST", f"/jobs/{lone_job}/tasks", task)
    check_error(reply, 409, "InvalidApplicationPackageReferences")
    assert reply.values["PropertyName"] == "applicationPackageReferences[0].applicationId"
    assert reply.values["PropertyValue"] == "blender"


def test_what_only_an_empty_pool_may_change_is_named(raw, pool):
    reply = raw("PATCH", f"/pools/{pool}", {"metadata": [], "taskSlotsPerNode": 1})
    check_error(reply, 409, "OperationInvalidForCurrentState")
    assert reply.values["PropertyName"] == "taskSlotsPerNode"


STALE = {"If-Match": "0x8D0000000000000"}


def test_conditions_of_a_pool_come_last(raw, pool):
    """After what its state, its kind and what is named refuse."""
    slots = {"taskSlotsPerNode": 1}
    reply = raw("PATCH", f"/pools/{pool}", slots, headers=STALE)
    check_error(reply, 409, "OperationInvalidForCurrentState")
    nodes = {"nodeList": ["tvm-none"]}
    reply = raw("POST", f"/pools/{pool}/removenodes", nodes, headers=STALE)
    check_error(reply, 404, "NodeNotFound")
    check_error(raw("POST", f"/pools/{pool}/stopresize", headers=STALE), 412, "ConditionNotMet")
    check_error(
        raw("PATCH", f"/pools/{pool}", {"metadata": []}, headers=STALE), 412, "ConditionNotMet"
    )


def test_conditions_of_a_pool_that_scales_come_last(raw):
    pool_id = fresh("p")
    image = {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"}
    machine = {"imageReference": image, "nodeAgentSKUId": "batch.node.ubuntu 24.04"}
    body = {"id": pool_id, "vmSize": "standard_d2_v2", "virtualMachineConfiguration": machine}
    scaling = {"enableAutoScale": True, "autoScaleFormula": "$TargetDedicatedNodes = 0;"}
    assert raw("POST", "/pools", body | scaling).status == 201
    resize = {"targetDedicatedNodes": 0}
    reply = raw("POST", f"/pools/{pool_id}/resize", resize, headers=STALE)
    check_error(reply, 409, "OperationNotValidOnPool")
    check_error(raw("DELETE", f"/pools/{pool_id}", headers=STALE), 412, "ConditionNotMet")
    assert raw("DELETE", f"/pools/{pool_id}").status == 202


def test_what_only_a_disabled_job_may_change_is_named(raw, lone_job):
    reply = raw("PATCH", f"/jobs/{lone_job}", {"poolInfo": {"poolId": "another"}})
    check_error(reply, 409, "OperationInvalidForCurrentState")
    assert reply.values["PropertyName"] == "poolInfo"
