"""Conditional requests: on every operation that has them, and only there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime

import pytest
from azure.batch import models as m
from azure.core import MatchConditions
from azure.core.exceptions import ResourceModifiedError, ResourceNotFoundError

from .conftest import VM_SIZE, add_task, fresh
from .raw_http import Raw, check_error

Made = tuple[str, str]
MESSAGE = "The condition specified using HTTP conditional header(s) is not met."


def make_pool(raw: Raw) -> Made:
    pool_id = fresh("conditioned")
    image = {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"}
    machine = {"imageReference": image, "nodeAgentSKUId": "batch.node.ubuntu 24.04"}
    body = {"id": pool_id, "vmSize": VM_SIZE, "virtualMachineConfiguration": machine}
    assert raw("POST", "/pools", body).status == 201
    return f"/pools/{pool_id}", f"/pools/{pool_id}"


def make_job(raw: Raw) -> Made:
    job_id = fresh("conditioned")
    assert raw("POST", "/jobs", {"id": job_id, "poolInfo": {"poolId": "p"}}).status == 201
    return f"/jobs/{job_id}", f"/jobs/{job_id}"


def make_disabled_job(raw: Raw) -> Made:
    path, _ = make_job(raw)
    raw("POST", f"{path}/disable", {"disableTasks": "wait"})
    return path, path


def make_task(raw: Raw) -> Made:
    path, _ = make_job(raw)
    assert raw("POST", f"{path}/tasks", {"id": "t", "commandLine": "x"}).status == 201
    return f"{path}/tasks/t", f"{path}/tasks/t"


def make_failed_task(raw: Raw) -> Made:
    path, _ = make_task(raw)
    assert raw("POST", f"{path}/terminate").status == 204
    return path, path


WRITES: list[tuple[Callable[[Raw], Made], str, str, object, int]] = [
    (make_pool, "PATCH", "", {"metadata": []}, 200),
    (make_pool, "DELETE", "", None, 202),
    (make_pool, "POST", "/resize", {"targetLowPriorityNodes": 0}, 202),
    (make_pool, "POST", "/stopresize", None, 202),
    (make_pool, "POST", "/enableautoscale", {"autoScaleFormula": "$TargetDedicatedNodes=0;"}, 200),
    (make_job, "PATCH", "", {"priority": 1}, 200),
    (make_job, "PUT", "", {"poolInfo": {"poolId": "p"}}, 200),
    (make_job, "DELETE", "", None, 202),
    (make_job, "POST", "/disable", {"disableTasks": "wait"}, 202),
    (make_disabled_job, "POST", "/enable", None, 202),
    (make_job, "POST", "/terminate", None, 202),
    (make_task, "PUT", "", {"constraints": {}}, 200),
    (make_task, "DELETE", "", None, 200),
    (make_task, "POST", "/terminate", None, 204),
    (make_failed_task, "POST", "/reactivate", None, 204),
]
ids = [f"{make.__name__[5:]}-{method}{rest}" for make, method, rest, _, _ in WRITES]
STALE = "0x8D0000000000000"


def later(moment: str, seconds: int) -> str:
    return format_datetime(parsedate_to_datetime(moment) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(("make", "method", "rest", "body", "status"), WRITES, ids=ids)
def test_writes(raw, make, method, rest, body, status):
    path, _ = make(raw)
    before = raw("GET", path)
    etag, modified = before.headers["etag"], before.headers["last-modified"]
    failing = [
        {"if-match": STALE},
        {"if-match": f'"{STALE}"'},
        {"if-none-match": etag},
        {"if-none-match": f'W/"{etag}"'},
        {"if-none-match": "*"},
        {"if-modified-since": modified},
        {"if-modified-since": later(modified, 60)},
        {"if-unmodified-since": later(modified, -1)},
    ]
    for headers in failing:
        reply = check_error(raw(method, path + rest, body, headers), 412, "ConditionNotMet")
        assert MESSAGE in reply.json["message"]["value"]
        after = raw("GET", path)
        assert (after.body, after.headers["etag"]) == (before.body, etag), headers
    passing = {
        "if-match": f'"{etag}"',
        "if-none-match": STALE,
        "if-modified-since": later(modified, -60),
        "if-unmodified-since": modified,
    }
    reply = raw(method, path + rest, body, passing)
    assert reply.status == status, reply.body


@pytest.mark.parametrize("value", ["*", "ETAG", '"ETAG"', 'W/"ETAG"'])
@pytest.mark.parametrize("make", [make_pool, make_job, make_task])
def test_ways_to_write_a_match(raw, make, value):
    path, _ = make(raw)
    etag = raw("GET", path).headers["etag"]
    method, body = ("PUT", {}) if make is make_task else ("PATCH", {"metadata": []})
    reply = raw(method, path, body, {"if-match": value.replace("ETAG", etag)})
    assert reply.status == 200
    if value != "*":
        again = raw(method, path, body, {"if-match": value.replace("ETAG", etag)})
        check_error(again, 412, "ConditionNotMet")


@pytest.mark.parametrize("make", [make_pool, make_job, make_task])
def test_reads(raw, make):
    path, _ = make(raw)
    methods = ("GET", "HEAD") if make is make_pool else ("GET",)
    whole = raw("GET", path)
    etag, modified = whole.headers["etag"], whole.headers["last-modified"]
    for method in methods:
        for headers in (
            {"if-none-match": etag},
            {"if-none-match": f'"{etag}"'},
            {"if-none-match": "*"},
            {"if-modified-since": modified},
            {"if-modified-since": later(modified, 60)},
        ):
            reply = raw(method, path, None, headers)
            assert (reply.status, reply.body) == (304, b"")
            assert reply.headers["request-id"]
        for headers in ({"if-match": STALE}, {"if-unmodified-since": later(modified, -1)}):
            assert raw(method, path, None, headers).status == 412
        for headers in (
            {"if-match": f'"{etag}"'},
            {"if-match": "*"},
            {"if-none-match": STALE},
            {"if-modified-since": later(modified, -1)},
            {"if-unmodified-since": modified},
        ):
            reply = raw(method, path, None, headers)
            assert reply.status == 200
            if method == "GET":
                assert reply.body == whole.body


@pytest.mark.parametrize("name", ["if-modified-since", "if-unmodified-since"])
def test_unreadable_dates(raw, name):
    path, _ = make_job(raw)
    reply = raw("GET", path, None, {name: "the other day"})
    check_error(reply, 400, "InvalidHeaderValue")
    assert reply.values["HeaderName"].lower() == name


def test_where_there_are_no_conditions(raw):
    """On these operations the headers mean nothing."""
    pool, _ = make_pool(raw)
    job, _ = make_job(raw)
    task, _ = make_task(raw)
    never = {"if-match": STALE, "if-unmodified-since": "Sun, 08 May 2011 08:49:37 GMT"}
    update = {"metadata": [], "applicationPackageReferences": []}
    fresh_job = {"id": fresh("unconditioned"), "poolInfo": {"poolId": "p"}}
    for method, path, body, status in (
        ("POST", f"{pool}/updateproperties", update, 204),
        ("GET", "/pools", None, 200),
        ("GET", f"{job}/tasks", None, 200),
        ("GET", f"{job}/taskcounts", None, 200),
        ("POST", f"{job}/tasks", {"id": "t", "commandLine": "x"}, 201),
        ("POST", "/jobs", fresh_job, 201),
        ("GET", f"{pool}/nodes", None, 200),
    ):
        reply = raw(method, path, body, never)
        assert reply.status == status, (path, reply.body)
    assert raw("GET", task).status == 200


def test_conditions_with_the_sdk(batch, lone_job):
    etag = batch.get_job(lone_job).etag
    same = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
    batch.update_job(lone_job, m.BatchJobUpdateOptions(priority=1), **same)
    with pytest.raises(ResourceModifiedError) as caught:
        batch.update_job(lone_job, m.BatchJobUpdateOptions(priority=2), **same)
    assert caught.value.status_code == 412
    assert caught.value.error.code == "ConditionNotMet"
    assert batch.get_job(lone_job).priority == 1
    now = batch.get_job(lone_job).etag
    with pytest.raises(ResourceModifiedError) as caught:
        batch.get_job(lone_job, etag=now, match_condition=MatchConditions.IfModified)
    assert caught.value.status_code == 304
    old = datetime(2020, 1, 1, tzinfo=UTC)
    with pytest.raises(Exception, match="not met"):
        batch.update_job(lone_job, m.BatchJobUpdateOptions(priority=3), if_unmodified_since=old)
    assert batch.get_job(lone_job, if_modified_since=old).priority == 1


def test_task_conditions_with_the_sdk(batch, lone_job):
    add_task(batch, lone_job, "t")
    etag = batch.get_task(lone_job, "t").etag
    with pytest.raises(ResourceModifiedError):
        batch.delete_task(lone_job, "t", etag=STALE, match_condition=MatchConditions.IfNotModified)
    batch.delete_task(lone_job, "t", etag=etag, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceNotFoundError):
        batch.get_task(lone_job, "t")


def test_every_write_gives_another_etag(raw):
    """Also writes within one microsecond of each other."""
    path, _ = make_job(raw)
    etags = [raw("PATCH", path, {"priority": n}).headers["etag"] for n in range(20)]
    assert len(set(etags)) == 20
    assert etags == sorted(etags)
