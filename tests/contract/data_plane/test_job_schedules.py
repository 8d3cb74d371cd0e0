"""Job schedules with the SDK: every operation, what it shows, what it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError, ResourceNotFoundError

from .conftest import add_task, fresh, until, wait_task
from .raw_http import check_error
from .success import check_headers

HOUR = timedelta(hours=1)


def specification(pool: str, **members: object) -> m.BatchJobSpecification:
    return m.BatchJobSpecification(pool_info=m.BatchPoolInfo(pool_id=pool), **members)


def options(schedule_id: str, pool: str, **times: object) -> m.BatchJobScheduleCreateOptions:
    return m.BatchJobScheduleCreateOptions(
        id=schedule_id,
        display_name="Every hour",
        schedule=m.BatchJobScheduleConfiguration(**times),
        job_specification=specification(pool, priority=5),
        metadata=[m.BatchMetadataItem(name="a", value="b")],
    )


@pytest.fixture
def schedule(batch, pool):
    schedule_id = fresh("schedule")
    batch.create_job_schedule(options(schedule_id, pool, recurrence_interval=HOUR))
    yield schedule_id
    batch.begin_delete_job_schedule(schedule_id, polling_interval=0)


def test_what_is_shown(batch, raw, pool, schedule):
    shown = batch.get_job_schedule(schedule)
    assert shown.state == m.BatchJobScheduleState.ACTIVE
    assert shown.display_name == "Every hour"
    assert shown.schedule.recurrence_interval == HOUR
    assert shown.job_specification.priority == 5
    assert shown.job_specification.pool_info.pool_id == pool
    assert shown.metadata[0].as_dict() == {"name": "a", "value": "b"}
    job_id = f"{schedule}:job-1"
    assert shown.execution_info.recent_job.id == job_id
    assert shown.execution_info.recent_job.url == f"{raw.endpoint}/jobs/{job_id}"
    ahead = shown.execution_info.next_run_time - datetime.now(UTC)
    assert timedelta(minutes=50) < ahead <= HOUR
    reply = raw("GET", f"/jobschedules/{schedule}")
    check_headers(reply, etag=True, shown=reply.json)
    assert raw("HEAD", f"/jobschedules/{schedule}").status == 200
    assert batch.job_schedule_exists(schedule)
    assert raw("HEAD", "/jobschedules/none").status == 404


def test_headers_of_a_new_one(raw, pool):
    schedule_id = fresh("schedule")
    body = {
        "id": schedule_id,
        "schedule": {"recurrenceInterval": "PT1H"},
        "jobSpecification": {"poolInfo": {"poolId": pool}},
    }
    made = raw("POST", "/jobschedules", body)
    address = f"{raw.endpoint}/jobschedules/{schedule_id}"
    assert made.status == 201
    check_headers(made, etag=True, service_id=address, location=address)
    check_error(raw("POST", "/jobschedules", body), 409, "JobScheduleExists")
    gone = raw("DELETE", f"/jobschedules/{schedule_id}")
    assert gone.status == 202
    check_headers(gone)


def test_its_jobs_run_tasks(batch, schedule):
    job_id = f"{schedule}:job-1"
    add_task(batch, job_id, "t", "/bin/sh -c 'pwd'")
    wait_task(batch, job_id, "t")
    out = b"".join(batch.download_task_file(job_id, "t", "stdout.txt")).decode()
    assert out.rstrip().endswith(f"workitems/{schedule}/job-1/t/wd")
    assert [job.id for job in batch.list_jobs_from_schedule(schedule)] == [job_id]
    assert [job.id for job in batch.list_jobs_from_schedule(schedule, select=["id"])] == [job_id]
    completed = batch.list_jobs_from_schedule(schedule, filter="state eq 'completed'")
    assert list(completed) == []


def test_lists_filters_and_pages(batch, pool, schedule):
    others = [fresh("schedule") for _ in range(2)]
    for other in others:
        batch.create_job_schedule(options(other, pool, recurrence_interval=HOUR))
    ids = [schedule, *others]
    found = [one.id for one in batch.list_job_schedules()]
    assert set(ids) <= set(found)
    assert found == sorted(found, key=str.lower)
    paged = [one.id for one in batch.list_job_schedules(max_results=1)]
    assert set(ids) <= set(paged)
    for text, expected in (
        (f"id eq '{schedule}'", {schedule}),
        (f"startswith(id,'{schedule}') and state eq 'active'", {schedule}),
        ("creationTime lt DateTime'2001-01-01T00:00:00Z'", set()),
        ("schedule/doNotRunUntil gt DateTime'2001-01-01T00:00:00Z'", set()),
    ):
        assert {one.id for one in batch.list_job_schedules(filter=text)} == expected
    for other in others:
        batch.begin_delete_job_schedule(other, polling_interval=0).wait()


def test_patch_and_put(batch, pool, schedule):
    batch.update_job_schedule(
        schedule,
        m.BatchJobScheduleUpdateOptions(
            schedule=m.BatchJobScheduleConfiguration(recurrence_interval=2 * HOUR)
        ),
    )
    shown = batch.get_job_schedule(schedule)
    assert shown.schedule.recurrence_interval == 2 * HOUR
    assert shown.metadata[0].name == "a"
    shown.schedule = m.BatchJobScheduleConfiguration(
        recurrence_interval=3 * HOUR, start_window=HOUR
    )
    shown.metadata = None
    batch.replace_job_schedule(schedule, shown)
    shown = batch.get_job_schedule(schedule)
    assert (shown.schedule.recurrence_interval, shown.schedule.start_window) == (3 * HOUR, HOUR)
    assert not shown.metadata


def test_disable_enable_terminate_delete(batch, raw, pool):
    schedule_id = fresh("schedule")
    batch.create_job_schedule(options(schedule_id, pool, recurrence_interval=HOUR))
    batch.disable_job_schedule(schedule_id)
    shown = batch.get_job_schedule(schedule_id)
    assert (shown.state, shown.previous_state) == ("disabled", "active")
    assert shown.execution_info.next_run_time is None
    batch.enable_job_schedule(schedule_id)
    assert batch.get_job_schedule(schedule_id).state == "active"
    batch.begin_terminate_job_schedule(schedule_id, polling_interval=0).wait()
    ended = until(
        lambda: (
            shown if (shown := batch.get_job_schedule(schedule_id)).state == "completed" else None
        )
    )
    assert ended.execution_info.end_time is not None
    job = batch.get_job(f"{schedule_id}:job-1")
    assert job.execution_info.termination_reason == "TerminateJobSchedule"
    path = f"/jobschedules/{schedule_id}"
    check_error(raw("POST", f"{path}/enable"), 409, "JobScheduleCompleted")
    check_error(raw("POST", f"{path}/terminate"), 409, "JobScheduleCompleted")
    batch.begin_delete_job_schedule(schedule_id, polling_interval=0).wait()

    def is_gone():
        return raw("GET", path).status == 404

    assert until(is_gone)
    with pytest.raises(ResourceNotFoundError):
        batch.get_job(f"{schedule_id}:job-1")


def test_conditions(batch, schedule):
    shown = batch.get_job_schedule(schedule)
    batch.disable_job_schedule(
        schedule, etag=shown.etag, match_condition=MatchConditions.IfNotModified
    )
    with pytest.raises(ResourceModifiedError):
        batch.enable_job_schedule(
            schedule, etag=shown.etag, match_condition=MatchConditions.IfNotModified
        )
    batch.enable_job_schedule(schedule)


@pytest.mark.parametrize(
    ("times", "prop"),
    [
        ({"recurrenceInterval": "PT30S"}, "schedule.recurrenceInterval"),
        ({"startWindow": "PT1S"}, "schedule.startWindow"),
        ({"doNotRunUntil": "soon"}, "schedule.doNotRunUntil"),
    ],
)
def test_wrong_times(raw, pool, times, prop):
    body = {
        "id": fresh("schedule"),
        "schedule": times,
        "jobSpecification": {"poolInfo": {"poolId": pool}},
    }
    reply = check_error(raw("POST", "/jobschedules", body), 400, "InvalidPropertyValue")
    assert reply.values["PropertyName"] == prop
    check_error(raw("GET", f"/jobschedules/{body['id']}"), 404, "JobScheduleNotFound")


def test_one_that_is_not_there(batch):
    for call in (
        lambda: batch.get_job_schedule("none"),
        lambda: batch.disable_job_schedule("none"),
        lambda: list(batch.list_jobs_from_schedule("none")),
    ):
        with pytest.raises(HttpResponseError) as caught:
            call()
        assert caught.value.error.code == "JobScheduleNotFound"
