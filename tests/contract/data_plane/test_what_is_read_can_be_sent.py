"""Clients send back what they read: whole entities, with members that only the service writes."""

from __future__ import annotations

import pytest

from .conftest import MACHINE, add_task, fresh, wait_task
from .raw_http import check_error


def test_a_job_as_it_was_shown(raw, batch, job):
    add_task(batch, job, "t")
    shown = raw("GET", f"/jobs/{job}").json
    shown["priority"] = 4
    assert raw("PUT", f"/jobs/{job}", shown).status == 200
    again = raw("GET", f"/jobs/{job}").json
    for name in ("eTag", "lastModified"):
        shown.pop(name), again.pop(name)
    assert again == shown


def test_a_new_job_from_an_old_one(raw, lone_job):
    shown = raw("GET", f"/jobs/{lone_job}").json
    shown["id"] = fresh("copied")
    assert raw("POST", "/jobs", shown).status == 201
    copied = raw("GET", f"/jobs/{shown['id']}").json
    assert copied["poolInfo"] == shown["poolInfo"]
    assert copied["constraints"] == shown["constraints"]


def test_a_completed_task_in_another_job(raw, batch, job, lone_job):
    add_task(batch, job, "t", "/bin/false")
    wait_task(batch, job, "t")
    shown = raw("GET", f"/jobs/{job}/tasks/t").json
    assert raw("POST", f"/jobs/{lone_job}/tasks", shown).status == 201
    shown["id"] = "u"
    reply = raw("POST", f"/jobs/{lone_job}/addtaskcollection", {"value": [shown]})
    assert reply.json["value"][0]["status"] == "success", reply.body
    for task_id in ("t", "u"):
        copied = raw("GET", f"/jobs/{lone_job}/tasks/{task_id}").json
        assert copied["state"] == "active"
        assert copied["executionInfo"] == {"retryCount": 0, "requeueCount": 0}
        assert "nodeInfo" not in copied
        assert copied["url"].endswith(f"/jobs/{lone_job}/tasks/{task_id}")


def test_a_task_as_it_was_shown(raw, batch, lone_job):
    add_task(batch, lone_job, "t")
    shown = raw("GET", f"/jobs/{lone_job}/tasks/t").json
    assert raw("PUT", f"/jobs/{lone_job}/tasks/t", shown).status == 200
    again = raw("GET", f"/jobs/{lone_job}/tasks/t").json
    for name in ("eTag", "lastModified"):
        shown.pop(name), again.pop(name)
    assert again == shown


def test_a_new_pool_from_an_old_one(raw, pool):
    shown = raw("GET", f"/pools/{pool}").json
    shown["id"] = fresh("copied")
    shown["targetDedicatedNodes"] = 0
    assert raw("POST", "/pools", shown).status == 201
    copied = raw("GET", f"/pools/{shown['id']}").json
    assert copied["currentDedicatedNodes"] == 0
    assert copied["virtualMachineConfiguration"] == shown["virtualMachineConfiguration"]
    assert copied["taskSlotsPerNode"] == shown["taskSlotsPerNode"]
    image = copied["virtualMachineConfiguration"]["imageReference"]
    assert image["offer"] == MACHINE.image_reference.offer


@pytest.mark.parametrize("old", ["2022-10-01.16.0", "2024-02-01.19.0"])
def test_members_of_older_versions(raw, old):
    pool_id = fresh("old")
    body = {
        "id": pool_id,
        "vmSize": "STANDARD_D2_v2",
        "virtualMachineConfiguration": {
            "imageReference": {"publisher": "p", "offer": "o", "sku": "s"},
            "nodeAgentSKUId": "batch.node.ubuntu 24.04",
        },
        "targetNodeCommunicationMode": "simplified",
        "certificateReferences": [],
        "maxTasksPerNode": 2,
    }
    assert raw("POST", "/pools", body, version=old).status == 201
    shown = raw("GET", f"/pools/{pool_id}", version=old).json
    assert shown["taskSlotsPerNode"] == 2


def test_a_pool_has_no_identity_to_give(raw):
    identity = {"type": "UserAssigned", "userAssignedIdentities": []}
    for method, path in (("POST", "/pools"), ("PATCH", "/pools/none")):
        body = {"id": fresh("p"), "vmSize": "standard_d2_v2", "identity": identity}
        reply = raw(method, path, body)
        check_error(reply, 400, "UnsupportedProperty")
        assert reply.values["PropertyName"] == "identity"


def test_only_what_the_service_writes_is_ignored(raw, lone_job):
    shown = raw("GET", f"/jobs/{lone_job}").json | {"Priority": 3}
    reply = raw("PUT", f"/jobs/{lone_job}", shown)
    check_error(reply, 400, "UnsupportedProperty")
    assert reply.values["PropertyName"] == "Priority"
