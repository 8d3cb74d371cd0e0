"""Tasks: add, show, replace, terminate, reactivate, delete; every header of a success."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

from .conftest import add_task, fresh, shell, until, wait_task
from .raw_http import check_error
from .success import check_headers, check_moment

UNLIMITED = "P10675199DT2H48M5.4775807S"  # .NET TimeSpan.MaxValue


def task_body(task_id: str = "t", **members: object) -> dict:
    return {"id": task_id, "commandLine": "/bin/true"} | members


FULL = {
    "displayName": "Täsk",
    "commandLine": "/bin/sh -c 'echo \"ü\" \\ $HOME'",
    "environmentSettings": [{"name": "A", "value": "1"}, {"name": "B"}],
    "resourceFiles": [
        {"httpUrl": "http://127.0.0.1:9/x", "filePath": "in/x", "fileMode": "0755"},
        {"autoStorageContainerName": "box", "blobPrefix": "p/", "filePath": "d"},
    ],
    "outputFiles": [
        {
            "filePattern": "../std*.txt",
            "destination": {
                "container": {"containerUrl": "http://127.0.0.1:9/acct/box", "path": "out"}
            },
            "uploadOptions": {"uploadCondition": "taskcompletion"},
        }
    ],
    "affinityInfo": {"affinityId": "somewhere"},
    "constraints": {
        "maxWallClockTime": "PT1H",
        "retentionTime": "P1D",
        "maxTaskRetryCount": 4,
    },
    "requiredSlots": 3,
    "userIdentity": {"autoUser": {"scope": "task", "elevationLevel": "admin"}},
    "exitConditions": {
        "exitCodes": [{"code": 1, "exitOptions": {"dependencyAction": "satisfy"}}],
        "exitCodeRanges": [{"start": 2, "end": 4, "exitOptions": {"dependencyAction": "block"}}],
        "default": {"dependencyAction": "satisfy"},
    },
    "dependsOn": {"taskIds": ["a", "b"], "taskIdRanges": [{"start": 1, "end": 3}]},
}


@pytest.fixture
def linked_job(raw):
    """A job with task dependencies on a pool that does not exist."""
    job_id = fresh("linked")
    body = {"id": job_id, "poolInfo": {"poolId": "none"}, "usesTaskDependencies": True}
    assert raw("POST", "/jobs", body).status == 201
    return job_id


def test_create_headers(raw, lone_job):
    reply = raw("POST", f"/jobs/{lone_job}/tasks", task_body("t"))
    assert (reply.status, reply.body) == (201, b"")
    url = f"{raw.endpoint}/jobs/{lone_job}/tasks/t"
    check_headers(reply, etag=True, service_id=url, location=url)
    shown = raw("GET", f"/jobs/{lone_job}/tasks/t")
    check_headers(shown, etag=True, shown=shown.json)
    assert shown.headers["etag"] == reply.headers["etag"]


def test_defaults_are_shown(raw, lone_job):
    raw("POST", f"/jobs/{lone_job}/tasks", task_body("t"))
    shown = raw("GET", f"/jobs/{lone_job}/tasks/t").json
    for name in ("creationTime", "lastModified", "stateTransitionTime"):
        check_moment(shown.pop(name))
    shown.pop("eTag")
    assert shown == {
        "odata.metadata": f"{raw.endpoint}/$metadata#tasks/@Element",
        "id": "t",
        "url": f"{raw.endpoint}/jobs/{lone_job}/tasks/t",
        "state": "active",
        "commandLine": "/bin/true",
        "userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}},
        "constraints": {
            "maxWallClockTime": UNLIMITED,
            "retentionTime": "P7D",
            "maxTaskRetryCount": 0,
        },
        "requiredSlots": 1,
        "executionInfo": {"retryCount": 0, "requeueCount": 0},
    }


@pytest.mark.parametrize("way", ["one", "collection"])
def test_all_that_was_sent_is_shown(raw, linked_job, way):
    body = task_body("full", **FULL)
    if way == "one":
        assert raw("POST", f"/jobs/{linked_job}/tasks", body).status == 201
    else:
        reply = raw("POST", f"/jobs/{linked_job}/addtaskcollection", {"value": [body]})
        assert reply.json["value"][0]["status"] == "success"
    shown = raw("GET", f"/jobs/{linked_job}/tasks/full").json
    assert {name: shown[name] for name in FULL} == FULL
    (listed,) = raw("GET", f"/jobs/{linked_job}/tasks").json["value"]
    assert listed == {k: v for k, v in shown.items() if k != "odata.metadata"}


@pytest.mark.parametrize("way", ["one", "collection"])
def test_lenient_spellings_and_nulls(raw, lone_job, way):
    body = task_body(
        "t",
        displayName=None,
        requiredSlots="2",
        constraints={"maxTaskRetryCount": "3", "maxWallClockTime": "PT01H00M00S"},
        userIdentity={"autoUser": {"scope": "Task", "elevationLevel": "NonAdmin"}},
        state="completed",
        eTag="0x1",
        executionInfo={"retryCount": 9},
    )
    body["odata.metadata"] = "anything"
    if way == "one":
        assert raw("POST", f"/jobs/{lone_job}/tasks", body).status == 201
    else:
        reply = raw("POST", f"/jobs/{lone_job}/addtaskcollection", {"value": [body]})
        assert reply.json["value"][0]["status"] == "success", reply.body
    reply = raw("GET", f"/jobs/{lone_job}/tasks/t")
    shown = reply.json
    assert b"null" not in reply.body
    assert "displayName" not in shown
    assert shown["state"] == "active"
    assert shown["requiredSlots"] == 2
    assert shown["constraints"] == {
        "maxWallClockTime": "PT1H",
        "retentionTime": "P7D",
        "maxTaskRetryCount": 3,
    }
    assert shown["userIdentity"] == {"autoUser": {"scope": "task", "elevationLevel": "nonadmin"}}
    assert shown["executionInfo"] == {"retryCount": 0, "requeueCount": 0}


def test_the_jobs_retries_are_the_tasks_default(raw):
    job_id = fresh("retrying")
    body = {
        "id": job_id,
        "poolInfo": {"poolId": "none"},
        "constraints": {"maxTaskRetryCount": 5},
    }
    raw("POST", "/jobs", body)
    raw("POST", f"/jobs/{job_id}/tasks", task_body("t"))
    raw("POST", f"/jobs/{job_id}/tasks", task_body("u", constraints={"maxTaskRetryCount": 0}))
    shown = {t["id"]: t for t in raw("GET", f"/jobs/{job_id}/tasks").json["value"]}
    assert shown["t"]["constraints"]["maxTaskRetryCount"] == 5
    assert shown["u"]["constraints"]["maxTaskRetryCount"] == 0


def test_signatures_and_secrets_are_not_shown(raw, lone_job):
    url = "http://127.0.0.1:9/box?sv=1&sig=S3CRET%2Bsig&se=2"
    body = task_body(
        "t",
        resourceFiles=[{"storageContainerUrl": url}],
        outputFiles=[
            {
                "filePattern": "*",
                "destination": {"container": {"containerUrl": url}},
                "uploadOptions": {"uploadCondition": "tasksuccess"},
            }
        ],
    )
    assert raw("POST", f"/jobs/{lone_job}/tasks", body).status == 201
    for target in ("tasks/t", "tasks", "tasks?$select=resourceFiles,outputFiles"):
        reply = raw("GET", f"/jobs/{lone_job}/{target}")
        assert b"S3CRET" not in reply.body
        assert b"sig=REDACTED" in reply.body


def test_ids_keep_their_case_and_compare_without_it(batch, lone_job):
    add_task(batch, lone_job, "MiXed")
    assert batch.get_task(lone_job.upper(), "mIxED").id == "MiXed"
    with pytest.raises(ResourceExistsError) as caught:
        add_task(batch, lone_job, "mixed")
    assert caught.value.error.code == "TaskExists"
    assert "The specified task already exists." in caught.value.error.message
    assert [task.id for task in batch.list_tasks(lone_job)] == ["MiXed"]
    assert batch.get_job_task_counts(lone_job).task_counts.active == 1


def test_missing_tasks_are_404_everywhere(raw, batch, lone_job):
    calls = [
        ("GET", "", None),
        ("PUT", "", {}),
        ("DELETE", "", None),
        ("POST", "/terminate", None),
        ("POST", "/reactivate", None),
        ("GET", "/files", None),
        ("GET", "/files/stdout.txt", None),
        ("DELETE", "/files/stdout.txt", None),
    ]
    for method, rest, body in calls:
        reply = check_error(
            raw(method, f"/jobs/{lone_job}/tasks/none{rest}", body), 404, "TaskNotFound"
        )
        assert "The specified task does not exist" in reply.json["message"]["value"]
    with pytest.raises(ResourceNotFoundError):
        batch.get_task(lone_job, "none")


def test_replace_sets_constraints_and_forgets_the_others(raw, linked_job):
    raw("POST", f"/jobs/{linked_job}/tasks", task_body("t", **FULL))
    before = raw("GET", f"/jobs/{linked_job}/tasks/t").json
    body = {"constraints": {"maxTaskRetryCount": 1}}
    reply = raw("PUT", f"/jobs/{linked_job}/tasks/t", body)
    assert (reply.status, reply.body) == (200, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/jobs/{linked_job}/tasks/t")
    after = raw("GET", f"/jobs/{linked_job}/tasks/t").json
    assert after["eTag"] == reply.headers["etag"] != before["eTag"]
    expected = before | {
        "constraints": {
            "maxWallClockTime": UNLIMITED,
            "retentionTime": "P7D",
            "maxTaskRetryCount": 1,
        },
        "eTag": after["eTag"],
        "lastModified": after["lastModified"],
    }
    assert after == expected


def test_a_fetched_task_can_be_put_back(batch, lone_job):
    add_task(batch, lone_job, "t")
    task = batch.get_task(lone_job, "t")
    task.constraints = m.BatchTaskConstraints(max_task_retry_count=2)
    batch.replace_task(lone_job, "t", task)
    assert batch.get_task(lone_job, "t").constraints.max_task_retry_count == 2


def test_terminate_what_waits(raw, batch, lone_job):
    add_task(batch, lone_job, "t")
    reply = raw("POST", f"/jobs/{lone_job}/tasks/t/terminate")
    assert (reply.status, reply.body) == (204, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/jobs/{lone_job}/tasks/t/terminate")
    task = batch.get_task(lone_job, "t")
    info = task.execution_info
    assert (task.state, task.previous_state) == ("completed", "active")
    assert task.etag == reply.headers["etag"]
    assert (info.result, info.exit_code) == ("failure", None)
    assert info.failure_info.code == "TaskEnded"
    assert info.failure_info.category == m.BatchErrorSourceCategory.USER_ERROR
    counts = batch.get_job_task_counts(lone_job).task_counts
    assert (counts.active, counts.completed, counts.failed) == (0, 1, 1)
    before = raw("GET", f"/jobs/{lone_job}/tasks/t").body
    for method, path, body in (("POST", "/terminate", None), ("PUT", "", {"constraints": {}})):
        refused = raw(method, f"/jobs/{lone_job}/tasks/t{path}", body)
        check_error(refused, 409, "TaskCompleted")
        text = "The specified task is already in a completed state"
        assert text in refused.json["message"]["value"]
    assert raw("GET", f"/jobs/{lone_job}/tasks/t").body == before


def test_terminate_what_runs(batch, job):
    add_task(batch, job, "t", shell("sleep 60 & sleep 60"))
    wait_task(batch, job, "t", "running")
    batch.terminate_task(job, "t")
    task = batch.get_task(job, "t")
    assert (task.state, task.previous_state) == ("completed", "running")
    assert task.execution_info.failure_info.code == "TaskEnded"
    assert task.execution_info.end_time >= task.execution_info.start_time
    # Its slots come back, so that four more can run at once.
    for number in range(4):
        add_task(batch, job, f"u{number}")
    for number in range(4):
        wait_task(batch, job, f"u{number}")


def test_reactivate_runs_again_from_zero(raw, batch, job):
    add_task(
        batch,
        job,
        "t",
        shell("exit 4"),
        constraints=m.BatchTaskConstraints(max_task_retry_count=1),
    )
    first = wait_task(batch, job, "t")
    assert (first.execution_info.exit_code, first.execution_info.retry_count) == (4, 1)
    reply = raw("POST", f"/jobs/{job}/tasks/t/reactivate")
    assert (reply.status, reply.body) == (204, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/jobs/{job}/tasks/t/reactivate")
    until(
        lambda: (
            batch.get_task(job, "t").execution_info.end_time
            and batch.get_task(job, "t").state == "completed"
            and batch.get_task(job, "t").execution_info.end_time > first.execution_info.end_time
        )
    )
    again = batch.get_task(job, "t")
    assert (again.execution_info.exit_code, again.execution_info.retry_count) == (4, 1)
    assert again.execution_info.requeue_count == 0
    counts = batch.get_job_task_counts(job).task_counts
    assert (counts.active, counts.running, counts.completed, counts.failed) == (0, 0, 1, 1)


def test_reactivate_clears_how_it_ended(raw, batch, lone_job):
    add_task(batch, lone_job, "t")
    batch.terminate_task(lone_job, "t")
    batch.reactivate_task(lone_job, "t")
    shown = raw("GET", f"/jobs/{lone_job}/tasks/t").json
    assert shown["state"] == "active"
    assert shown["previousState"] == "completed"
    assert shown["executionInfo"] == {"retryCount": 0, "requeueCount": 0}


def test_reactivate_is_refused(raw, batch, job):
    add_task(batch, job, "waits", required_slots=2)
    add_task(batch, job, "good")
    wait_task(batch, job, "good")
    before = raw("GET", f"/jobs/{job}/tasks/good").body
    check_error(raw("POST", f"/jobs/{job}/tasks/good/reactivate"), 409, "TaskSucceeded")
    assert raw("GET", f"/jobs/{job}/tasks/good").body == before
    add_task(batch, job, "runs", shell("sleep 60"))
    wait_task(batch, job, "runs", "running")
    check_error(raw("POST", f"/jobs/{job}/tasks/runs/reactivate"), 409, "TaskNotCompleted")
    assert batch.get_task(job, "runs").state == "running"


def test_delete_in_every_state(raw, batch, job, lone_job):
    add_task(batch, lone_job, "waits")
    add_task(batch, job, "done")
    add_task(batch, job, "runs", shell("sleep 60"))
    wait_task(batch, job, "done")
    wait_task(batch, job, "runs", "running")
    for job_id, task_id in ((lone_job, "waits"), (job, "done"), (job, "runs")):
        reply = raw("DELETE", f"/jobs/{job_id}/tasks/{task_id}")
        assert (reply.status, reply.body) == (200, b"")
        check_headers(reply)
        check_error(raw("GET", f"/jobs/{job_id}/tasks/{task_id}"), 404, "TaskNotFound")
        check_error(raw("DELETE", f"/jobs/{job_id}/tasks/{task_id}"), 404, "TaskNotFound")
    for job_id in (job, lone_job):
        counts = batch.get_job_task_counts(job_id)
        assert set(counts.task_counts.as_dict().values()) == {0}
        assert set(counts.task_slot_counts.as_dict().values()) == {0}
    add_task(batch, job, "done", shell("exit 7"))
    assert wait_task(batch, job, "done").execution_info.exit_code == 7


def test_task_counts(raw, batch, job):
    add_task(batch, job, "good", required_slots=2)
    add_task(batch, job, "bad", shell("exit 1"))
    wait_task(batch, job, "good")
    wait_task(batch, job, "bad")
    add_task(batch, job, "runs", shell("sleep 60"))
    add_task(batch, job, "large", required_slots=9)
    wait_task(batch, job, "runs", "running")
    reply = raw("GET", f"/jobs/{job}/taskcounts")
    check_headers(reply)
    assert reply.json == {
        "odata.metadata": f"{raw.endpoint}/$metadata#taskcountsresult/@Element",
        "taskCounts": {"active": 1, "running": 1, "completed": 2, "succeeded": 1, "failed": 1},
        "taskSlotCounts": {
            "active": 9,
            "running": 1,
            "completed": 3,
            "succeeded": 2,
            "failed": 1,
        },
    }


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"id": "a/b"}, "InvalidPropertyValue"),
        ({"id": "x" * 65}, "InvalidPropertyValue"),
        ({"id": None}, "MissingRequiredProperty"),
        ({"commandLine": None}, "MissingRequiredProperty"),
        ({"commandLine": "  "}, "InvalidPropertyValue"),
        ({"commandLine": "a\0b"}, "InvalidPropertyValue"),
        ({"commandLine": ["a"]}, "InvalidPropertyValue"),
        ({"requiredSlots": 0}, "InvalidPropertyValue"),
        ({"requiredSlots": 257}, "InvalidPropertyValue"),
        ({"constraints": {"maxTaskRetryCount": -2}}, "InvalidPropertyValue"),
        ({"constraints": {"retentionTime": "-PT1S"}}, "InvalidPropertyValue"),
        ({"dependsOn": {"taskIds": ["a"]}}, "TaskDependenciesNotSpecifiedOnJob"),
        ({"exitConditions": {"default": {"jobAction": "none"}}}, "InvalidPropertyValue"),
        ({"resourceFiles": [{"filePath": "x"}]}, None),
        ({"resourceFiles": [{"httpUrl": "http://h/x"}]}, None),
        (
            {"resourceFiles": [{"httpUrl": "http://h/x", "filePath": "../x"}]},
            "InvalidPropertyValue",
        ),
        (
            {"resourceFiles": [{"httpUrl": "http://h/x", "filePath": "/etc/x"}]},
            "InvalidPropertyValue",
        ),
        (
            {
                "outputFiles": [
                    {
                        "filePattern": "../../../x",
                        "destination": {"container": {"containerUrl": "http://h/c"}},
                        "uploadOptions": {"uploadCondition": "taskcompletion"},
                    }
                ]
            },
            "InvalidPropertyValue",
        ),
        ({"environmentSettings": [{"name": ""}]}, "InvalidPropertyValue"),
        ({"unheard": True}, "UnsupportedProperty"),
    ],
)
@pytest.mark.parametrize("way", ["one", "collection"])
def test_wrong_tasks_are_refused_and_not_made(raw, lone_job, members, code, way):
    body = task_body("t") | members
    if way == "one":
        reply = raw("POST", f"/jobs/{lone_job}/tasks", body)
        check_error(reply, 400, code or reply.code)
        error = reply.json
    else:
        reply = raw("POST", f"/jobs/{lone_job}/addtaskcollection", {"value": [body]})
        assert reply.status == 200
        (result,) = reply.json["value"]
        assert result["status"] == "clienterror"
        assert result["taskId"] == (body["id"] or "")
        error = result["error"]
    assert error["code"] in (
        [code] if code else ["MissingRequiredProperty", "InvalidPropertyValue"]
    )
    assert raw("GET", f"/jobs/{lone_job}/tasks").json["value"] == []
    assert raw("GET", f"/jobs/{lone_job}/taskcounts").json["taskCounts"]["active"] == 0


def test_a_list_of_dependencies_that_is_too_long(raw, linked_job):
    body = task_body("t", dependsOn={"taskIds": [f"{n:064}" for n in range(1001)]})
    reply = raw("POST", f"/jobs/{linked_job}/tasks", body)
    check_error(reply, 400, "TaskDependencyListTooLong")
    spans = [{"start": 10**9 + n, "end": 10**9 + n} for n in range(4000)]
    reply = raw("POST", f"/jobs/{linked_job}/tasks", task_body(dependsOn={"taskIdRanges": spans}))
    check_error(reply, 400, "TaskDependencyRangesTooLong")
    assert raw("GET", f"/jobs/{linked_job}/tasks").json["value"] == []


def test_a_task_on_several_nodes_may_run_in_containers(raw, lone_job):
    members = {
        "multiInstanceSettings": {"numberOfInstances": 2, "coordinationCommandLine": "x"},
        "containerSettings": {"imageName": "ubuntu"},
    }
    reply = raw("POST", f"/jobs/{lone_job}/tasks", task_body("t", **members))
    assert reply.status == 201, reply.body
    made = raw("GET", f"/jobs/{lone_job}/tasks/t").json
    for name, given in members.items():
        assert given.items() <= made[name].items()


def test_sdk_reads_what_it_wrote(batch, lone_job):
    add_task(
        batch,
        lone_job,
        "t",
        display_name="d",
        constraints=m.BatchTaskConstraints(
            max_wall_clock_time=timedelta(minutes=90),
            retention_time=timedelta(0),
            max_task_retry_count=-1,
        ),
        environment_settings=[m.EnvironmentSetting(name="A", value="b")],
        user_identity=m.UserIdentity(
            auto_user=m.AutoUserSpecification(scope="task", elevation_level="admin")
        ),
    )
    task = batch.get_task(lone_job, "t")
    assert task.display_name == "d"
    assert task.constraints.max_wall_clock_time == timedelta(minutes=90)
    assert task.constraints.retention_time == timedelta(0)
    assert task.constraints.max_task_retry_count == -1
    assert task.environment_settings == [m.EnvironmentSetting(name="A", value="b")]
    assert task.user_identity.auto_user.scope == m.AutoUserScope.TASK
    assert task.state == m.BatchTaskState.ACTIVE
