"""What pools with and without a containerConfiguration take; no container runs here."""

from __future__ import annotations

import pytest

from .conftest import VM_SIZE, fresh
from .raw_http import check_error

MACHINE = {
    "imageReference": {"publisher": "p", "offer": "o", "sku": "s", "version": "latest"},
    "nodeAgentSKUId": "batch.node.ubuntu 24.04",
}
CONTAINERS = {
    "containerConfiguration": {
        "type": "dockerCompatible",
        "containerImageNames": ["busybox"],
        "containerRegistries": [{"username": "me", "password": "pa55", "registryServer": "r.io"}],
    }
}
SETTINGS = {"containerSettings": {"imageName": "busybox"}}
START = {"startTask": {"commandLine": "/bin/true"}}


def pool_of(**members):
    return {"id": fresh("ruled"), "vmSize": VM_SIZE} | members


@pytest.fixture(scope="module", params=[True, False], ids=["containers", "plain"])
def ruled(raw, request):
    """An empty pool, and whether it has containers."""
    machine = MACHINE | (CONTAINERS if request.param else {})
    body = pool_of(virtualMachineConfiguration=machine)
    assert raw("POST", "/pools", body).status == 201
    yield body["id"], request.param
    raw("DELETE", f"/pools/{body['id']}")


def refused(reply, name):
    check_error(reply, 400, "InvalidPropertyValue")
    assert reply.values["PropertyName"] == name


def test_ordinary_tasks(raw, ruled):
    pool_id, has_containers = ruled
    job_id = fresh("ruled-job")
    assert raw("POST", "/jobs", {"id": job_id, "poolInfo": {"poolId": pool_id}}).status == 201
    right, wrong = (SETTINGS, {}) if has_containers else ({}, SETTINGS)
    tasks = f"/jobs/{job_id}/tasks"
    assert raw("POST", tasks, {"id": "r", "commandLine": "x"} | right).status == 201
    refused(raw("POST", tasks, {"id": "w", "commandLine": "x"} | wrong), "containerSettings")
    several = [{"id": name, "commandLine": "x"} for name in "ab"]
    reply = raw(
        "POST",
        f"/jobs/{job_id}/addtaskcollection",
        {"value": [several[0] | right, several[1] | wrong]},
    )
    statuses = [one["status"] for one in reply.json["value"]]
    assert statuses == ["success", "clienterror"]
    assert reply.json["value"][1]["error"]["code"] == "InvalidPropertyValue"
    raw("DELETE", f"/jobs/{job_id}")


@pytest.mark.parametrize("noun", ["jobManagerTask", "jobPreparationTask", "jobReleaseTask"])
@pytest.mark.parametrize("asks", [True, False])
def test_special_tasks_of_jobs(raw, ruled, noun, asks):
    pool_id, has_containers = ruled
    task = {"commandLine": "x"} | (SETTINGS if asks else {})
    if noun != "jobPreparationTask":
        task["id"] = "special"
    body = {"id": fresh("ruled-job"), "poolInfo": {"poolId": pool_id}, noun: task}
    if noun == "jobReleaseTask":
        body["jobPreparationTask"] = {"commandLine": "x"}
    reply = raw("POST", "/jobs", body)
    must_not = asks and not has_containers
    must = noun == "jobManagerTask" and has_containers and not asks
    if must or must_not:
        refused(reply, f"{noun}.containerSettings")
        assert raw("GET", f"/jobs/{body['id']}").status == 404
    else:
        assert reply.status == 201
        raw("DELETE", f"/jobs/{body['id']}")


@pytest.mark.parametrize("asks", [True, False])
def test_start_tasks(raw, ruled, asks):
    pool_id, has_containers = ruled
    start = {"startTask": START["startTask"] | (SETTINGS if asks else {})}
    reply = raw("PATCH", f"/pools/{pool_id}", start)
    if asks and not has_containers:
        refused(reply, "startTask.containerSettings")
        assert "startTask" not in raw("GET", f"/pools/{pool_id}").json
    else:
        assert reply.status == 200
        machine = raw("GET", f"/pools/{pool_id}").json["virtualMachineConfiguration"]
        assert ("containerConfiguration" in machine) is has_containers
        lists = ("metadata", "applicationPackageReferences", "certificateReferences")
        body = {name: [] for name in lists}
        assert raw("POST", f"/pools/{pool_id}/updateproperties", body).status == 204


def test_a_start_task_in_a_container_needs_a_pool_with_them(raw):
    body = pool_of(virtualMachineConfiguration=MACHINE)
    body["startTask"] = START["startTask"] | SETTINGS
    refused(raw("POST", "/pools", body), "startTask.containerSettings")
    auto = {"poolLifetimeOption": "job", "pool": {k: v for k, v in body.items() if k != "id"}}
    job = {"id": fresh("ruled-job"), "poolInfo": {"autoPoolSpecification": auto}}
    name = "poolInfo.autoPoolSpecification.pool.startTask.containerSettings"
    refused(raw("POST", "/jobs", job), name)


def test_passwords_of_registries_are_not_shown(raw, ruled):
    pool_id, has_containers = ruled
    machine = raw("GET", f"/pools/{pool_id}").json["virtualMachineConfiguration"]
    if has_containers:
        (registry,) = machine["containerConfiguration"]["containerRegistries"]
        assert registry == {"username": "me", "registryServer": "r.io"}


def test_a_bind_mount_names_its_source(raw, lone_job):
    mounts = {"containerHostBatchBindMounts": [{"isReadOnly": True}]}
    task = {"id": "m", "commandLine": "x", "containerSettings": {"imageName": "b"} | mounts}
    reply = raw("POST", f"/jobs/{lone_job}/tasks", task)
    check_error(reply, 400, "MissingRequiredProperty")
    name = "containerSettings.containerHostBatchBindMounts[0].source"
    assert reply.values["PropertyName"] == name
