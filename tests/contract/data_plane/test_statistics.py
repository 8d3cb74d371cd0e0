"""Statistics: shown when asked for, at once, and true of what ran."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from azure.batch import models as m

from .conftest import add_task, fresh, shell, until, wait_task
from .raw_http import Raw

OF_WORK = {
    *("url", "startTime", "lastUpdateTime", "userCPUTime", "kernelCPUTime", "wallClockTime"),
    *("readIOps", "writeIOps", "readIOGiB", "writeIOGiB", "waitTime"),
}
OF_JOBS = OF_WORK | {"numSucceededTasks", "numFailedTasks", "numTaskRetries"}
BURN = shell("i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done")
RETRIED = m.BatchTaskConstraints(max_task_retry_count=2)


def seconds(duration: str) -> float:
    """Of durations below an hour."""
    minutes, part = re.fullmatch(r"PT(?:(\d+)M)?(?:([\d.]+)S)?", duration).groups()
    return 60 * int(minutes or 0) + float(part or 0)


def stats_of(raw: Raw, path: str, option: str = "$expand=stats") -> dict:
    return raw("GET", f"{path}?{option}").json["stats"]


@pytest.fixture(scope="module")
def worked(batch, pool, raw):
    """A job whose three tasks ended: one burned time, one failed three times, one was stopped."""
    job_id = fresh("statistics")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool)))
    add_task(batch, job_id, "burns", BURN)
    add_task(batch, job_id, "fails", "/bin/false", constraints=RETRIED)
    add_task(batch, job_id, "waits", required_slots=256)
    wait_task(batch, job_id, "burns")
    wait_task(batch, job_id, "fails")
    batch.terminate_task(job_id, "waits")
    add_task(batch, job_id, "open", required_slots=256)
    yield job_id
    batch.begin_delete_job(job_id, polling_interval=0)


def test_of_a_task(raw, worked):
    stats = stats_of(raw, f"/jobs/{worked}/tasks/burns")
    assert stats.keys() == OF_WORK
    assert stats["url"].endswith(f"/jobs/{worked}/tasks/burns")
    worked_s = seconds(stats["userCPUTime"]) + seconds(stats["kernelCPUTime"])
    assert 0.001 < worked_s <= seconds(stats["wallClockTime"]) + 0.05
    assert isinstance(stats["readIOps"], str)
    assert stats["readIOGiB"] == pytest.approx(int(stats["readIOps"]) * 512 / 2**30)


def test_of_a_task_that_was_tried_again(raw, worked):
    """Its time is that of all attempts, its wait ends with the last of them."""
    task = raw("GET", f"/jobs/{worked}/tasks/fails?$expand=stats").json
    assert task["executionInfo"]["retryCount"] == 2
    assert seconds(task["stats"]["waitTime"]) >= 0


def test_only_when_asked_for(raw, worked):
    for path in (f"/jobs/{worked}", f"/jobs/{worked}/tasks/burns"):
        assert "stats" not in raw("GET", path).json
        assert "stats" not in raw("GET", path + "?$select=id").json
        assert "stats" in raw("GET", path + "?$select=id,%20stats").json


def test_a_task_has_none_before_its_end(raw, worked):
    assert "stats" not in raw("GET", f"/jobs/{worked}/tasks/open?$expand=stats").json


def test_of_a_job(raw, worked):
    stats = stats_of(raw, f"/jobs/{worked}")
    assert stats.keys() == OF_JOBS
    ends = {name: stats[name] for name in OF_JOBS - OF_WORK}
    assert ends == {"numSucceededTasks": "1", "numFailedTasks": "2", "numTaskRetries": "2"}
    tasks = raw("GET", f"/jobs/{worked}/tasks?$expand=stats").json["value"]
    each = {task["id"]: task["stats"] for task in tasks if "stats" in task}
    assert each.keys() == {"burns", "fails", "waits"}
    for name in ("userCPUTime", "kernelCPUTime", "wallClockTime", "waitTime"):
        total_s = sum(seconds(one[name]) for one in each.values())
        assert seconds(stats[name]) == pytest.approx(total_s, abs=1e-5)


def test_of_jobs_in_a_list(batch, raw, worked):
    (job,) = batch.list_jobs(filter=f"id eq '{worked}'", expand=["stats"])
    assert job.job_statistics.failed_tasks_count == 2
    assert job.job_statistics.user_cpu_time.total_seconds() > 0
    (job,) = batch.list_jobs(filter=f"id eq '{worked}'")
    assert job.job_statistics is None


def test_of_a_job_without_tasks(raw, lone_job):
    stats = stats_of(raw, f"/jobs/{lone_job}")
    assert stats["numSucceededTasks"] == "0"
    assert stats["wallClockTime"] == stats["waitTime"] == "PT0S"


def test_what_a_deleted_task_used_stays_with_the_job(batch, pool, raw, job):
    add_task(batch, job, "t", BURN)
    wait_task(batch, job, "t")
    before = stats_of(raw, f"/jobs/{job}")
    batch.delete_task(job, "t")
    after = stats_of(raw, f"/jobs/{job}")
    assert after["userCPUTime"] == before["userCPUTime"] != "PT0S"
    assert after["numSucceededTasks"] == before["numSucceededTasks"] == "1"


def test_what_a_terminated_task_used_is_told_when_its_node_has_ended_it(batch, raw, job):
    burn = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo burned; exec sleep 300"
    add_task(batch, job, "t", shell(burn))

    def stdout() -> bytes:
        paths = [one.name for one in batch.list_task_files(job, "t")] if is_at_work() else []
        if "stdout.txt" not in paths:
            return b""
        return b"".join(batch.download_task_file(job, "t", "stdout.txt"))

    def is_at_work() -> bool:
        return batch.get_task(job, "t").state == "running"

    until(lambda: stdout() == b"burned\n")
    batch.terminate_task(job, "t")
    path = f"/jobs/{job}/tasks/t"
    stats = until(lambda: with_processor_time(stats_of(raw, path)))
    assert stats.keys() == OF_WORK
    assert stats_of(raw, f"/jobs/{job}")["userCPUTime"] == stats["userCPUTime"]


def with_processor_time(stats: dict) -> dict | None:
    return stats if "userCPUTime" in stats and seconds(stats["userCPUTime"]) > 0 else None


def test_of_a_pool(batch, pool, raw):
    stats = stats_of(raw, f"/pools/{pool}")
    measured = stats.pop("resourceStats", None)  # there when the pool is half a minute old
    assert measured is None or 0 <= measured["avgCPUPercentage"] <= 100
    assert stats.keys() == {"url", "startTime", "lastUpdateTime", "usageStats"}
    assert stats["usageStats"].keys() == {"startTime", "lastUpdateTime", "dedicatedCoreTime"}
    (shown,) = batch.list_pools(filter=f"id eq '{pool}'", expand=["stats"])
    assert shown.pool_statistics.usage_statistics.dedicated_core_time.total_seconds() > 0
    first, second = (stats_of(raw, f"/pools/{pool}")["lastUpdateTime"] for _ in range(2))
    # whether or not anything was committed in between
    assert datetime.fromisoformat(first) < datetime.fromisoformat(second)


def test_of_a_schedule(batch, pool, raw):
    schedule_id = fresh("schedule")
    manager = {"id": "manager", "commandLine": BURN}
    body = {
        "id": schedule_id,
        "schedule": {"recurrenceInterval": "P1D"},
        "jobSpecification": {"poolInfo": {"poolId": pool}, "jobManagerTask": manager},
    }
    assert raw("POST", "/jobschedules", body).status == 201
    path = f"/jobschedules/{schedule_id}"
    until(lambda: stats_of(raw, path)["numSucceededTasks"] == "1")
    stats = stats_of(raw, path, "$select=stats")
    assert stats.keys() == OF_JOBS
    assert seconds(stats["userCPUTime"]) > 0
    (one,) = raw("GET", f"{path}/jobs?$expand=stats").json["value"]
    assert one["stats"]["userCPUTime"] == stats["userCPUTime"]
    shown = raw("GET", f"/jobschedules?$filter=id%20eq%20'{schedule_id}'&$expand=stats").json
    assert shown["value"][0]["stats"]["userCPUTime"] == stats["userCPUTime"]
    account = lifetime(raw)
    raw("DELETE", f"/jobs/{one['id']}")  # "all Jobs created under the schedule"
    until(lambda: raw("GET", f"/jobs/{one['id']}").status == 404)
    after = stats_of(raw, path)
    for name in OF_JOBS - {"lastUpdateTime"}:
        assert after[name] == stats[name]
    raw("DELETE", path)
    until(lambda: raw("GET", path).status == 404)
    after = lifetime(raw)
    assert seconds(after["userCPUTime"]) >= seconds(account["userCPUTime"])
    assert int(after["numSucceededTasks"]) >= int(account["numSucceededTasks"])


def lifetime(raw: Raw) -> dict:
    return raw("GET", "/lifetimejobstats", version="2022-10-01.16.0").json


def test_of_all_jobs_for_older_clients(raw, worked):
    stats = lifetime(raw)
    assert stats.keys() - {"odata.metadata"} == OF_JOBS
    assert int(stats["numTaskRetries"]) >= 2
    assert seconds(stats["userCPUTime"]) >= seconds(stats_of(raw, f"/jobs/{worked}")["userCPUTime"])
