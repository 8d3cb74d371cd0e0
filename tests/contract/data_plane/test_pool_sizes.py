"""Pools that grow and shrink: resize, stop, remove nodes, and the pollers that wait for them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError

from lote.cli.service import temporary_service

from .conftest import (
    add_task,
    create_pool,
    fresh,
    new_client,
    shell,
    until,
    wait_steady,
    wait_task,
)
from .raw_http import check_error
from .success import check_headers

QUICK = {"polling_interval": 0.02}


@pytest.fixture
def sized(batch):
    """A pool of one node, gone after the test."""
    pool_id = fresh("sized")
    create_pool(batch, pool_id, 1)
    wait_steady(batch, pool_id)
    yield pool_id
    batch.begin_delete_pool(pool_id, **QUICK)


def test_a_new_pool_is_resizing_at_once(batch, raw):
    pool_id = fresh("new")
    create_pool(batch, pool_id, 1)
    made = raw("GET", f"/pools/{pool_id}")
    assert made.json["targetDedicatedNodes"] == 1
    assert made.json["allocationState"] in ("resizing", "steady")
    wait_steady(batch, pool_id)
    settled = raw("GET", f"/pools/{pool_id}").json
    # Settling is no change that the user made: the ETag stays.
    assert settled["eTag"] == made.headers["etag"]
    assert settled["currentDedicatedNodes"] == 1
    assert settled["allocationStateTransitionTime"] >= settled["creationTime"]
    assert raw("DELETE", f"/pools/{pool_id}").status == 202


def test_resize_poller_ends_steady(batch, sized):
    options = m.BatchPoolResizeOptions(target_dedicated_nodes=2, target_low_priority_nodes=1)
    poller = batch.begin_resize_pool(sized, options, **QUICK)
    assert poller.result() is None
    assert poller.status() == "Succeeded"
    pool = batch.get_pool(sized)
    assert pool.allocation_state == "steady"
    assert (pool.current_dedicated_nodes, pool.current_low_priority_nodes) == (2, 1)
    assert pool.resize_errors is None
    assert sorted(node.is_dedicated for node in batch.list_nodes(sized)) == [False, True, True]


def test_resize_headers_and_state_before_the_answer(batch, raw, sized):
    before = raw("GET", f"/pools/{sized}").headers["etag"]
    body = {"targetDedicatedNodes": 2, "nodeDeallocationOption": "TaskCompletion"}
    reply = raw("POST", f"/pools/{sized}/resize", body)
    assert (reply.status, reply.body) == (202, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/pools/{sized}/resize")
    assert reply.headers["etag"] != before
    until(lambda: batch.get_pool(sized).allocation_state == "steady")


def test_a_missing_target_stays(batch, sized):
    options = m.BatchPoolResizeOptions(target_low_priority_nodes=1)
    batch.begin_resize_pool(sized, options, **QUICK).result()
    pool = batch.get_pool(sized)
    assert (pool.target_dedicated_nodes, pool.target_low_priority_nodes) == (1, 1)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "MissingRequiredProperty"),
        ({"targetDedicatedNodes": -1}, "InvalidPropertyValue"),
        ({"targetDedicatedNodes": 2, "resizeTimeout": "PT1M"}, "InvalidPropertyValue"),
        ({"targetDedicatedNodes": 2, "nodeDeallocationOption": "x"}, "InvalidPropertyValue"),
        ({"targetDedicatedNodes": 2, "else": 1}, "UnsupportedProperty"),
    ],
)
def test_wrong_resizes_change_nothing(raw, pool, body, code):
    before = raw("GET", f"/pools/{pool}").body
    check_error(raw("POST", f"/pools/{pool}/resize", body), 400, code)
    assert raw("GET", f"/pools/{pool}").body == before


def test_resize_needs_a_body(raw, pool):
    check_error(raw("POST", f"/pools/{pool}/resize"), 400, "InvalidRequestBody")


def test_stop_resize_of_a_steady_pool_changes_nothing(batch, raw, sized):
    before = raw("GET", f"/pools/{sized}")
    reply = raw("POST", f"/pools/{sized}/stopresize")
    assert (reply.status, reply.body) == (202, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/pools/{sized}/stopresize")
    assert reply.headers["etag"] == before.headers["etag"]
    assert raw("GET", f"/pools/{sized}").body == before.body


def test_stop_resize_poller(batch, sized):
    batch.begin_resize_pool(
        sized, m.BatchPoolResizeOptions(target_dedicated_nodes=4), polling_interval=5
    )
    poller = batch.begin_stop_pool_resize(sized, **QUICK)
    poller.result()
    assert poller.status() == "Succeeded"
    pool = batch.get_pool(sized)
    assert pool.allocation_state == "steady"
    if pool.current_dedicated_nodes < 4:
        assert [error.code for error in pool.resize_errors] == ["ResizeStopped"]
    batch.begin_resize_pool(
        sized, m.BatchPoolResizeOptions(target_dedicated_nodes=1), **QUICK
    ).result()
    assert batch.get_pool(sized).resize_errors is None


def test_remove_nodes_lowers_the_target(batch, raw, sized):
    batch.begin_resize_pool(
        sized, m.BatchPoolResizeOptions(target_dedicated_nodes=2), **QUICK
    ).result()
    first, second = wait_steady(batch, sized)
    options = m.BatchNodeRemoveOptions(node_ids=[first.id.upper()])
    poller = batch.begin_remove_nodes(sized, options, **QUICK)
    poller.result()
    assert poller.status() == "Succeeded"
    pool = batch.get_pool(sized)
    assert (pool.target_dedicated_nodes, pool.current_dedicated_nodes) == (1, 1)
    assert [node.id for node in batch.list_nodes(sized)] == [second.id]
    with pytest.raises(ResourceNotFoundError) as caught:
        batch.get_node(sized, first.id)
    assert caught.value.error.code == "NodeNotFound"


def test_remove_nodes_answer(raw, batch, sized):
    (node,) = batch.list_nodes(sized)
    reply = raw("POST", f"/pools/{sized}/removenodes", {"nodeList": [node.id]})
    assert (reply.status, reply.body) == (202, b"")
    check_headers(reply, etag=True, service_id=f"{raw.endpoint}/pools/{sized}/removenodes")
    until(lambda: batch.get_pool(sized).allocation_state == "steady")


@pytest.mark.parametrize(
    ("names", "status", "code"),
    [
        ([], 400, "InvalidPropertyValue"),
        (["n"] * 101, 400, "InvalidPropertyValue"),
        (["no-such-node"], 404, "NodeNotFound"),
    ],
)
def test_wrong_removals_change_nothing(raw, pool, names, status, code):
    before = raw("GET", f"/pools/{pool}").body
    body = {"nodeList": names}
    check_error(raw("POST", f"/pools/{pool}/removenodes", body), status, code)
    assert raw("GET", f"/pools/{pool}").body == before


def test_one_unknown_node_refuses_the_whole_removal(raw, batch, pool):
    known = next(iter(batch.list_nodes(pool))).id
    body = {"nodeList": [known, "no-such-node"]}
    check_error(raw("POST", f"/pools/{pool}/removenodes", body), 404, "NodeNotFound")
    assert batch.get_node(pool, known).state in ("idle", "running")


@pytest.mark.parametrize("option", ["requeue", "terminate", "taskcompletion"])
def test_what_runs_on_a_node_that_leaves(batch, sized, option, gate):
    job_id = fresh("leaving")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=sized)))
    add_task(batch, job_id, "t", gate.waits)
    wait_task(batch, job_id, "t", "running")
    options = m.BatchPoolResizeOptions(target_dedicated_nodes=0, node_deallocation_option=option)
    poller = batch.begin_resize_pool(sized, options, **QUICK)
    if option == "taskcompletion":
        node = next(iter(batch.list_nodes(sized)))
        assert node.state == "leavingpool"
        assert batch.get_pool(sized).allocation_state == "resizing"
        gate.open()
    poller.result()
    task = batch.get_task(job_id, "t")
    if option == "requeue":
        assert (task.state, task.execution_info.requeue_count) == ("active", 1)
        assert task.execution_info.last_requeue_time
    elif option == "terminate":
        assert (task.state, task.execution_info.failure_info.code) == ("completed", "TaskEnded")
    else:
        assert (task.state, task.execution_info.exit_code) == ("completed", 0)
    assert list(batch.list_nodes(sized)) == []
    batch.begin_delete_job(job_id, **QUICK).result()


def test_a_deleted_pool_requeues_and_a_new_one_of_its_name_takes_over(batch):
    pool_id, job_id = fresh("again"), fresh("again-job")
    create_pool(batch, pool_id, 1)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id)))
    add_task(batch, job_id, "t", shell("sleep 60"))
    add_task(batch, job_id, "u")
    wait_task(batch, job_id, "t", "running")
    batch.begin_delete_pool(pool_id, **QUICK).result()
    task = batch.get_task(job_id, "t")
    assert (task.state, task.execution_info.requeue_count) == ("active", 1)
    batch.terminate_task(job_id, "t")
    create_pool(batch, pool_id, 1)
    assert wait_task(batch, job_id, "u").execution_info.exit_code == 0
    batch.begin_delete_job(job_id, **QUICK).result()
    batch.begin_delete_pool(pool_id, **QUICK).result()


def test_a_resize_within_a_resize_is_refused(batch, sized, gate):
    job_id = fresh("holding")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=sized)))
    add_task(batch, job_id, "t", gate.waits)
    wait_task(batch, job_id, "t", "running")
    empty = m.BatchPoolResizeOptions(
        target_dedicated_nodes=0, node_deallocation_option="taskcompletion"
    )
    poller = batch.begin_resize_pool(sized, empty, **QUICK)
    again = m.BatchPoolResizeOptions(target_dedicated_nodes=3)
    with pytest.raises(ResourceExistsError) as caught:
        batch.begin_resize_pool(sized, again, **QUICK)
    assert caught.value.error.code == "PoolBeingResized"
    node = next(iter(batch.list_nodes(sized)))
    with pytest.raises(ResourceExistsError) as caught:
        batch.begin_remove_nodes(sized, m.BatchNodeRemoveOptions(node_ids=[node.id]), **QUICK)
    assert caught.value.error.code == "PoolBeingResized"
    assert batch.get_pool(sized).target_dedicated_nodes == 0
    gate.open()
    poller.result()
    batch.begin_delete_job(job_id, **QUICK).result()


def test_a_local_pool_has_as_many_nodes_as_the_machine_may(tmp_path, monkeypatch):
    monkeypatch.setenv("LOTE_LOCAL_NODES_MAX", "2")
    with temporary_service(tmp_path) as ready:
        batch = new_client(ready)
        create_pool(batch, "small", 3)
        pool = until(lambda: (p := batch.get_pool("small")).allocation_state == "steady" and p)
        assert (pool.current_dedicated_nodes, pool.target_dedicated_nodes) == (2, 3)
        assert [error.code for error in pool.resize_errors] == ["AccountCoreQuotaReached"]
        options = m.BatchPoolResizeOptions(target_dedicated_nodes=1)
        batch.begin_resize_pool("small", options, **QUICK).result()
        pool = batch.get_pool("small")
        assert (pool.current_dedicated_nodes, pool.resize_errors) == (1, None)


def test_a_node_with_retained_data_waits_until_none_is_left(batch, sized):
    """By the retention time of one task, and by the deletion of the other's job."""
    info = m.BatchPoolInfo(pool_id=sized)
    jobs = [fresh("retained"), fresh("retained")]
    for job_id in jobs:
        batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    brief = m.BatchTaskConstraints(retention_time=timedelta(seconds=1))
    add_task(batch, jobs[0], "brief", constraints=brief)
    add_task(batch, jobs[1], "long")
    for job_id, task_id in zip(jobs, ("brief", "long"), strict=True):
        wait_task(batch, job_id, task_id)
    options = m.BatchPoolResizeOptions(
        target_dedicated_nodes=0, node_deallocation_option="retaineddata"
    )
    batch.begin_resize_pool(sized, options, polling_interval=5)
    until(lambda: has_gone(batch, jobs[0], "brief"))
    (node,) = batch.list_nodes(sized)
    assert node.state == "leavingpool"
    assert batch.get_pool(sized).allocation_state == "resizing"
    batch.begin_delete_job(jobs[1], **QUICK)
    until(lambda: not list(batch.list_nodes(sized)))
    until(lambda: batch.get_pool(sized).allocation_state == "steady")
    batch.begin_delete_job(jobs[0], **QUICK).result()


def has_gone(batch, job_id: str, task_id: str) -> bool:
    """Whether the files of a task are no more."""
    try:
        list(batch.list_task_files(job_id, task_id))
    except HttpResponseError as error:
        return error.status_code == 409
    return False
