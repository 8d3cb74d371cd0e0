"""Models of the official client with every member set: created, read again, compared deeply."""

from __future__ import annotations

from typing import Any

import pytest
from azure.batch import models as m

from whole_bodies import part, without_secrets

from .conftest import fresh
from .raw_http import check_error

# What the client's models do not know, older api-versions alone have.
V2024_02 = "2024-02-01.19.0"


def compared(sent: dict[str, Any], shown: dict[str, Any]) -> None:
    """Whether all that was sent is shown, secrets apart; what is shown beyond it is not looked at
    here."""
    assert {name: shown.get(name) for name in sent} == without_secrets(sent)


@pytest.fixture(scope="module")
def whole_pool(batch):
    body = part("pool") | {"id": fresh("whole")}
    batch.create_pool(m.BatchPoolCreateOptions(body))
    return body


def test_a_pool(batch, whole_pool):
    compared(whole_pool, batch.get_pool(whole_pool["id"]).as_dict())


def test_a_pool_in_a_list(batch, whole_pool):
    (shown,) = batch.list_pools(filter=f"id eq '{whole_pool['id']}'")
    compared(whole_pool, shown.as_dict())


def test_a_patched_pool(batch, whole_pool):
    pool_id = fresh("patched")
    plain = {name: whole_pool[name] for name in ("vmSize", "virtualMachineConfiguration")}
    batch.create_pool(m.BatchPoolCreateOptions(plain | {"id": pool_id}))
    fixed = {"id", "resizeTimeout", "targetDedicatedNodes", "targetLowPriorityNodes",
             "enableAutoScale"}  # fmt: skip
    changes = {name: value for name, value in whole_pool.items() if name not in fixed}
    batch.update_pool(pool_id, m.BatchPoolUpdateOptions(changes))
    shown = batch.get_pool(pool_id).as_dict()
    compared(changes, shown)
    # what is not given stays
    batch.update_pool(pool_id, m.BatchPoolUpdateOptions({"metadata": []}))
    again = batch.get_pool(pool_id).as_dict()
    assert "metadata" not in again
    del changes["metadata"]
    compared(changes, again)
    # a member that is given replaces the whole of the old one
    batch.update_pool(pool_id, m.BatchPoolUpdateOptions({"startTask": {"commandLine": "x"}}))
    assert batch.get_pool(pool_id).start_task.as_dict() == {
        "commandLine": "x",
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}},
        "maxTaskRetryCount": 0,
        "waitForSuccess": True,
    }


def test_replaced_properties(batch, whole_pool):
    pool_id = fresh("replaced")
    batch.create_pool(m.BatchPoolCreateOptions(whole_pool | {"id": pool_id}))
    replacement = m.BatchPoolReplaceOptions(application_package_references=[], metadata=[])
    batch.replace_pool_properties(pool_id, replacement)
    shown = batch.get_pool(pool_id).as_dict()
    assert {"startTask", "metadata"}.isdisjoint(shown)
    rest = {name: whole_pool[name] for name in whole_pool if name not in ("startTask", "metadata")}
    compared(rest | {"id": pool_id}, shown)


def test_replaced_properties_of_older_versions(raw, whole_pool):
    pool_id = fresh("replaced")
    mode = {"targetNodeCommunicationMode": "classic"}
    body = whole_pool | mode | {"id": pool_id}
    assert raw("POST", "/pools", body, version=V2024_02).status == 201
    lists = {"applicationPackageReferences": [], "metadata": [], "certificateReferences": []}
    path = f"/pools/{pool_id}"
    for given, shown in (({}, "default"), (mode, "classic")):
        reply = raw("POST", path + "/updateproperties", lists | given, version=V2024_02)
        assert reply.status == 204
        found = raw("GET", path, version=V2024_02).json["targetNodeCommunicationMode"]
        assert found == shown
    unknown = {"certificateReferences": [{"thumbprint": "1" * 40, "thumbprintAlgorithm": "sha1"}]}
    for method, rest, sent in (
        ("POST", "/updateproperties", lists | unknown),
        ("PATCH", "", unknown),
    ):
        reply = raw(method, path + rest, sent, version=V2024_02)
        check_error(reply, 409, "InvalidCertificateReferences")


def test_members_of_older_versions(raw, whole_pool):
    older = part("older_pool")
    del older["cloudServiceConfiguration"], older["certificateReferences"]
    body = whole_pool | older | {"id": fresh("older")}
    assert raw("POST", "/pools", body, version=V2024_02).status == 201
    shown = raw("GET", f"/pools/{body['id']}", version=V2024_02).json
    compared(older, shown)
    newest = raw("GET", f"/pools/{body['id']}").json
    assert older.keys().isdisjoint(newest)


def test_a_pool_of_cloud_services(raw):
    body = {
        "id": fresh("cloud"),
        "vmSize": "small",
        "cloudServiceConfiguration": part("older_pool")["cloudServiceConfiguration"],
    }
    assert raw("POST", "/pools", body, version=V2024_02).status == 201
    compared(body, raw("GET", f"/pools/{body['id']}", version=V2024_02).json)
    assert "cloudServiceConfiguration" not in raw("GET", f"/pools/{body['id']}").json


@pytest.fixture(scope="module")
def whole_job(batch):
    body = part("job") | {"id": fresh("whole")}
    batch.create_job(m.BatchJobCreateOptions(body))
    return body


def test_a_job(batch, whole_job):
    shown = batch.get_job(whole_job["id"])
    compared(whole_job, shown.as_dict())
    # as the model was read it is sent back, which changes nothing
    batch.replace_job(whole_job["id"], shown)
    compared(whole_job, batch.get_job(whole_job["id"]).as_dict())


def test_a_patched_job(batch, whole_job):
    job_id = fresh("patched")
    pool_info = {"poolInfo": whole_job["poolInfo"]}
    batch.create_job(m.BatchJobCreateOptions(pool_info | {"id": job_id}))
    names = ("priority", "allowTaskPreemption", "maxParallelTasks", "constraints", "metadata",
             "onAllTasksComplete")  # fmt: skip
    changes = {name: whole_job[name] for name in names}
    batch.update_job(job_id, m.BatchJobUpdateOptions(changes))
    compared(changes, batch.get_job(job_id).as_dict())
    constraints = m.BatchJobConstraints({"maxWallClockTime": "PT1H"})
    batch.update_job(job_id, m.BatchJobUpdateOptions(constraints=constraints))
    changes["constraints"] = {"maxWallClockTime": "PT1H", "maxTaskRetryCount": 0}
    compared(changes, batch.get_job(job_id).as_dict())


def test_a_put_resets_what_it_does_not_give(raw, whole_job):
    body = part("job") | {"id": fresh("reset")}
    assert raw("POST", "/jobs", body).status == 201
    path = f"/jobs/{body['id']}"
    assert raw("PUT", path, {"poolInfo": body["poolInfo"]}).status == 200
    shown = raw("GET", path).json
    compared(
        {
            "displayName": body["displayName"],  # create-only
            "usesTaskDependencies": True,
            "onTaskFailure": body["onTaskFailure"],
            "priority": 0,
            "maxParallelTasks": -1,
            "allowTaskPreemption": False,
            "constraints": {
                "maxWallClockTime": "P10675199DT2H48M5.4775807S",
                "maxTaskRetryCount": 0,
            },
        },
        shown,
    )
    assert "metadata" not in shown


@pytest.mark.parametrize("way", ["one", "collection"])
def test_a_task(batch, whole_job, way):
    body = part("task") | {"id": fresh("whole")}
    model = m.BatchTaskCreateOptions(body)
    if way == "one":
        batch.create_task(whole_job["id"], model)
    else:
        batch.create_tasks(whole_job["id"], [model])
    shown = batch.get_task(whole_job["id"], body["id"])
    compared(body, shown.as_dict())
    batch.replace_task(whole_job["id"], body["id"], shown)
    compared(body, batch.get_task(whole_job["id"], body["id"]).as_dict())


def test_the_token_of_a_task(raw, whole_job):
    task = {"id": fresh("t"), "commandLine": "x", "authenticationTokenSettings": part("token")}
    path = f"/jobs/{whole_job['id']}/tasks"
    assert raw("POST", path, task, version=V2024_02).status == 201
    compared(task, raw("GET", f"{path}/{task['id']}", version=V2024_02).json)
    assert "authenticationTokenSettings" not in raw("GET", f"{path}/{task['id']}").json


def test_a_job_schedule(batch, whole_job):
    spec = {name: value for name, value in whole_job.items() if name != "id"}
    body = {
        "id": fresh("whole"),
        "displayName": "Everything",
        "schedule": part("schedule"),
        "jobSpecification": spec,
        "metadata": [{"name": "a", "value": "b"}],
    }
    batch.create_job_schedule(m.BatchJobScheduleCreateOptions(body))
    shown = batch.get_job_schedule(body["id"])
    compared(body, shown.as_dict())
    batch.replace_job_schedule(body["id"], shown)
    compared(body, batch.get_job_schedule(body["id"]).as_dict())
    batch.begin_delete_job_schedule(body["id"], polling_interval=0).wait()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("P3Y6M4DT12H30M5S", "P1279DT12H30M5S"),
        ("P1W", "P7D"),
        ("P", "PT0S"),
        ("P0D", "PT0S"),
        ("PT90.5S", "PT1M30.5S"),
        ("P1DT02H00M03.5S", "P1DT2H3.5S"),
        ("1.02:03:04", "P1DT2H3M4S"),
    ],
)
def test_durations_are_folded(raw, whole_job, sent, shown):
    task = {"id": fresh("t"), "commandLine": "x", "constraints": {"maxWallClockTime": sent}}
    path = f"/jobs/{whole_job['id']}/tasks"
    assert raw("POST", path, task).status == 201
    assert raw("GET", f"{path}/{task['id']}").json["constraints"]["maxWallClockTime"] == shown
