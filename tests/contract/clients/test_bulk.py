"""Many tasks at once, long lists that change underneath, and pollers that have to wait."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.batch import models as m
from data_plane.conftest import (
    add_task,
    create_pool,
    fresh,
    new_gate,
    until,
    wait_steady,
    wait_task,
)

pytestmark = [
    pytest.mark.timeout(300),
    # Of aiohttp, for bodies that the client makes.
    pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning"),
]
FILES = 100
PAGE = 50


@pytest.fixture
def gate():
    with new_gate() as made:
        yield made


@pytest.fixture(scope="module")
def with_files() -> list[m.BatchTaskCreateOptions]:
    """733 tasks with 100 input files each: a hundred of them are more than one request takes."""
    files = [
        m.ResourceFile(http_url=f"http://files.example/{'x' * 60}/{n}", file_path=f"in/{n}.bin")
        for n in range(FILES)
    ]
    return [
        m.BatchTaskCreateOptions(id=f"f{n:03}", command_line="x", resource_files=files)
        for n in range(733)
    ]


def test_tasks_with_many_input_files(sdk, lone_job, with_files):
    hundred = m.BatchTaskGroup(task_values=with_files[:100])
    sdk.refused(413, "RequestBodyTooLarge", "create_task_collection", lone_job, hundred)
    result = sdk.create_tasks(lone_job, with_files, max_concurrency=2)
    assert Counter(one.task_id for one in result.result_values) == Counter(
        one.id for one in with_files
    )
    assert {one.status for one in result.result_values} == {m.BatchTaskAddStatus.SUCCESS}
    assert sdk.get_job_task_counts(lone_job).task_counts.active == len(with_files)
    for number in (0, 366, 732):
        shown = sdk.get_task(lone_job, f"f{number:03}").resource_files
        assert [one.file_path for one in shown] == [f"in/{n}.bin" for n in range(FILES)]


def test_a_task_over_a_megabyte(sdk, lone_job):
    setting = m.EnvironmentSetting(name="N", value="v" * 1_200_000)
    huge = m.BatchTaskCreateOptions(id="huge", command_line="x", environment_settings=[setting])
    sdk.refused(413, "RequestBodyTooLarge", "create_task", lone_job, huge)
    small = [m.BatchTaskCreateOptions(id=f"s{n}", command_line="x") for n in range(30)]
    # The client takes tasks from the end, and stops at one that is too large alone.
    with pytest.raises(m.CreateTasksError) as caught:
        sdk.create_tasks(lone_job, [huge, *small])
    assert [error.error.code for error in caught.value.errors] == ["RequestBodyTooLarge"]
    pending = {one.id for one in caught.value.pending_tasks}
    added = {one.id for one in sdk.list_tasks(lone_job)}
    assert not pending & added
    assert "huge" not in added
    assert added | pending >= {one.id for one in small}


def test_ten_thousand_tasks(sdk, lone_job):
    wanted = [f"t{n:05}" for n in range(10_000)]
    tasks = [m.BatchTaskCreateOptions(id=one, command_line="x") for one in wanted]
    result = sdk.create_tasks(lone_job, tasks, max_concurrency=4)
    assert sorted(one.task_id for one in result.result_values) == wanted
    assert sdk.get_job_task_counts(lone_job).task_counts.active == len(wanted)
    shown = sdk.list_tasks(lone_job, select=["id"], max_results=1000)
    assert [one.id for one in shown] == wanted
    again = sdk.create_tasks(lone_job, tasks[:50], max_concurrency=4)
    assert {one.error.code for one in again.result_values} == {"TaskExists"}


def test_a_list_that_changes_while_it_is_read(sdk, batch, lone_job):
    """Of 5,000 tasks those that stay are shown once each, whatever comes and goes between pages."""
    staying = [f"t{n:05}" for n in range(0, 10_000, 2)]
    batch.create_tasks(
        lone_job, [m.BatchTaskCreateOptions(id=one, command_line="x") for one in staying]
    )
    done, rounds = threading.Event(), Counter()

    def disturb() -> None:
        """Tasks between those that stay, added and deleted all over the range."""
        while not done.is_set():
            passing = [f"t{(rounds['all'] * 17 + n * 211) % 9_999 | 1:05}" for n in range(40)]
            group = [m.BatchTaskCreateOptions(id=one, command_line="x") for one in set(passing)]
            batch.create_task_collection(lone_job, m.BatchTaskGroup(task_values=group))
            for one in group:
                batch.delete_task(lone_job, one.id)
            rounds["all"] += 1

    with ThreadPoolExecutor() as pool:
        disturbed = pool.submit(disturb)
        try:
            shown = [one.id for one in sdk.list_tasks(lone_job, max_results=PAGE, select=["id"])]
        finally:
            done.set()
        disturbed.result(60)
    assert rounds["all"] > 0
    assert shown == sorted(set(shown))
    assert set(staying) <= set(shown)
    assert all(one in set(staying) or int(one[1:]) % 2 for one in shown)


def test_a_poller_waits_for_a_disabled_jobs_tasks(sdk, batch, job, gate):
    add_task(batch, job, "t", gate.waits)
    wait_task(batch, job, "t", "running")
    options = m.BatchJobDisableOptions(disable_tasks=m.DisableBatchJobOption.WAIT)
    with ThreadPoolExecutor() as pool:
        polled = pool.submit(sdk.begin_disable_job, job, options)
        try:
            check_waits(polled, lambda: batch.get_job(job).state == "disabling")
        finally:
            gate.open()
        assert polled.result(60) == "Succeeded"
    assert batch.get_job(job).state == "disabled"
    assert wait_task(batch, job, "t").execution_info.exit_code == 0


@pytest.mark.parametrize("way", ["begin_resize_pool", "begin_remove_nodes"])
def test_a_poller_waits_for_nodes_that_finish_their_tasks(sdk, batch, gate, way):
    pool_id, job_id = fresh("leaving"), fresh("job")
    create_pool(batch, pool_id, 1)
    (node,) = wait_steady(batch, pool_id)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id)))
    add_task(batch, job_id, "t", gate.waits)
    wait_task(batch, job_id, "t", "running")
    option = {"node_deallocation_option": m.BatchNodeDeallocationOption.TASK_COMPLETION}
    if way == "begin_resize_pool":
        options = m.BatchPoolResizeOptions(target_dedicated_nodes=0, **option)
    else:
        options = m.BatchNodeRemoveOptions(node_ids=[node.id], **option)
    with ThreadPoolExecutor() as pool:
        polled = pool.submit(getattr(sdk, way), pool_id, options)
        try:
            check_waits(polled, lambda: batch.get_pool(pool_id).allocation_state == "resizing")
        finally:
            gate.open()
        until(lambda: batch.get_pool(pool_id).allocation_state == "steady")
        assert polled.result(60) == "Succeeded"
    shown = batch.get_pool(pool_id)
    assert (shown.allocation_state, shown.current_dedicated_nodes) == ("steady", 0)
    assert batch.get_task(job_id, "t").execution_info.exit_code == 0
    batch.begin_delete_pool(pool_id, polling_interval=0)


def check_waits(polled, is_under_way) -> None:
    """The poller has asked several times, and what it asks about is still under way."""
    pause = threading.Event()
    for _ in range(8):
        pause.wait(0.05)
        assert not polled.done()
    assert is_under_way()
