"""Compute nodes: shown, listed, counted; start tasks."""

from __future__ import annotations

import pytest
from azure.batch import models as m

from .conftest import (
    VM_SIZE,
    add_task,
    create_pool,
    fresh,
    shell,
    until,
    wait_steady,
    wait_task,
)
from .raw_http import check_error
from .success import check_headers, check_moment


def test_node_as_the_sdk_sees_it(batch, pool, raw):
    nodes = list(batch.list_nodes(pool))
    assert len(nodes) == 2
    assert len({node.id for node in nodes}) == 2
    for node in nodes:
        assert node.state in (m.BatchNodeState.IDLE, m.BatchNodeState.RUNNING)
        assert node.scheduling_state == m.SchedulingState.ENABLED
        assert node.url == f"{raw.endpoint}/pools/{pool}/nodes/{node.id}"
        assert node.vm_size == VM_SIZE
        assert node.is_dedicated is True
        assert node.ip_address.count(".") == 3
        assert node.affinity_id
        assert node.last_boot_time >= node.allocation_time
        assert node.start_task is None
        assert node.node_agent_info.version
        image = node.virtual_machine_info.image_reference
        assert (image.offer, image.version) == ("ubuntu-24_04-lts", "latest")
        assert batch.get_node(pool, node.id.upper()).id == node.id


def test_get_node_on_the_wire(raw, pool, batch):
    node_id = next(iter(batch.list_nodes(pool))).id
    reply = raw("GET", f"/pools/{pool}/nodes/{node_id}")
    check_headers(reply)
    shown = reply.json
    assert shown["odata.metadata"] == f"{raw.endpoint}/$metadata#nodes/@Element"
    for name in ("stateTransitionTime", "lastBootTime", "allocationTime"):
        check_moment(shown[name])
    assert None not in shown.values()
    listed = raw("GET", f"/pools/{pool}/nodes")
    check_headers(listed)
    assert listed.json["odata.metadata"] == f"{raw.endpoint}/$metadata#nodes"
    assert {node["id"] for node in listed.json["value"]} >= {node_id}


def test_missing_node(raw, pool):
    check_error(raw("GET", f"/pools/{pool}/nodes/none"), 404, "NodeNotFound")


def test_recent_tasks_and_totals(batch, pool, job):
    add_task(batch, job, "done")
    task = wait_task(batch, job, "done")
    node = batch.get_node(pool, task.node_info.node_id)
    assert node.total_tasks_run >= node.total_tasks_succeeded >= 1
    (recent,) = [one for one in node.recent_tasks if one.job_id == job]
    assert (recent.task_id, recent.task_state) == ("done", m.BatchTaskState.COMPLETED)
    assert recent.execution_info.exit_code == 0
    assert recent.task_url == task.url
    (listed,) = [one for one in batch.list_nodes(pool) if one.id == node.id]
    assert job in {one.job_id for one in listed.recent_tasks}
    selected = list(batch.list_nodes(pool, select=["id", "state"]))
    assert [set(one.as_dict()) for one in selected] == [{"id", "state"}] * 2
    batch.delete_task(job, "done")
    shown = batch.get_node(pool, node.id).recent_tasks or []
    assert job not in {one.job_id for one in shown}


def test_running_tasks_are_counted(batch, pool, job):
    add_task(batch, job, "long", shell("sleep 60"), required_slots=2)
    task = wait_task(batch, job, "long", "running")
    node = batch.get_node(pool, task.node_info.node_id)
    assert (node.state, node.running_tasks_count, node.running_task_slots_count) == (
        "running",
        1,
        2,
    )
    counts = count_of(batch, pool)
    assert counts.dedicated.running >= 1
    batch.terminate_task(job, "long")
    until(lambda: batch.get_node(pool, node.id).running_tasks_count == 0)


def count_of(batch, pool_id: str) -> m.BatchPoolNodeCounts:
    (counts,) = batch.list_pool_node_counts(filter=f"poolId eq '{pool_id}'")
    return counts


def test_node_counts(batch, raw, pool):
    counts = count_of(batch, pool)
    assert counts.pool_id == pool
    assert (counts.dedicated.total, counts.low_priority.total) == (2, 0)
    assert counts.dedicated.idle + counts.dedicated.running == 2
    reply = raw("GET", f"/nodecounts?$filter=poolId%20eq%20'{pool.upper()}'")
    check_headers(reply)
    assert reply.json["odata.metadata"] == f"{raw.endpoint}/$metadata#poolnodecounts"
    (shown,) = reply.json["value"]
    assert set(shown) == {"poolId", "dedicated", "lowPriority"}
    by_state = dict(shown["dedicated"])
    assert by_state.pop("total") == sum(by_state.values()) == 2
    assert set(by_state) >= {"startTaskFailed", "leavingPool", "waitingForStartTask", "unusable"}


def test_node_counts_in_pages(batch, pool):
    create_pool(batch, fresh("counted"), 0)
    pools = [one.id for one in batch.list_pools()]
    pages = batch.list_pool_node_counts(max_results=1).by_page()
    counted = [[one.pool_id for one in page] for page in pages]
    assert all(len(page) <= 1 for page in counted)
    assert {pool} <= {name for page in counted for name in page} <= set(pools)


@pytest.mark.parametrize("filtered", ["poolId ne 'x'", "startswith(poolId,'x')", "state eq 'x'"])
def test_node_counts_filter_by_pool_only(raw, filtered):
    reply = raw("GET", f"/nodecounts?$filter={filtered.replace(' ', '%20')}")
    check_error(reply, 400, "InvalidQueryParameterValue")


# -- start tasks ------------------------------------------------------------------------------


def started_pool(batch, command: str, **members: object) -> str:
    pool_id = fresh("started")
    create_pool(batch, pool_id, 1, start_task=m.BatchStartTask(command_line=command, **members))
    return pool_id


def node_of(batch, pool_id: str) -> m.BatchNode | None:
    return next(iter(batch.list_nodes(pool_id)), None)


def test_start_task_that_is_waited_for(batch, gate):
    pool_id = started_pool(
        batch,
        shell(f"echo begun; {gate.loop}; echo $PATH > x"),
        wait_for_success=True,
        environment_settings=[m.EnvironmentSetting(name="A", value="b")],
    )
    waiting = until(
        lambda: (n := node_of(batch, pool_id)) and n.state == "waitingforstarttask" and n
    )
    assert waiting.start_task.wait_for_success is True
    info = until(lambda: node_of(batch, pool_id).start_task_info)
    assert info.state == m.BatchStartTaskState.RUNNING
    assert (info.retry_count, info.exit_code, info.result) == (0, None, None)
    gate.open()
    node = until(lambda: (n := node_of(batch, pool_id)).state == "idle" and n)
    info = node.start_task_info
    assert (info.state, info.exit_code, info.result) == ("completed", 0, "success")
    assert info.end_time >= info.start_time
    assert info.failure_info is None
    text = b"".join(batch.download_node_file(pool_id, node.id, "startup/stdout.txt"))
    assert text == b"begun\n"
    names = {file.name for file in batch.list_node_files(pool_id, node.id, recursive=True)}
    assert {"startup", "startup/wd", "startup/wd/x", "startup/stderr.txt"} <= names
    batch.begin_delete_pool(pool_id, polling_interval=5)


def test_start_task_that_fails_keeps_the_node_out(batch):
    pool_id = started_pool(batch, shell("exit 3"), max_task_retry_count=1, wait_for_success=True)
    node = until(lambda: (n := node_of(batch, pool_id)) and n.state == "starttaskfailed" and n)
    info = node.start_task_info
    assert (info.state, info.exit_code, info.retry_count) == ("completed", 3, 1)
    assert (info.result, info.failure_info.code) == ("failure", "FailureExitCode")
    assert info.failure_info.category == m.BatchErrorSourceCategory.USER_ERROR
    assert info.last_retry_time
    assert batch.get_pool(pool_id).allocation_state == "steady"
    assert count_of(batch, pool_id).dedicated.start_task_failed == 1
    job_id = fresh("stuck")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id)))
    add_task(batch, job_id, "t")
    for filtered, found in (
        ("startTaskInfo/result eq 'failure'", 1),
        ("startTaskInfo/state eq 'completed'", 1),
        ("startTaskInfo/exitCode gt 2", 1),
        ("startTaskInfo/exitCode eq 0", 0),
        ("startTaskInfo/startTime lt DateTime'2020-01-01T00:00:00Z'", 0),
        ("startTaskInfo/endTime gt DateTime'2020-01-01T00:00:00Z'", 1),
        ("state eq 'startTaskFailed'", 1),
    ):
        assert len(list(batch.list_nodes(pool_id, filter=filtered))) == found, filtered
    assert batch.get_task(job_id, "t").state == "active"
    batch.begin_delete_job(job_id, polling_interval=5)
    batch.begin_delete_pool(pool_id, polling_interval=5)


def test_start_task_that_fails_without_being_waited_for(batch):
    pool_id = started_pool(batch, "no-such-program", wait_for_success=False)
    wait_steady(batch, pool_id)

    def look() -> m.BatchNode | None:
        node = node_of(batch, pool_id)
        info = node.start_task_info if node else None
        return node if info and info.end_time else None

    node = until(look)
    info = node.start_task_info
    assert node.state == "idle"
    assert (info.result, info.exit_code) == ("failure", None)
    assert info.failure_info.code == "CommandProgramNotFound"
    batch.begin_delete_pool(pool_id, polling_interval=5)


def test_a_start_task_that_waits_to_be_retried_has_the_end_of_its_last_attempt(batch):
    pool_id = started_pool(batch, shell("exit 3"), max_task_retry_count=-1, wait_for_success=True)

    def look():
        info = (node := node_of(batch, pool_id)) and node.start_task_info
        return info if info and info.end_time else None

    info = until(look)
    assert info.state == m.BatchStartTaskState.RUNNING
    assert info.end_time >= info.start_time
    assert info.retry_count >= 10
    assert info.last_retry_time == info.start_time
    assert (info.exit_code, info.result, info.failure_info) == (None, None, None)
    batch.begin_delete_pool(pool_id, polling_interval=0)


def test_a_start_task_without_a_limit_is_retried_until_it_succeeds(batch):
    pool_id = fresh("stubborn")
    command = "/bin/sh -c 'echo once >> tries; test $(wc -l < tries) -ge 4'"
    start = m.BatchStartTask(command_line=command, max_task_retry_count=-1, wait_for_success=True)
    create_pool(batch, pool_id, 1, start_task=start)
    (node,) = wait_steady(batch, pool_id)
    info = node.start_task_info
    assert (info.exit_code, info.retry_count, info.result) == (0, 3, "success")
    assert info.last_retry_time is not None
    batch.begin_delete_pool(pool_id, polling_interval=0)


@pytest.mark.parametrize(
    ("command", "members", "code"),
    [
        ("/no/such/program", {}, "CommandProgramNotFound"),
        (
            "/bin/true",
            {"user_identity": m.UserIdentity(username="nobody-here")},
            "CommandLaunchFailed",
        ),
        ("/bin/true", {"resource_files": "unreadable"}, "BlobDownloadMiscError"),
    ],
    ids=["no program", "no user", "no input"],
)
def test_only_exit_codes_are_reasons_to_retry_a_start_task(batch, raw, command, members, code):
    if "resource_files" in members:
        url = f"{raw.endpoint}/nothing-to-be-had"  # answered with 400 at once
        members = {"resource_files": [m.ResourceFile(http_url=url, file_path="f")]}
    pool_id = started_pool(batch, command, max_task_retry_count=3, wait_for_success=True, **members)
    node = until(lambda: (n := node_of(batch, pool_id)) and n.state == "starttaskfailed" and n)
    info = node.start_task_info
    assert (info.result, info.exit_code, info.retry_count) == ("failure", None, 0)
    assert (info.last_retry_time, node.errors) == (None, None)
    assert info.failure_info.code == code
    batch.begin_delete_pool(pool_id, polling_interval=0)
