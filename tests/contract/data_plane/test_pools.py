"""Pools: create, show, patch, replace, delete; every header of a success."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import (
    ResourceExistsError,
    ResourceNotFoundError,
)

from .conftest import MACHINE, VM_SIZE, create_pool, fresh, until, wait_steady
from .raw_http import check_error
from .success import check_headers, check_moment

IMAGE_SENT = {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"}


def pool_body(pool_id: str, **members: object) -> dict:
    return {
        "id": pool_id,
        "vmSize": VM_SIZE,
        "virtualMachineConfiguration": {
            "imageReference": IMAGE_SENT,
            "nodeAgentSKUId": "batch.node.ubuntu 24.04",
        },
    } | members


FULL = {
    "displayName": "Füll pool ☃",
    "resizeTimeout": "PT10M",
    "targetDedicatedNodes": 0,
    "targetLowPriorityNodes": 0,
    "enableInterNodeCommunication": True,
    "taskSlotsPerNode": 4,
    "taskSchedulingPolicy": {"nodeFillType": "pack"},
    "startTask": {
        "commandLine": "/bin/true",
        "resourceFiles": [{"httpUrl": "http://127.0.0.1:9/x", "filePath": "x"}],
        "environmentSettings": [{"name": "A", "value": "b"}],
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}},
        "maxTaskRetryCount": 3,
        "waitForSuccess": False,
    },
    "userAccounts": [
        {"name": "ann", "password": "hunter2hunter2", "elevationLevel": "nonadmin"},
    ],
    "metadata": [{"name": "a", "value": "1"}, {"name": "ü", "value": ""}],
}


@pytest.fixture
def empty_pool(raw):
    pool_id = fresh("empty")
    assert raw("POST", "/pools", pool_body(pool_id)).status == 201
    return pool_id


def test_create_headers(raw):
    pool_id = fresh("pool")
    reply = raw("POST", "/pools", pool_body(pool_id))
    assert (reply.status, reply.body) == (201, b"")
    url = f"{raw.endpoint}/pools/{pool_id}"
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/pools/{pool_id}", location=url)
    shown = raw("GET", f"/pools/{pool_id}")
    check_headers(shown, etag=True, shown=shown.json)
    assert shown.headers["etag"] == reply.headers["etag"]
    assert shown.headers["last-modified"] == reply.headers["last-modified"]


def test_defaults_are_shown(raw, empty_pool):
    shown = raw("GET", f"/pools/{empty_pool}").json
    for name in (
        "creationTime",
        "lastModified",
        "stateTransitionTime",
        "allocationStateTransitionTime",
    ):
        check_moment(shown.pop(name))
    etag = shown.pop("eTag")
    assert etag.startswith("0x8D")
    assert shown == {
        "odata.metadata": f"{raw.endpoint}/$metadata#pools/@Element",
        "id": empty_pool,
        "url": f"{raw.endpoint}/pools/{empty_pool}",
        "state": "active",
        "allocationState": "steady",
        "vmSize": VM_SIZE,
        "virtualMachineConfiguration": {
            "imageReference": IMAGE_SENT | {"version": "latest"},
            "nodeAgentSKUId": "batch.node.ubuntu 24.04",
        },
        "resizeTimeout": "PT15M",
        "currentDedicatedNodes": 0,
        "currentLowPriorityNodes": 0,
        "targetDedicatedNodes": 0,
        "targetLowPriorityNodes": 0,
        "enableAutoScale": False,
        "enableInterNodeCommunication": False,
        "taskSlotsPerNode": 1,
        "taskSchedulingPolicy": {"nodeFillType": "spread"},
    }


def test_all_that_was_sent_is_shown_except_secrets(raw):
    pool_id = fresh("full")
    assert raw("POST", "/pools", pool_body(pool_id, **FULL)).status == 201
    shown = raw("GET", f"/pools/{pool_id}").json
    expected = dict(FULL)
    expected["userAccounts"] = [{"name": "ann", "elevationLevel": "nonadmin"}]
    assert {name: shown[name] for name in expected} == expected
    assert b"hunter2" not in raw("GET", f"/pools/{pool_id}").body
    listed = raw("GET", f"/pools?$filter=id%20eq%20'{pool_id}'")
    assert b"hunter2" not in listed.body
    assert len(listed.json["value"]) == 1


def test_sdk_reads_what_it_wrote(batch):
    pool_id = fresh("sdk-pool")
    start = m.BatchStartTask(command_line="/bin/true", wait_for_success=False)
    create_pool(
        batch,
        pool_id,
        0,
        display_name="mine",
        resize_timeout=timedelta(minutes=7),
        task_slots_per_node=2,
        task_scheduling_policy=m.BatchTaskSchedulingPolicy(node_fill_type="pack"),
        start_task=start,
        metadata=[m.BatchMetadataItem(name="k", value="v")],
    )
    assert batch.pool_exists(pool_id) is True
    pool = batch.get_pool(pool_id)
    assert pool.id == pool_id
    assert pool.display_name == "mine"
    assert pool.resize_timeout == timedelta(minutes=7)
    assert pool.state == m.BatchPoolState.ACTIVE
    assert pool.allocation_state == m.AllocationState.STEADY
    assert pool.task_slots_per_node == 2
    assert pool.task_scheduling_policy.node_fill_type == m.BatchNodeFillType.PACK
    assert pool.start_task.command_line == "/bin/true"
    assert pool.start_task.wait_for_success is False
    assert pool.metadata == [m.BatchMetadataItem(name="k", value="v")]
    assert pool.virtual_machine_configuration.node_agent_sku_id == MACHINE.node_agent_sku_id


def test_ids_keep_their_case_and_compare_without_it(batch, raw):
    pool_id = fresh("MiXed")
    create_pool(batch, pool_id, 0)
    assert batch.get_pool(pool_id.upper()).id == pool_id
    assert raw("HEAD", f"/pools/{pool_id.lower()}").status == 200
    with pytest.raises(ResourceExistsError) as caught:
        create_pool(batch, pool_id.lower(), 0)
    assert caught.value.error.code == "PoolExists"
    assert "The specified pool already exists" in caught.value.error.message


def test_head(raw, empty_pool):
    reply = raw("HEAD", f"/pools/{empty_pool}")
    assert (reply.status, reply.body) == (200, b"")
    check_headers(reply, etag=True)
    missing = raw("HEAD", f"/pools/{fresh('none')}")
    assert (missing.status, missing.body) == (404, b"")


def test_missing_pools_are_404_everywhere(raw, batch):
    path = f"/pools/{fresh('none')}"
    calls = [
        ("GET", "", None),
        ("PATCH", "", {"metadata": []}),
        ("DELETE", "", None),
        ("POST", "/resize", {"targetDedicatedNodes": 1}),
        ("POST", "/stopresize", None),
        ("POST", "/removenodes", {"nodeList": ["n"]}),
        ("POST", "/updateproperties", UPDATE),
        ("GET", "/nodes", None),
        ("GET", "/nodes/n", None),
        ("GET", "/nodes/n/files", None),
        ("GET", "/nodes/n/files/x", None),
    ]
    for method, rest, body in calls:
        reply = check_error(raw(method, path + rest, body), 404, "PoolNotFound")
        assert "The specified pool does not exist" in reply.json["message"]["value"]
    with pytest.raises(ResourceNotFoundError):
        batch.get_pool(fresh("none"))


UPDATE = {
    "certificateReferences": [],
    "applicationPackageReferences": [],
    "metadata": [{"name": "new", "value": "2"}],
}


def test_patch_keeps_what_it_does_not_name(raw):
    pool_id = fresh("patched")
    raw("POST", "/pools", pool_body(pool_id, **FULL))
    before = raw("GET", f"/pools/{pool_id}")
    reply = raw("PATCH", f"/pools/{pool_id}", {"metadata": [{"name": "x", "value": "y"}]})
    assert (reply.status, reply.body) == (200, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/pools/{pool_id}")
    assert reply.headers["etag"] != before.headers["etag"]
    after = raw("GET", f"/pools/{pool_id}")
    assert after.headers["etag"] == reply.headers["etag"]
    expected = before.json | {"metadata": [{"name": "x", "value": "y"}]}
    for name in ("eTag", "lastModified"):
        expected[name] = after.json[name]
    assert after.json == expected


def test_patch_clears_with_empty_lists_and_replaces_objects_whole(raw):
    pool_id = fresh("patched")
    raw("POST", "/pools", pool_body(pool_id, **FULL))
    start = {"commandLine": "/bin/echo"}
    raw("PATCH", f"/pools/{pool_id}", {"metadata": [], "startTask": start})
    shown = raw("GET", f"/pools/{pool_id}").json
    assert "metadata" not in shown
    assert shown["startTask"] == {
        "commandLine": "/bin/echo",
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}},
        "maxTaskRetryCount": 0,
        "waitForSuccess": True,
    }


def test_an_empty_pool_takes_every_patch(raw, empty_pool):
    changed = {
        "displayName": "later",
        "vmSize": "standard_d4_v2",
        "taskSlotsPerNode": 8,
        "taskSchedulingPolicy": {"nodeFillType": "pack"},
        "enableInterNodeCommunication": True,
    }
    assert raw("PATCH", f"/pools/{empty_pool}", changed).status == 200
    shown = raw("GET", f"/pools/{empty_pool}").json
    assert {name: shown[name] for name in changed} == changed


def test_a_pool_with_nodes_refuses_most_patches(raw, pool):
    before = raw("GET", f"/pools/{pool}").body
    reply = raw("PATCH", f"/pools/{pool}", {"taskSlotsPerNode": 8})
    check_error(reply, 409, "OperationInvalidForCurrentState")
    assert raw("GET", f"/pools/{pool}").body == before


def test_update_properties_replaces(raw):
    pool_id = fresh("replaced")
    raw("POST", "/pools", pool_body(pool_id, **FULL))
    reply = raw("POST", f"/pools/{pool_id}/updateproperties", UPDATE)
    assert (reply.status, reply.body) == (204, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/pools/{pool_id}/updateproperties")
    shown = raw("GET", f"/pools/{pool_id}").json
    assert "startTask" not in shown
    assert shown["metadata"] == UPDATE["metadata"]
    assert shown["displayName"] == FULL["displayName"]


def test_sdk_replaces_and_updates(batch):
    pool_id = fresh("sdk-replaced")
    create_pool(batch, pool_id, 0)
    batch.replace_pool_properties(
        pool_id,
        m.BatchPoolReplaceOptions(
            application_package_references=[],
            metadata=[m.BatchMetadataItem(name="a", value="b")],
            start_task=m.BatchStartTask(command_line="/bin/true"),
        ),
    )
    batch.update_pool(pool_id, m.BatchPoolUpdateOptions(display_name="d"))
    pool = batch.get_pool(pool_id)
    assert (pool.display_name, pool.start_task.command_line) == ("d", "/bin/true")
    assert pool.metadata[0].name == "a"


def test_delete_is_seen_at_once_and_ends_in_404(batch, raw):
    pool_id = fresh("deleted")
    create_pool(batch, pool_id, 1)
    wait_steady(batch, pool_id)
    reply = raw("DELETE", f"/pools/{pool_id}")
    assert (reply.status, reply.body) == (202, b"")
    check_headers(reply)
    again = raw("GET", f"/pools/{pool_id}")
    assert again.status == 404 or again.json["state"] == "deleting"
    if again.status == 200:
        for method, path, body in (
            ("DELETE", "", None),
            ("PATCH", "", {"metadata": []}),
            ("POST", "/resize", {"targetDedicatedNodes": 1}),
            ("POST", "/stopresize", None),
        ):
            refused = raw(method, f"/pools/{pool_id}{path}", body)
            assert refused.code in ("PoolBeingDeleted", "PoolNotFound")
    until(lambda: raw("GET", f"/pools/{pool_id}").status == 404)
    create_pool(batch, pool_id, 0)
    assert batch.get_pool(pool_id).state == "active"


def test_sdk_delete_poller(batch):
    pool_id = fresh("polled")
    create_pool(batch, pool_id, 1)
    poller = batch.begin_delete_pool(pool_id, polling_interval=0.05)
    assert poller.result() is None
    assert poller.status() == "Succeeded"
    with pytest.raises(ResourceNotFoundError):
        batch.get_pool(pool_id)


@pytest.mark.parametrize(
    ("members", "code", "named"),
    [
        ({"id": "a b"}, "InvalidPropertyValue", "id"),
        ({"id": ""}, "InvalidPropertyValue", "id"),
        ({"id": "x" * 65}, "InvalidPropertyValue", "id"),
        ({"displayName": "x" * 1025}, "InvalidPropertyValue", "displayName"),
        ({"resizeTimeout": "PT4M"}, "InvalidPropertyValue", "resizeTimeout"),
        ({"resizeTimeout": "soon"}, "InvalidPropertyValue", "resizeTimeout"),
        ({"targetDedicatedNodes": -1}, "InvalidPropertyValue", "targetDedicatedNodes"),
        ({"targetDedicatedNodes": "two"}, "InvalidPropertyValue", "targetDedicatedNodes"),
        ({"taskSlotsPerNode": 0}, "InvalidPropertyValue", "taskSlotsPerNode"),
        ({"taskSlotsPerNode": 257}, "InvalidPropertyValue", "taskSlotsPerNode"),
        ({"metadata": [{"name": "", "value": ""}]}, "EmptyMetadataKey", None),
        ({"startTask": {}}, "MissingRequiredProperty", "startTask.commandLine"),
        ({"surprise": 1}, "UnsupportedProperty", "surprise"),
        ({"taskSchedulingPolicy": {"nodeFillType": "tight"}}, "InvalidPropertyValue", None),
    ],
)
def test_wrong_pools_are_refused_and_not_made(raw, members, code, named):
    body = pool_body(fresh("wrong"), **members)
    reply = check_error(raw("POST", "/pools", body), 400, code)
    if named is not None:
        assert reply.values["PropertyName"] == named
    if body["id"]:
        assert raw("GET", f"/pools/{body['id'].replace(' ', '%20')}").status == 404


@pytest.mark.parametrize("name", ["id", "vmSize"])
def test_required_members(raw, name):
    body = pool_body(fresh("wrong"))
    del body[name]
    reply = check_error(raw("POST", "/pools", body), 400, "MissingRequiredProperty")
    assert reply.values == {"PropertyName": name, "Reason": "The property must be given."}


def test_numbers_as_strings_and_enums_in_any_case(raw):
    pool_id = fresh("lenient")
    body = pool_body(
        pool_id,
        targetDedicatedNodes="0",
        taskSlotsPerNode="2",
        taskSchedulingPolicy={"nodeFillType": "Pack"},
        resizeTimeout="PT00H15M00S",
        metadata=None,
    )
    assert raw("POST", "/pools", body).status == 201
    shown = raw("GET", f"/pools/{pool_id}").json
    assert shown["taskSlotsPerNode"] == 2
    assert shown["taskSchedulingPolicy"] == {"nodeFillType": "pack"}
    assert shown["resizeTimeout"] == "PT15M"
    assert "metadata" not in shown


PACKAGES = {"applicationPackageReferences": [{"applicationId": "blender"}]}


def test_unknown_application_packages_are_409(raw, empty_pool):
    pool_id = fresh("packaged")
    code = "InvalidApplicationPackageReferences"
    check_error(raw("POST", "/pools", pool_body(pool_id, **PACKAGES)), 409, code)
    assert raw("GET", f"/pools/{pool_id}").status == 404
    path = f"/pools/{empty_pool}"
    before = raw("GET", path).body
    check_error(raw("PATCH", path, PACKAGES), 409, code)
    check_error(raw("POST", f"{path}/updateproperties", UPDATE | PACKAGES), 409, code)
    assert raw("GET", path).body == before


def test_the_size_is_shown_as_it_was_sent(raw, batch):
    pool_id = fresh("sized")
    body = pool_body(pool_id, vmSize="STANDARD_D2_V3", targetDedicatedNodes=1)
    assert raw("POST", "/pools", body).status == 201
    assert raw("GET", f"/pools/{pool_id}").json["vmSize"] == "STANDARD_D2_V3"
    (node,) = wait_steady(batch, pool_id)
    assert node.vm_size == "standard_d2_v3"
    assert raw("DELETE", f"/pools/{pool_id}").status == 202
