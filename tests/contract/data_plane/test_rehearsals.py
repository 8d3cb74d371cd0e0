"""Failures on purpose, as the SDK meets them, asked for by `lote rehearse`."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from typer.testing import CliRunner

from lote.cli.ready import Ready, exports
from lote.cli.service import temporary_service
from lote.main import app

from .conftest import add_task, create_pool, fresh, new_client, until, wait_steady, wait_task
from .raw_http import Raw, check_error

QUICK = {"polling_interval": 0.02}


def terminal_of(ready: Ready) -> Callable[..., str]:
    """Runs `lote rehearse` on a service: what it printed."""
    environment = {**exports(ready), "COLUMNS": "200"}

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["rehearse", *words], env=environment)
        assert done.exit_code == code, done.output
        return done.output

    return run


@pytest.fixture
def lote(service):
    """`lote rehearse` on the service of all tests. Ends all rehearsals at the end."""
    run = terminal_of(service)
    yield run
    run("stop")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """A service that nobody else asks for anything, as the pollers of other tests might."""
    with temporary_service(tmp_path_factory.mktemp("quiet")) as ready:
        yield ready


@pytest.fixture
def quiet_job(quiet):
    """A job on the quiet service."""
    job_id = fresh("quiet-job")
    with new_client(quiet) as batch:
        info = m.BatchPoolInfo(pool_id="none")
        batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    return job_id


@pytest.fixture
def spot(batch):
    """A pool of one low-priority node whose start task leaves a trace, and a job there."""
    pool_id, job_id = fresh("spot"), fresh("spot-job")
    start = m.BatchStartTask(command_line="/bin/true")
    create_pool(batch, pool_id, 0, target_low_priority_nodes=1, start_task=start)
    info = m.BatchPoolInfo(pool_id=pool_id)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    wait_nodes(batch, pool_id, "idle")
    yield pool_id, job_id
    batch.begin_delete_job(job_id, **QUICK)
    batch.begin_delete_pool(pool_id, **QUICK)


def wait_nodes(batch, pool_id: str, state: str) -> list[m.BatchNode]:
    """The pool's nodes, once there are some and all are in this state."""

    def look() -> list[m.BatchNode] | None:
        nodes = list(batch.list_nodes(pool_id))
        return nodes if nodes and all(node.state == state for node in nodes) else None

    return until(look)


def test_a_low_priority_node_is_preempted_and_comes_back_empty(batch, raw, lote, spot, gate):
    pool_id, job_id = spot
    add_task(batch, job_id, "kept", "/bin/sh -c 'echo here > $AZ_BATCH_NODE_SHARED_DIR/f'")
    wait_task(batch, job_id, "kept")
    add_task(batch, job_id, "t", gate.waits)
    task = wait_task(batch, job_id, "t", "running")
    (before,) = batch.list_nodes(pool_id)
    said = lote("preempt", pool_id, "--node", before.id, "--for", "86400")
    assert "1 node of pool" in said
    node = batch.get_node(pool_id, before.id)
    assert (node.state, node.is_dedicated) == (m.BatchNodeState.PREEMPTED, False)
    assert node.start_task_info is None
    pool = batch.get_pool(pool_id)
    assert (pool.current_low_priority_nodes, pool.allocation_state) == (1, "steady")
    counts = next(one for one in batch.list_pool_node_counts() if one.pool_id == pool_id)
    assert (counts.low_priority.preempted, counts.low_priority.total) == (1, 1)
    task = batch.get_task(job_id, "t")
    assert task.state == m.BatchTaskState.ACTIVE
    assert (task.execution_info.requeue_count, task.execution_info.retry_count) == (0, 0)
    files = raw("GET", f"/jobs/{job_id}/tasks/kept/files/stdout.txt")
    check_error(files, 409, "TaskFilesUnavailable")
    gate.open()
    lote("stop")
    (after,) = wait_nodes(batch, pool_id, "idle")
    assert (after.id, after.allocation_time) == (before.id, before.allocation_time)
    assert after.last_boot_time > before.last_boot_time
    assert after.start_task_info.start_time > before.start_task_info.start_time
    assert wait_task(batch, job_id, "t").execution_info.exit_code == 0
    add_task(batch, job_id, "look", "/bin/sh -c 'test ! -e $AZ_BATCH_NODE_SHARED_DIR/f'")
    assert wait_task(batch, job_id, "look").execution_info.exit_code == 0


def test_an_unusable_node(batch, lote, spot):
    pool_id, _ = spot
    lote("unusable", pool_id, "--reason", "ApplicationPackageError", "--for", "86400")
    (node,) = batch.list_nodes(pool_id)
    assert node.state == m.BatchNodeState.UNUSABLE
    assert [error.code for error in node.errors] == ["ApplicationPackageError"]
    lote("stop")
    (node,) = wait_nodes(batch, pool_id, "idle")
    assert node.errors is None


def test_a_lost_node_works_on_and_is_found_again(batch, lote, spot, gate):
    pool_id, job_id = spot
    add_task(batch, job_id, "t", gate.waits)
    wait_task(batch, job_id, "t", "running")
    lote("lost", pool_id, "--for", "50")
    (node,) = batch.list_nodes(pool_id)
    assert node.state == m.BatchNodeState.UNKNOWN
    assert batch.get_task(job_id, "t").state == m.BatchTaskState.RUNNING
    gate.open()
    lote("stop")
    task = wait_task(batch, job_id, "t")
    assert (task.execution_info.exit_code, task.execution_info.requeue_count) == (0, 0)
    (found,) = wait_nodes(batch, pool_id, "idle")
    assert found.last_boot_time == node.last_boot_time


def test_start_tasks_fail(batch, lote):
    pool_id = fresh("failing")
    lote("start-task", pool_id, "--exit-code", "9")
    start = m.BatchStartTask(command_line="/bin/true", wait_for_success=True)
    create_pool(batch, pool_id, 1, start_task=start)
    (node,) = wait_nodes(batch, pool_id, "starttaskfailed")
    info = node.start_task_info
    assert (info.exit_code, info.failure_info.code) == (9, "FailureExitCode")
    options = {"nodeRebootOption": "requeue"}
    batch.begin_reboot_node(pool_id, node.id, options, **QUICK).result()
    wait_steady(batch, pool_id)
    batch.begin_delete_pool(pool_id, **QUICK)


def test_a_resize_that_times_out(batch, lote):
    pool_id = fresh("short")
    lote("resize", pool_id, "--after", "0.2")
    create_pool(batch, pool_id, 2, target_low_priority_nodes=1)
    assert batch.get_pool(pool_id).current_dedicated_nodes == 0
    pool = until(lambda: (p := batch.get_pool(pool_id)).allocation_state == "steady" and p)
    assert [error.code for error in pool.resize_errors] == ["AllocationTimedout"] * 2
    assert (pool.target_dedicated_nodes, pool.current_dedicated_nodes) == (2, 0)
    again = m.BatchPoolResizeOptions(target_dedicated_nodes=1, target_low_priority_nodes=0)
    batch.begin_resize_pool(pool_id, again, **QUICK).result()
    assert batch.get_pool(pool_id).resize_errors is None
    batch.begin_delete_pool(pool_id, **QUICK)


def test_quotas_are_reached(batch, lote):
    lote("quota", "pools", "--times", "1")
    lote("quota", "jobs", "--times", "1")
    pool_id, info = fresh("much"), m.BatchPoolInfo(pool_id="none")
    with pytest.raises(ResourceExistsError) as caught:
        create_pool(batch, pool_id, 0)
    assert (caught.value.status_code, caught.value.error.code) == (409, "PoolQuotaReached")
    job = m.BatchJobCreateOptions(id=fresh("much"), pool_info=info)
    with pytest.raises(ResourceExistsError) as caught:
        batch.create_job(job)
    assert caught.value.error.code == "ActiveJobAndScheduleQuotaReached"
    create_pool(batch, pool_id, 0)
    batch.create_job(job)
    batch.begin_delete_job(job.id, **QUICK)
    batch.begin_delete_pool(pool_id, **QUICK)


@pytest.mark.parametrize(("status", "code"), [(503, "ServerBusy"), (429, "TooManyRequests")])
def test_a_busy_service_says_when_to_come_again(quiet, quiet_job, status, code):
    raw = Raw(quiet.batch.endpoint, quiet.batch.account, quiet.batch.key)
    lote = terminal_of(quiet)
    lote("throttle", "--status", str(status), "--times", "2", "--retry-after", "3")
    with new_client(quiet) as batch, pytest.raises(HttpResponseError) as caught:
        batch.get_job(quiet_job)
    assert (caught.value.status_code, caught.value.error.code) == (status, code)
    assert caught.value.response.headers["Retry-After"] == "3"
    reply = check_error(raw("POST", "/jobs", {"id": fresh("never"), "poolInfo": {}}), status, code)
    assert reply.headers["retry-after"] == "3"
    assert raw("GET", f"/jobs/{quiet_job}").status == 200


def test_a_client_that_tries_again_does_not_notice(quiet, quiet_job):
    """The SDK as it comes, with its own retries."""
    lote = terminal_of(quiet)
    credential = AzureNamedKeyCredential(quiet.batch.account, quiet.batch.key)
    with BatchClient(quiet.batch.endpoint, credential) as patient:
        lote("throttle", "--times", "2", "--retry-after", "0")
        assert patient.get_job(quiet_job).id == quiet_job
    ended = json.loads(lote("list", "-o", "json"))[0]
    assert (ended["state"], ended["endedBy"], ended["timesLeft"]) == ("ended", "count", 0)
    assert ended["timesActed"] == 2


def test_the_terminal_is_told(lote, spot):
    pool_id, _ = spot
    made = json.loads(lote("unusable", pool_id, "-o", "json"))
    assert made["request"] == {"kind": "unusable", "poolId": pool_id}
    assert f"1 node of pool {pool_id} unusable" in lote("list")
    assert "over (request)" in lote("stop", made["id"])
    assert "over (request)" in lote("stop", made["id"])
    assert "PoolNotFound" in lote("preempt", "no-such-pool", code=1)
    assert "low-priority" in lote("preempt", pool_id, "--nodes", "5", code=1)
    assert "ResourceNotFound" in lote("stop", "12345678", code=1)
    assert "429 or 503" in lote("throttle", "--status", "500", code=1)


def test_the_pages_are_for_the_accounts_key_alone(raw, service):
    thief = raw.but(key="AAAA")
    check_error(thief("GET", "/rehearsals"), 403, "AuthenticationFailed")
    check_error(thief("POST", "/rehearsals", {}), 403, "AuthenticationFailed")
    check_error(raw("GET", "/rehearsals", sign=False), 400, "MissingRequiredHeader")
    check_error(raw("PUT", "/rehearsals", {}), 405, "UnsupportedHttpVerb")
    check_error(raw("GET", "/rehearsals/1"), 405, "UnsupportedHttpVerb")
    check_error(raw("DELETE", "/rehearsals/no"), 404, "ResourceNotFound")
    check_error(raw("POST", "/rehearsals", {"kind": "x", "more": 1}), 400, "UnsupportedProperty")
    assert raw("GET", f"/{service.batch.account}/rehearsals").status == 200
