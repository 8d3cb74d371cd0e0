"""Adding many tasks at once, with the SDK's own adder and by hand."""

from __future__ import annotations

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError

from .conftest import add_task, until
from .raw_http import check_error
from .success import check_headers, check_moment


def plain(count: int, prefix: str = "t") -> list[m.BatchTaskCreateOptions]:
    return [
        m.BatchTaskCreateOptions(id=f"{prefix}{number}", command_line="/bin/true")
        for number in range(count)
    ]


@pytest.mark.parametrize(("count", "threads"), [(250, 0), (733, 4)])
def test_sdk_adds_many(batch, lone_job, count, threads):
    result = batch.create_tasks(lone_job, plain(count), max_concurrency=threads)
    assert {one.task_id for one in result.result_values} == {f"t{n}" for n in range(count)}
    assert {one.status for one in result.result_values} == {m.BatchTaskAddStatus.SUCCESS}
    counts = batch.get_job_task_counts(lone_job)
    assert (counts.task_counts.active, counts.task_slot_counts.active) == (count, count)
    listed = [task.id for task in batch.list_tasks(lone_job, max_results=100)]
    assert len(listed) == count
    assert set(listed) == {f"t{n}" for n in range(count)}


def test_many_tasks_run(batch, job):
    batch.create_tasks(job, plain(250))
    until(lambda: batch.get_job_task_counts(job).task_counts.succeeded == 250, 30)
    assert list(batch.list_tasks(job, filter="executionInfo/exitCode ne 0")) == []


def test_sdk_halves_what_is_too_large(batch, lone_job):
    # Together far above 1 MB, alone well below it.
    tasks = [
        m.BatchTaskCreateOptions(id=f"t{number}", command_line="/bin/echo " + "x" * 60_000)
        for number in range(40)
    ]
    result = batch.create_tasks(lone_job, tasks)
    assert {one.status for one in result.result_values} == {"success"}
    assert batch.get_job_task_counts(lone_job).task_counts.active == 40


def test_a_task_over_one_megabyte_is_an_error_of_its_own(batch, lone_job):
    large = m.BatchTaskCreateOptions(id="large", command_line="/bin/echo " + "x" * (1 << 20))
    with pytest.raises(m.CreateTasksError) as caught:
        batch.create_tasks(lone_job, [large])
    (error,) = caught.value.errors
    assert error.error.code == "RequestBodyTooLarge"
    assert error.status_code == 413
    assert batch.get_job_task_counts(lone_job).task_counts.active == 0


def test_duplicates_count_as_done(batch, lone_job):
    add_task(batch, lone_job, "T3", "/bin/false")
    result = batch.create_tasks(lone_job, plain(10))
    by_id = {one.task_id: one for one in result.result_values}
    assert by_id["t3"].status == m.BatchTaskAddStatus.CLIENT_ERROR
    assert by_id["t3"].error.code == "TaskExists"
    assert len([one for one in by_id.values() if one.status == "success"]) == 9
    assert batch.get_task(lone_job, "t3").command_line == "/bin/false"
    assert batch.get_job_task_counts(lone_job).task_counts.active == 10


def test_duplicates_within_one_request(raw, lone_job):
    value = [{"id": name, "commandLine": name} for name in ("a", "A", "b", "a")]
    reply = raw("POST", f"/jobs/{lone_job}/addtaskcollection", {"value": value})
    results = [(one["taskId"], one["status"]) for one in reply.json["value"]]
    assert results == [
        ("a", "success"),
        ("A", "clienterror"),
        ("b", "success"),
        ("a", "clienterror"),
    ]
    assert raw("GET", f"/jobs/{lone_job}/tasks/a").json["commandLine"] == "a"
    assert raw("GET", f"/jobs/{lone_job}/taskcounts").json["taskCounts"]["active"] == 2


def test_answer_on_the_wire(raw, lone_job):
    value = [
        {"id": "good", "commandLine": "x"},
        {"id": "bad", "commandLine": "x", "requiredSlots": 0},
        {"id": "worse"},
        {"commandLine": "x"},
        "no task at all",
        {"id": "good2", "commandLine": "x"},
    ]
    reply = raw("POST", f"/jobs/{lone_job}/addtaskcollection", {"value": value})
    assert reply.status == 200
    check_headers(reply)
    assert reply.json["odata.metadata"] == f"{raw.endpoint}/$metadata#taskaddresult"
    results = reply.json["value"]
    assert [one["status"] for one in results] == [
        "success",
        "clienterror",
        "clienterror",
        "clienterror",
        "clienterror",
        "success",
    ]
    good, bad, worse, nameless, *_ = results
    check_moment(good["lastModified"])
    shown = raw("GET", f"/jobs/{lone_job}/tasks/good")
    assert good == {
        "taskId": "good",
        "status": "success",
        "eTag": shown.headers["etag"],
        "lastModified": shown.json["lastModified"],
        "location": shown.json["url"],
    }
    assert bad["error"]["code"] == "InvalidPropertyValue"
    assert bad["error"]["message"]["lang"] == "en-US"
    assert {pair["key"]: pair["value"] for pair in bad["error"]["values"]}[
        "PropertyName"
    ] == "requiredSlots"
    assert worse["error"]["code"] == "MissingRequiredProperty"
    assert nameless["taskId"] == ""
    ids = [task["id"] for task in raw("GET", f"/jobs/{lone_job}/tasks").json["value"]]
    assert ids == ["good", "good2"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"value": [{"id": f"t{n}", "commandLine": "x"} for n in range(101)]}, None),
        ({"value": {}}, "InvalidPropertyValue"),
        ({"value": None}, "MissingRequiredProperty"),
        ({}, "MissingRequiredProperty"),
        ([], "InvalidRequestBody"),
        ({"value": [], "more": 1}, "UnsupportedProperty"),
        (b'{"value": [{"id": "t", "commandLine": "x"}', "InvalidRequestBody"),
    ],
)
def test_wrong_collections_add_nothing(raw, lone_job, body, code):
    reply = raw("POST", f"/jobs/{lone_job}/addtaskcollection", body)
    check_error(reply, 400, code or "InvalidPropertyValue")
    assert raw("GET", f"/jobs/{lone_job}/tasks").json["value"] == []


def test_an_empty_collection(raw, lone_job):
    reply = raw("POST", f"/jobs/{lone_job}/addtaskcollection", {"value": []})
    assert (reply.status, reply.json["value"]) == (200, [])


def test_two_megabytes_are_413(raw, lone_job):
    value = [{"id": f"t{n}", "commandLine": "x" * 40_000} for n in range(50)]
    reply = raw("POST", f"/jobs/{lone_job}/addtaskcollection", {"value": value})
    check_error(reply, 413, "RequestBodyTooLarge")
    assert raw("GET", f"/jobs/{lone_job}/tasks").json["value"] == []


def test_missing_job_with_the_sdk(batch):
    with pytest.raises(m.CreateTasksError) as caught:
        batch.create_tasks("no-such-job", plain(3))
    assert isinstance(caught.value.errors[0], HttpResponseError)
    assert caught.value.errors[0].error.code == "JobNotFound"


def test_one_request_with_the_sdk(batch, lone_job):
    add_task(batch, lone_job, "t1")
    group = m.BatchTaskGroup(task_values=plain(3))
    result = batch.create_task_collection(lone_job, group)
    by_id = {one.task_id: one for one in result.result_values}
    assert set(by_id) == {"t0", "t1", "t2"}
    assert by_id["t0"].etag == batch.get_task(lone_job, "t0").etag
    assert by_id["t1"].error.code == "TaskExists"
