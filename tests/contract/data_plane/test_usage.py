"""Core hours of pools, totals of the account, subtasks, node agents."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest
from azure.core.exceptions import HttpResponseError

from .conftest import add_task, wait_task
from .raw_http import check_error
from .success import check_headers

HALF_HOUR = timedelta(minutes=30)
JS_VERSION = "2022-10-01.16.0"


def test_core_hours_of_the_shared_pool(batch, pool):
    since = datetime.now(UTC) - timedelta(hours=2)
    found = [
        one
        for one in batch.list_pool_usage_metrics(start_time=since, end_time=datetime.now(UTC))
        if one.pool_id == pool
    ]
    assert 1 <= len(found) <= 2, "the tests of a run take no longer"
    allocated = [node.allocation_time for node in batch.list_nodes(pool)]
    now = datetime.now(UTC)
    for one in found:
        assert one.end_time - one.start_time == HALF_HOUR
        assert one.start_time.minute in (0, 30)
        assert one.vm_size == "standard_d2_v2"
    cores = 2
    longest_h = sum((now - time).total_seconds() for time in allocated) * cores / 3600
    assert 0 < sum(one.total_core_hours for one in found) <= longest_h


def test_usage_by_pages_and_by_filter(batch, raw, pool):
    since = (datetime.now(UTC) - timedelta(hours=2)).strftime("%Y-%m-%dT%H:%M:%SZ")
    asked = f"/poolusagemetrics?startTime={quote(since)}"
    reply = raw("GET", asked)
    check_headers(reply)
    whole = reply.json["value"]
    pages, link = [], f"{asked}&maxresults=1"
    while link:
        shown = raw("GET", link, version=None if "api-version" in link else "2025-06-01").json
        pages += shown["value"]
        link = shown.get("odata.nextLink", "").removeprefix(raw.endpoint)
        assert len(pages) <= len(whole) + 5
    names = [(one["startTime"], one["poolId"]) for one in pages]
    assert names == sorted(names)
    assert set(names) >= {(one["startTime"], one["poolId"]) for one in whole}
    of_pool = quote(f"poolId eq '{pool}'")
    chosen = raw("GET", f"{asked}&$filter={of_pool}").json["value"]
    assert {one["poolId"] for one in chosen} == {pool}


def test_no_usage_before_there_was_anything(batch):
    old = datetime(2020, 1, 1, tzinfo=UTC)
    assert not list(batch.list_pool_usage_metrics(start_time=old, end_time=old + HALF_HOUR))


def test_a_time_that_is_none(raw):
    reply = check_error(
        raw("GET", "/poolusagemetrics?startTime=yesterday"), 400, "InvalidQueryParameterValue"
    )
    assert reply.values["QueryParameterValue"] == "yesterday"


def test_totals_for_older_clients(raw, batch, job):
    """get_lifetime_job_statistics, get_lifetime_pool_statistics."""
    before = raw("GET", "/lifetimejobstats", version=JS_VERSION)
    check_headers(before)
    add_task(batch, job, "good")
    add_task(batch, job, "bad", "/bin/false")
    wait_task(batch, job, "good")
    wait_task(batch, job, "bad")
    after = raw("GET", "/lifetimejobstats", version=JS_VERSION).json
    assert int(after["numSucceededTasks"]) >= 1
    assert int(after["numFailedTasks"]) >= 1
    assert after["startTime"] <= after["lastUpdateTime"]
    pools = raw("GET", "/lifetimepoolstats", version=JS_VERSION).json
    assert pools["usageStats"]["dedicatedCoreTime"].startswith("P")


def test_an_ordinary_task_has_no_subtasks(batch, lone_job):
    add_task(batch, lone_job, "t")
    assert list(batch.list_subtasks(lone_job, "t")) == []
    with pytest.raises(HttpResponseError) as caught:
        list(batch.list_subtasks(lone_job, "none"))
    assert caught.value.error.code == "TaskNotFound"


def test_runs_of_preparation_and_release_tasks(batch, lone_job):
    with pytest.raises(HttpResponseError) as caught:
        list(batch.list_job_preparation_and_release_task_status(lone_job))
    assert caught.value.error.code == "JobPreparationTaskNotSpecified"
    assert caught.value.status_code == 409


def test_node_agents_for_older_clients(raw):
    """list_node_agent_skus."""
    reply = raw("GET", "/nodeagentskus?$filter=osType%20eq%20'linux'", version="2018-12-01.8.0")
    check_headers(reply)
    found = {one["id"]: one for one in reply.json["value"]}
    assert "batch.node.ubuntu 24.04" in found
    for one in found.values():
        assert one["osType"] == "linux"
        for image in one["verifiedImageReferences"]:
            assert {"publisher", "offer", "sku", "version"} <= set(image)
