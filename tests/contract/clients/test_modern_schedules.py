"""Job schedules with every method of the official Python client 15.1, sync and async."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceNotFoundError
from data_plane.conftest import fresh, until

from .modern import calls, now


def options(schedule_id: str) -> m.BatchJobScheduleCreateOptions:
    """A schedule whose first job starts at once."""
    return m.BatchJobScheduleCreateOptions(
        id=schedule_id,
        display_name="A schedule",
        schedule=m.BatchJobScheduleConfiguration(
            do_not_run_after=now() + timedelta(days=1),
            start_window=timedelta(minutes=5),
            recurrence_interval=timedelta(hours=1),
        ),
        job_specification=m.BatchJobSpecification(
            pool_info=m.BatchPoolInfo(pool_id=fresh("no-pool")), priority=3
        ),
        metadata=[m.BatchMetadataItem(name="team", value="red")],
    )


@pytest.fixture
def schedule(batch):
    """A schedule with one job."""
    schedule_id = fresh("schedule")
    batch.create_job_schedule(options(schedule_id))
    until(lambda: list(batch.list_jobs_from_schedule(schedule_id)))
    yield schedule_id
    try:
        batch.begin_delete_job_schedule(schedule_id, polling_interval=0)
    except ResourceNotFoundError as error:
        assert error.error.code == "JobScheduleNotFound"  # noqa: PT017, the test deleted it


@calls("create_job_schedule", "get_job_schedule")
def test_a_schedule_is_created_and_read(sdk):
    schedule_id, before = fresh("schedule"), now() - timedelta(seconds=2)
    assert sdk.create_job_schedule(options(schedule_id)) is None
    found = sdk.get_job_schedule(schedule_id)
    assert (found.id, found.display_name) == (schedule_id, "A schedule")
    assert found.url.endswith(f"/jobschedules/{schedule_id}")
    assert before <= found.creation_time <= now()
    assert found.state is m.BatchJobScheduleState.ACTIVE
    assert found.schedule.recurrence_interval == timedelta(hours=1)
    assert found.schedule.start_window == timedelta(minutes=5)
    assert found.job_specification.priority == 3
    assert found.metadata[0].value == "red"
    assert found.execution_info.recent_job.id == f"{schedule_id}:job-1"
    assert found.execution_info.next_run_time > now()
    part = sdk.conditional(
        "get_job_schedule",
        schedule_id,
        etag=found.etag,
        select=["id", "schedule"],
        expand=["stats"],
    )
    assert (part.id, part.state) == (schedule_id, None)
    assert part.schedule.start_window == timedelta(minutes=5)
    sdk.refused(409, "JobScheduleExists", "create_job_schedule", options(schedule_id))
    sdk.refused(404, "JobScheduleNotFound", "get_job_schedule", fresh("none"))
    assert sdk.begin_delete_job_schedule(schedule_id) == "Succeeded"


@calls("list_job_schedules", "list_jobs_from_schedule")
def test_schedules_and_their_jobs_are_listed(sdk, schedule):
    found = sdk.list_job_schedules(
        filter=f"id eq '{schedule}'", select=["id", "state"], expand=["stats"], max_results=1
    )
    assert [(one.id, one.state, one.schedule) for one in found] == [(schedule, "active", None)]
    assert schedule in [one.id for one in sdk.list_job_schedules(max_results=1)]
    jobs = sdk.list_jobs_from_schedule(
        schedule,
        filter="state eq 'active'",
        select=["id", "priority"],
        expand=["stats"],
        max_results=1,
    )
    assert [(one.id, one.priority, one.state) for one in jobs] == [(f"{schedule}:job-1", 3, None)]


@calls("job_schedule_exists")
def test_a_schedule_exists(sdk, schedule):
    etag = sdk.get_job_schedule(schedule).etag
    assert sdk.conditional("job_schedule_exists", schedule, etag=etag) is True
    # The client looks for errors before it looks at the status.
    with pytest.raises(ResourceNotFoundError):
        sdk.job_schedule_exists(fresh("none"))


@calls("update_job_schedule", "replace_job_schedule")
def test_a_schedule_is_changed_and_replaced(sdk, schedule):
    before = sdk.get_job_schedule(schedule)
    changes = m.BatchJobScheduleUpdateOptions(
        schedule=m.BatchJobScheduleConfiguration(recurrence_interval=timedelta(hours=2))
    )
    assert sdk.conditional("update_job_schedule", schedule, changes, etag=before.etag) is None
    changed = sdk.get_job_schedule(schedule)
    assert changed.schedule.recurrence_interval == timedelta(hours=2)
    assert changed.metadata[0].value == "red"
    assert changed.etag != before.etag
    changed.metadata = None
    changed.job_specification.priority = 8
    assert sdk.conditional("replace_job_schedule", schedule, changed, etag=changed.etag) is None
    replaced = sdk.get_job_schedule(schedule)
    assert replaced.job_specification.priority == 8
    assert not replaced.metadata


@calls("disable_job_schedule", "enable_job_schedule")
def test_a_schedule_is_disabled_and_enabled(sdk, schedule):
    etag = sdk.get_job_schedule(schedule).etag
    assert sdk.conditional("disable_job_schedule", schedule, etag=etag) is None
    found = sdk.get_job_schedule(schedule)
    assert found.state is m.BatchJobScheduleState.DISABLED
    assert sdk.conditional("enable_job_schedule", schedule, etag=found.etag) is None
    assert sdk.get_job_schedule(schedule).state is m.BatchJobScheduleState.ACTIVE


@calls("begin_terminate_job_schedule", "begin_delete_job_schedule")
def test_a_schedule_is_terminated_and_deleted(sdk, schedule):
    etag = sdk.get_job_schedule(schedule).etag
    done = sdk.conditional("begin_terminate_job_schedule", schedule, etag=etag, force=False)
    assert done == "Succeeded"
    found = sdk.get_job_schedule(schedule)
    assert found.state is m.BatchJobScheduleState.COMPLETED
    assert sdk.conditional("begin_delete_job_schedule", schedule, etag=found.etag) == "Succeeded"
    sdk.refused(404, "JobScheduleNotFound", "get_job_schedule", schedule)
