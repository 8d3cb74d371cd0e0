"""Clients of older api-versions: what they send is understood, what they read is in their words."""

from __future__ import annotations

import pytest

from .conftest import VM_SIZE, add_task, fresh
from .raw_http import check_error
from .test_certificates import make_certificate

MACHINE = {
    "imageReference": {"publisher": "p", "offer": "o", "sku": "s"},
    "nodeAgentSKUId": "batch.node.ubuntu 24.04",
}
V2018_03, V2018_12 = "2018-03-01.6.1", "2018-12-01.8.0"
V2020_03, V2020_09 = "2020-03-01.11.0", "2020-09-01.12.0"
V2022_10, V2024_02, V2024_07 = "2022-10-01.16.0", "2024-02-01.19.0", "2024-07-01.20.0"
NEWEST, NEWER = "2025-06-01", "2026-10-01"


@pytest.fixture(scope="module")
def certificate(raw):
    """The thumbprint of a certificate there is."""
    made = make_certificate()
    body = {
        "thumbprint": made.thumbprint,
        "thumbprintAlgorithm": "sha1",
        "data": made.cer,
        "certificateFormat": "Cer",
    }
    assert raw("POST", "/certificates", body, version=V2024_02).status == 201
    return made.thumbprint


@pytest.fixture(scope="module")
def old_pool(raw, certificate):
    pool_id = fresh("older")
    body = {
        "id": pool_id,
        "vmSize": VM_SIZE,
        "virtualMachineConfiguration": MACHINE
        | {"dataDisks": [{"lun": 0, "diskSizeGB": 8, "storageAccountType": "Premium_LRS"}]},
        "maxTasksPerNode": "2",
        "startTask": {"commandLine": "/bin/true"},
        "targetNodeCommunicationMode": "Classic",
        "resourceTags": {"a": "b"},
        "certificateReferences": [
            {"thumbprint": certificate, "thumbprintAlgorithm": "SHA1", "visibility": ["StartTask"]}
        ],
        "targetDedicatedNodes": 0,
    }
    assert raw("POST", "/pools", body, version=V2018_03).status == 201
    return pool_id


@pytest.mark.parametrize(
    ("version", "slots", "disk", "mode", "tags", "certificates", "upgrade"),
    [
        (V2018_03, "maxTasksPerNode", "storageAccountType", False, False, True, False),
        (V2020_09, "taskSlotsPerNode", "storageAccountType", False, False, True, False),
        (V2022_10, "taskSlotsPerNode", "storageAccountType", True, False, True, False),
        (V2024_02, "taskSlotsPerNode", "storageAccountType", True, True, True, True),
        (V2024_07, "taskSlotsPerNode", "storageAccountType", True, True, True, True),
        (NEWEST, "taskSlotsPerNode", "managedDisk", False, False, False, True),
        (NEWER, "taskSlotsPerNode", "managedDisk", False, False, False, True),
    ],
)
def test_a_pool_in_every_spelling(
    raw, old_pool, version, slots, disk, mode, tags, certificates, upgrade
):
    assert raw("PATCH", f"/pools/{old_pool}", {"upgradePolicy": {"mode": "Manual"}}).status == 200
    shown = raw("GET", f"/pools/{old_pool}", version=version).json
    assert shown[slots] == 2
    assert ("maxTasksPerNode" in shown) is (slots == "maxTasksPerNode")
    assert ("taskSlotsPerNode" in shown) is (slots == "taskSlotsPerNode")
    (kept,) = shown["virtualMachineConfiguration"]["dataDisks"]
    assert set(kept) == {"lun", "diskSizeGB", disk}
    assert ("targetNodeCommunicationMode" in shown) is mode
    assert ("resourceTags" in shown) is tags
    assert ("certificateReferences" in shown) is certificates
    assert ("upgradePolicy" in shown) is upgrade
    assert shown["startTask"]["waitForSuccess"] is False  # as 2018 had it, in which it was made
    listed = raw("GET", f"/pools?$filter=id eq '{old_pool}'".replace(" ", "%20"), version=version)
    assert listed.json["value"] == [
        {name: value for name, value in shown.items() if name != "odata.metadata"}
    ]


@pytest.mark.parametrize(
    ("version", "name"), [(V2020_03, "maxTasksPerNode"), (NEWEST, "taskSlotsPerNode")]
)
def test_members_are_selected_by_the_name_they_have(raw, old_pool, version, name):
    shown = raw("GET", f"/pools/{old_pool}?$select=id,{name}", version=version).json
    assert shown[name] == 2


def test_a_resize_in_the_words_of_2016(raw, old_pool):
    body = {"targetDedicated": 0}
    assert raw("POST", f"/pools/{old_pool}/resize", body, version="2016-07-01.3.1").status == 202
    shown = raw("GET", f"/pools/{old_pool}", version="2016-07-01.3.1").json
    assert (shown["targetDedicated"], shown["currentDedicated"]) == (0, 0)
    assert "targetLowPriorityNodes" not in shown


@pytest.mark.parametrize("route", ["tasks", "addtaskcollection"])
def test_tasks_of_2018(raw, lone_job, route):
    task = {
        "id": fresh("t"),
        "commandLine": "x",
        "resourceFiles": [{"blobSource": "http://h/a", "filePath": "a"}],
    }
    body = task if route == "tasks" else {"value": [task]}
    reply = raw("POST", f"/jobs/{lone_job}/{route}", body, version=V2018_03)
    assert reply.status == (201 if route == "tasks" else 200), reply.body
    path = f"/jobs/{lone_job}/tasks/{task['id']}"
    old, new = raw("GET", path, version=V2018_03).json, raw("GET", path).json
    assert old["resourceFiles"] == task["resourceFiles"]
    assert new["resourceFiles"] == [{"httpUrl": "http://h/a", "filePath": "a"}]
    assert "requiredSlots" not in old
    assert new["requiredSlots"] == 1
    for shown in (old, new):
        assert shown["constraints"]["retentionTime"] == "P10675199DT2H48M5.4775807S"
    assert raw("PUT", path, {}, version=V2018_12).status == 200
    assert raw("GET", path).json["constraints"]["retentionTime"] == "P7D"


def test_counts_of_tasks(raw, batch, lone_job):
    add_task(batch, lone_job, "t")
    old = raw("GET", f"/jobs/{lone_job}/taskcounts", version=V2020_03).json
    new = raw("GET", f"/jobs/{lone_job}/taskcounts", version=V2020_09).json
    assert old["active"] == new["taskCounts"]["active"] == 1
    assert set(old) == {"odata.metadata", *new["taskCounts"]}


@pytest.mark.parametrize(
    ("version", "unknown"),
    [
        (V2022_10, {"upgradingOS", "deallocated", "deallocating"}),
        (V2024_02, {"deallocated", "deallocating"}),
        (NEWEST, set()),
    ],
)
def test_counts_of_nodes(raw, pool, version, unknown):
    (counts, *_) = raw("GET", "/nodecounts", version=version).json["value"]
    assert {"upgradingOS", "deallocated", "deallocating"} - set(counts["dedicated"]) == unknown


def test_nodes(raw, pool):
    (new, *_) = raw("GET", f"/pools/{pool}/nodes").json["value"]
    path = f"/pools/{pool}/nodes/{new['id']}"
    assert "certificateReferences" not in new
    assert raw("GET", path, version=V2024_07).json["certificateReferences"] == []
    oldest = raw("GET", path, version=V2018_03).json
    assert "virtualMachineInfo" not in oldest
    assert "runningTaskSlotsCount" not in oldest
    shown = raw("GET", f"/pools/{pool}", version=V2024_02).json
    assert shown["targetNodeCommunicationMode"] == "default"
    assert shown["currentNodeCommunicationMode"] == "simplified"


def test_jobs(raw):
    body = {
        "id": fresh("older"),
        "poolInfo": {"poolId": "p"},
        "maxParallelTasks": 3,
        "allowTaskPreemption": True,
    }
    assert raw("POST", "/jobs", body).status == 201
    path = f"/jobs/{body['id']}"
    assert "maxParallelTasks" not in raw("GET", path, version=V2020_09).json
    in_2021 = raw("GET", path, version="2021-06-01.14.0").json
    assert in_2021["maxParallelTasks"] == 3
    assert "allowTaskPreemption" not in in_2021
    assert raw("GET", path, version=NEWEST).json["allowTaskPreemption"] is True


@pytest.mark.parametrize("version", [V2018_03, V2022_10, V2024_02, V2024_07, NEWEST])
def test_a_pool_as_it_was_shown_makes_another(raw, old_pool, version):
    shown = raw("GET", f"/pools/{old_pool}", version=version).json
    shown["id"] = fresh("again")
    reply = raw("POST", "/pools", shown, version=version)
    assert reply.status == 201, reply.body
    again = raw("GET", f"/pools/{shown['id']}", version=version).json
    changing = ("id", "url", "eTag", "lastModified", "creationTime", "stateTransitionTime")
    for name in (*changing, "allocationStateTransitionTime", "odata.metadata"):
        shown.pop(name), again.pop(name)
    assert again == shown


def test_an_unknown_member_is_refused_in_every_version(raw, lone_job):
    for version in (V2018_03, V2024_02, NEWEST):
        body = {"id": "t", "commandLine": "x", "blobSource": "http://h/a"}
        reply = raw("POST", f"/jobs/{lone_job}/tasks", body, version=version)
        check_error(reply, 400, "UnsupportedProperty")
        assert reply.values["PropertyName"] == "blobSource"
