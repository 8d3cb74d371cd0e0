"""Jobs: create, show, patch, replace, delete; every header of a success."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

from .conftest import add_task, fresh, until, wait_job
from .raw_http import check_error
from .success import check_headers, check_moment

UNLIMITED = "P10675199DT2H48M5.4775807S"  # .NET TimeSpan.MaxValue


def job_body(job_id: str, **members: object) -> dict:
    return {"id": job_id, "poolInfo": {"poolId": "no-such-pool"}} | members


FULL = {
    "displayName": "Jöb",
    "priority": 7,
    "maxParallelTasks": 3,
    "allowTaskPreemption": True,
    "usesTaskDependencies": True,
    "constraints": {"maxWallClockTime": "P1DT2H", "maxTaskRetryCount": 2},
    "commonEnvironmentSettings": [{"name": "A", "value": "1"}, {"name": "EMPTY", "value": ""}],
    "metadata": [{"name": "m", "value": "n"}],
    "onAllTasksComplete": "noaction",
    "onTaskFailure": "performexitoptionsjobaction",
}


def test_create_headers(raw):
    job_id = fresh("job")
    reply = raw("POST", "/jobs", job_body(job_id))
    assert (reply.status, reply.body) == (201, b"")
    url = f"{raw.endpoint}/jobs/{job_id}"
    check_headers(reply, etag=True, service_id=url, location=url)
    shown = raw("GET", f"/jobs/{job_id}")
    check_headers(shown, etag=True, shown=shown.json)
    assert shown.headers["etag"] == reply.headers["etag"]


def test_defaults_are_shown(raw, lone_job):
    shown = raw("GET", f"/jobs/{lone_job}").json
    pool_id = shown["poolInfo"]["poolId"]
    for name in ("creationTime", "lastModified", "stateTransitionTime", "eTag"):
        shown.pop(name)
    check_moment(shown["executionInfo"].pop("startTime"))
    assert shown == {
        "odata.metadata": f"{raw.endpoint}/$metadata#jobs/@Element",
        "id": lone_job,
        "url": f"{raw.endpoint}/jobs/{lone_job}",
        "state": "active",
        "priority": 0,
        "maxParallelTasks": -1,
        "allowTaskPreemption": False,
        "usesTaskDependencies": False,
        "constraints": {"maxWallClockTime": UNLIMITED, "maxTaskRetryCount": 0},
        "poolInfo": {"poolId": pool_id},
        "executionInfo": {"poolId": pool_id},
        "onAllTasksComplete": "noaction",
        "onTaskFailure": "noaction",
    }


def test_all_that_was_sent_is_shown(raw):
    job_id = fresh("full")
    assert raw("POST", "/jobs", job_body(job_id, **FULL)).status == 201
    shown = raw("GET", f"/jobs/{job_id}").json
    assert {name: shown[name] for name in FULL} == FULL


def test_sdk_reads_what_it_wrote(batch, pool):
    job_id = fresh("sdk-job")
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id,
            pool_info=m.BatchPoolInfo(pool_id=pool),
            priority=-5,
            constraints=m.BatchJobConstraints(
                max_wall_clock_time=timedelta(hours=3), max_task_retry_count=-1
            ),
            common_environment_settings=[m.EnvironmentSetting(name="A", value="b")],
            metadata=[m.BatchMetadataItem(name="k", value="v")],
            task_failure_mode=m.BatchTaskFailureMode.NO_ACTION,
        )
    )
    job = batch.get_job(job_id)
    assert job.priority == -5
    assert job.constraints.max_wall_clock_time == timedelta(hours=3)
    assert job.constraints.max_task_retry_count == -1
    assert job.common_environment_settings == [m.EnvironmentSetting(name="A", value="b")]
    assert job.metadata == [m.BatchMetadataItem(name="k", value="v")]
    assert job.state == m.BatchJobState.ACTIVE
    assert job.all_tasks_complete_mode == m.BatchAllTasksCompleteMode.NO_ACTION
    assert job.execution_info.pool_id == pool
    assert job.previous_state is None


def test_ids_keep_their_case_and_compare_without_it(batch, raw):
    job_id = fresh("MiXed")
    raw("POST", "/jobs", job_body(job_id))
    assert batch.get_job(job_id.upper()).id == job_id
    reply = check_error(raw("POST", "/jobs", job_body(job_id.lower())), 409, "JobExists")
    assert "The specified job already exists" in reply.json["message"]["value"]
    with pytest.raises(ResourceExistsError):
        batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id="p")))


def test_missing_jobs_are_404_everywhere(raw, batch):
    path = f"/jobs/{fresh('none')}"
    calls = [
        ("GET", "", None),
        ("PATCH", "", {"priority": 1}),
        ("PUT", "", {"poolInfo": {"poolId": "p"}}),
        ("DELETE", "", None),
        ("POST", "/disable", {"disableTasks": "requeue"}),
        ("POST", "/enable", None),
        ("POST", "/terminate", None),
        ("GET", "/taskcounts", None),
        ("GET", "/tasks", None),
        ("POST", "/tasks", {"id": "t", "commandLine": "x"}),
        ("POST", "/addtaskcollection", {"value": []}),
        ("GET", "/tasks/t", None),
        ("GET", "/tasks/t/files", None),
    ]
    for method, rest, body in calls:
        reply = check_error(raw(method, path + rest, body), 404, "JobNotFound")
        assert "The specified job does not exist" in reply.json["message"]["value"]
    with pytest.raises(ResourceNotFoundError) as caught:
        batch.get_job(fresh("none"))
    assert caught.value.error.code == "JobNotFound"


def test_patch_keeps_what_it_does_not_name(raw):
    job_id = fresh("patched")
    raw("POST", "/jobs", job_body(job_id, **FULL))
    before = raw("GET", f"/jobs/{job_id}").json
    reply = raw("PATCH", f"/jobs/{job_id}", {"priority": "9", "constraints": {}})
    assert (reply.status, reply.body) == (200, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/jobs/{job_id}")
    after = raw("GET", f"/jobs/{job_id}").json
    assert after["eTag"] == reply.headers["etag"] != before["eTag"]
    expected = before | {
        "priority": 9,
        "constraints": {"maxWallClockTime": UNLIMITED, "maxTaskRetryCount": 0},
        "eTag": after["eTag"],
        "lastModified": after["lastModified"],
    }
    assert after == expected


def test_put_resets_what_it_does_not_name(raw):
    job_id = fresh("put")
    raw("POST", "/jobs", job_body(job_id, **FULL))
    reply = raw("PUT", f"/jobs/{job_id}", {"poolInfo": {"poolId": "no-such-pool"}})
    assert (reply.status, reply.body) == (200, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/jobs/{job_id}")
    shown = raw("GET", f"/jobs/{job_id}").json
    assert (shown["priority"], shown["maxParallelTasks"]) == (0, -1)
    assert shown["allowTaskPreemption"] is False
    assert shown["constraints"]["maxTaskRetryCount"] == 0
    assert "metadata" not in shown
    # Fixed at creation, so a replacement cannot touch them.
    for name in ("usesTaskDependencies", "commonEnvironmentSettings", "onTaskFailure"):
        assert shown[name] == FULL[name]


def test_a_fetched_job_can_be_put_back(batch, raw):
    job_id = fresh("roundtrip")
    raw("POST", "/jobs", job_body(job_id, **FULL))
    job = batch.get_job(job_id)
    job.priority = 11
    batch.replace_job(job_id, job)
    again = batch.get_job(job_id)
    assert again.priority == 11
    assert again.metadata == job.metadata
    assert again.constraints == job.constraints


def test_update_with_the_sdk(batch, lone_job):
    batch.update_job(
        lone_job,
        m.BatchJobUpdateOptions(priority=3, metadata=[m.BatchMetadataItem(name="a", value="b")]),
    )
    job = batch.get_job(lone_job)
    assert (job.priority, job.metadata[0].value) == (3, "b")
    batch.update_job(lone_job, m.BatchJobUpdateOptions(metadata=[]))
    assert batch.get_job(lone_job).metadata is None


def test_the_pool_changes_only_while_disabled(batch, raw, lone_job):
    body = {"poolInfo": {"poolId": "other-pool"}}
    before = raw("GET", f"/jobs/{lone_job}").body
    refused = raw("PATCH", f"/jobs/{lone_job}", body)
    check_error(refused, 409, "OperationInvalidForCurrentState")
    assert raw("GET", f"/jobs/{lone_job}").body == before
    batch.begin_disable_job(
        lone_job, m.BatchJobDisableOptions(disable_tasks="requeue"), polling_interval=0.02
    ).result()
    assert raw("PATCH", f"/jobs/{lone_job}", body).status == 200
    shown = raw("GET", f"/jobs/{lone_job}").json
    assert shown["poolInfo"] == body["poolInfo"]
    assert shown["executionInfo"]["poolId"] == "other-pool"


def test_the_new_pool_runs_what_waited(batch, pool, lone_job):
    add_task(batch, lone_job, "t")
    batch.begin_disable_job(
        lone_job, m.BatchJobDisableOptions(disable_tasks="requeue"), polling_interval=0.02
    ).result()
    batch.update_job(lone_job, m.BatchJobUpdateOptions(pool_info=m.BatchPoolInfo(pool_id=pool)))
    batch.begin_enable_job(lone_job, polling_interval=0.02).result()
    until(lambda: batch.get_task(lone_job, "t").state == "completed")


def test_terminatejob_cannot_be_taken_back(raw, batch, lone_job):
    add_task(batch, lone_job, "t")
    mode = {"onAllTasksComplete": "terminatejob"}
    assert raw("PATCH", f"/jobs/{lone_job}", mode).status == 200
    before = raw("GET", f"/jobs/{lone_job}").body
    back = raw("PATCH", f"/jobs/{lone_job}", {"onAllTasksComplete": "noaction"})
    check_error(back, 400, "InvalidPropertyValue")
    assert raw("GET", f"/jobs/{lone_job}").body == before


def test_delete_ends_in_404(raw, batch, lone_job):
    add_task(batch, lone_job, "t")
    reply = raw("DELETE", f"/jobs/{lone_job}")
    assert (reply.status, reply.body) == (202, b"")
    check_headers(reply)
    until(lambda: raw("GET", f"/jobs/{lone_job}").status == 404)
    assert raw("POST", "/jobs", job_body(lone_job)).status == 201
    assert raw("GET", f"/jobs/{lone_job}/tasks").json["value"] == []


def test_delete_poller_and_force(batch, job):
    add_task(batch, job, "t", "/bin/sleep 60")
    until(lambda: batch.get_task(job, "t").state == "running")
    poller = batch.begin_delete_job(job, force=True, polling_interval=0.02)
    assert poller.result() is None
    assert poller.status() == "Succeeded"
    with pytest.raises(ResourceNotFoundError):
        batch.get_job(job)
    batch.create_job(m.BatchJobCreateOptions(id=job, pool_info=m.BatchPoolInfo(pool_id="p")))


def test_wrong_force_changes_nothing(raw, lone_job):
    before = raw("GET", f"/jobs/{lone_job}").body
    for method, path in (("DELETE", ""), ("POST", "/terminate")):
        reply = raw(method, f"/jobs/{lone_job}{path}?force=maybe")
        check_error(reply, 400, "InvalidQueryParameterValue")
    assert raw("GET", f"/jobs/{lone_job}").body == before


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"id": "a.b"}, "InvalidPropertyValue"),
        ({"id": "x" * 65}, "InvalidPropertyValue"),
        ({"id": 5}, "InvalidPropertyValue"),
        ({"id": None}, "MissingRequiredProperty"),
        ({"poolInfo": None}, "MissingRequiredProperty"),
        ({"poolInfo": {}}, "MissingRequiredProperty"),
        ({"poolInfo": "p"}, "InvalidPropertyValue"),
        ({"priority": 1001}, "InvalidPropertyValue"),
        ({"priority": -1001}, "InvalidPropertyValue"),
        ({"priority": 1.5}, "InvalidPropertyValue"),
        ({"maxParallelTasks": 0}, "InvalidPropertyValue"),
        ({"constraints": {"maxTaskRetryCount": -2}}, "InvalidPropertyValue"),
        ({"constraints": {"maxWallClockTime": "1 day"}}, "InvalidPropertyValue"),
        ({"onAllTasksComplete": "explode"}, "InvalidPropertyValue"),
        ({"commonEnvironmentSettings": [{"name": ""}]}, "InvalidPropertyValue"),
        ({"metadata": [{"value": "v"}]}, "MissingRequiredProperty"),
        ({"extra": {}}, "UnsupportedProperty"),
    ],
)
def test_wrong_jobs_are_refused_and_not_made(raw, members, code):
    body = job_body(fresh("wrong"), **members)
    reply = raw("POST", "/jobs", body)
    check_error(reply, 400, code)
    if isinstance(body["id"], str):
        assert raw("GET", f"/jobs/{body['id']}").status == 404


def test_wall_clock_from_creation(batch, pool):
    job_id = fresh("short")
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id,
            pool_info=m.BatchPoolInfo(pool_id=pool),
            constraints=m.BatchJobConstraints(max_wall_clock_time=timedelta(seconds=0.5)),
        )
    )
    add_task(batch, job_id, "t", "/bin/sleep 60")
    job = wait_job(batch, job_id, "completed")
    assert job.execution_info.termination_reason == "MaxWallClockTimeExpiry"
    task = batch.get_task(job_id, "t")
    assert (task.state, task.execution_info.failure_info.code) == ("completed", "TaskEnded")


def test_deleting_is_seen_before_the_answer(raw, batch, pool):
    """Pollers look at once: a job that still says active would look deleted already."""
    job = fresh("deleted")
    raw("POST", "/jobs", {"id": job, "poolInfo": {"poolId": pool}})
    add_task(batch, job, "runs", "/bin/sleep 60")
    until(lambda: batch.get_task(job, "runs").state == "running")
    for number in range(15):
        value = [{"id": f"t{number}-{n}", "commandLine": "x"} for n in range(100)]
        raw("POST", f"/jobs/{job}/addtaskcollection", {"value": value})
    assert raw("DELETE", f"/jobs/{job}").status == 202
    seen = raw("GET", f"/jobs/{job}")
    assert seen.status == 404 or seen.json["state"] == "deleting"
    for method, path, body in (
        ("PATCH", "", {"priority": 1}),
        ("PUT", "", {"poolInfo": {"poolId": "p"}}),
        ("POST", "/disable", {"disableTasks": "requeue"}),
        ("POST", "/enable", None),
        ("POST", "/terminate", None),
        ("DELETE", "", None),
        ("POST", "/tasks", {"id": "u", "commandLine": "x"}),
        ("POST", "/tasks/t1-1/terminate", None),
        ("DELETE", "/tasks/t1-1", None),
    ):
        refused = raw(method, f"/jobs/{job}{path}", body)
        expected = {(409, "JobBeingDeleted"), (404, "JobNotFound"), (404, "TaskNotFound")}
        assert (refused.status, refused.code) in expected, (method, path)
    taken = raw("POST", "/jobs", job_body(job))
    assert (taken.status, taken.code) in ((409, "JobBeingDeleted"), (201, None))
    if taken.status == 409:
        until(lambda: raw("GET", f"/jobs/{job}").status == 404)


@pytest.mark.parametrize(
    ("call", "body", "states"),
    [
        ("disable", {"disableTasks": "terminate"}, {"disabling", "disabled"}),
        ("terminate", None, {"terminating", "completed"}),
    ],
)
def test_states_change_before_the_answer(raw, batch, job, call, body, states):
    add_task(batch, job, "runs", "/bin/sleep 60")
    until(lambda: batch.get_task(job, "runs").state == "running")
    assert raw("POST", f"/jobs/{job}/{call}", body).status == 202
    assert raw("GET", f"/jobs/{job}").json["state"] in states


def test_a_poller_that_looks_every_five_seconds(batch, lone_job):
    """The SDK's own interval: its first look comes at once, so a quick end is seen at once."""
    poller = batch.begin_terminate_job(lone_job, {"terminateReason": "x"})
    poller.wait(timeout=20)
    assert poller.done()
    assert batch.get_job(lone_job).state == "completed"
