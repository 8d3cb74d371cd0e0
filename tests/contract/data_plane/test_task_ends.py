"""How tasks end: exit codes, retries, limits, dependencies; and what the record says of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m

from .conftest import add_task, fresh, read_file, shell, until, wait_task


@pytest.fixture
def linked(batch, pool):
    """A job with task dependencies."""
    job_id = fresh("linked")
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool), uses_task_dependencies=True
        )
    )
    yield job_id
    batch.begin_delete_job(job_id, polling_interval=5)


def after(*ids: str, ranges: tuple[tuple[int, int], ...] = ()) -> m.BatchTaskDependencies:
    spans = [m.BatchTaskIdRange(start=first, end=last) for first, last in ranges]
    return m.BatchTaskDependencies(task_ids=list(ids), task_id_ranges=spans)


def test_success(batch, raw, pool, job):
    add_task(batch, job, "t", shell("echo out; echo err >&2"))
    task = wait_task(batch, job, "t")
    info = task.execution_info
    assert (info.exit_code, info.result, info.failure_info) == (0, "success", None)
    assert (info.retry_count, info.requeue_count) == (0, 0)
    assert info.last_retry_time is None
    assert info.last_requeue_time is None
    assert task.creation_time <= info.start_time <= info.end_time
    assert task.previous_state == "running"
    assert task.previous_state_transition_time <= task.state_transition_time
    node = task.node_info
    assert node.pool_id == pool
    assert node.node_url == f"{raw.endpoint}/pools/{pool}/nodes/{node.node_id}"
    assert node.affinity_id == batch.get_node(pool, node.node_id).affinity_id
    assert node.task_root_directory == f"workitems/{job}/job-1/t"
    assert node.task_root_directory_url == f"{node.node_url}/files/{node.task_root_directory}"
    assert read_file(batch, job, "t") == "out\n"
    assert read_file(batch, job, "t", "stderr.txt") == "err\n"
    # Running and ending are no changes that the user made: the ETag stays.
    assert task.last_modified == task.creation_time


@pytest.mark.parametrize("code", [1, 42, 255])
def test_other_exit_codes(batch, job, code):
    add_task(batch, job, "t", shell(f"exit {code}"))
    info = wait_task(batch, job, "t").execution_info
    assert (info.exit_code, info.result) == (code, m.BatchTaskExecutionResult.FAILURE)
    assert info.failure_info.code == "FailureExitCode"
    assert info.failure_info.category == m.BatchErrorSourceCategory.USER_ERROR
    assert info.failure_info.message


def test_death_by_signal(batch, job):
    add_task(batch, job, "t", shell("kill -9 $$"))
    info = wait_task(batch, job, "t").execution_info
    assert info.exit_code == -9
    assert info.failure_info.code == "FailureExitCode"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("no-such-program at all", "CommandProgramNotFound"),
        ("./missing.sh", "CommandProgramNotFound"),
        ("/etc/passwd", "CommandLaunchFailed"),
    ],
)
def test_what_could_not_be_started(batch, job, command, code):
    add_task(batch, job, "t", command, constraints=m.BatchTaskConstraints(max_task_retry_count=3))
    info = wait_task(batch, job, "t").execution_info
    assert (info.exit_code, info.result) == (None, "failure")
    assert info.failure_info.code == code
    assert info.failure_info.category == m.BatchErrorSourceCategory.USER_ERROR
    assert info.retry_count == 0
    assert info.start_time <= info.end_time


def test_commands_run_without_a_shell(batch, job):
    add_task(batch, job, "t", 'echo "a  b" $HOME * > x && y')
    wait_task(batch, job, "t")
    assert read_file(batch, job, "t") == "a  b $HOME * > x && y\n"


def test_retries(batch, job):
    add_task(
        batch,
        job,
        "t",
        shell("echo x >> count; test $(wc -l < count) = 3"),
        constraints=m.BatchTaskConstraints(max_task_retry_count=5),
    )
    info = wait_task(batch, job, "t").execution_info
    assert (info.exit_code, info.result, info.retry_count) == (0, "success", 2)
    assert info.last_retry_time <= info.end_time
    assert info.failure_info is None


def test_a_task_that_goes_on_retrying_is_running(batch, job):
    forever = m.BatchTaskConstraints(max_task_retry_count=-1)
    add_task(batch, job, "t", "/bin/false", constraints=forever)
    task = until(lambda: (t := batch.get_task(job, "t")).execution_info.retry_count > 3 and t)
    assert task.state == m.BatchTaskState.RUNNING
    assert task.execution_info.last_retry_time >= task.creation_time
    assert batch.get_job_task_counts(job).task_counts.running == 1
    batch.terminate_task(job, "t")
    task = batch.get_task(job, "t")
    assert task.execution_info.failure_info.code == "TaskEnded"
    assert task.execution_info.retry_count > 3


def test_retries_used_up(batch, job):
    add_task(
        batch,
        job,
        "t",
        shell("echo x >> ../../count; exit 9"),
        constraints=m.BatchTaskConstraints(max_task_retry_count=2),
    )
    info = wait_task(batch, job, "t").execution_info
    assert (info.exit_code, info.result, info.retry_count) == (9, "failure", 2)


def test_retries_without_limit_until_terminated(batch, job):
    add_task(
        batch,
        job,
        "t",
        shell("sleep 0.2; exit 1"),
        constraints=m.BatchTaskConstraints(max_task_retry_count=-1),
    )
    wait_task(batch, job, "t", "running")
    batch.terminate_task(job, "t")
    assert batch.get_task(job, "t").execution_info.failure_info.code == "TaskEnded"


def test_the_jobs_retries_apply(batch, pool):
    job_id = fresh("retrying")
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id,
            pool_info=m.BatchPoolInfo(pool_id=pool),
            constraints=m.BatchJobConstraints(max_task_retry_count=1),
        )
    )
    add_task(batch, job_id, "t", shell("exit 1"))
    assert wait_task(batch, job_id, "t").execution_info.retry_count == 1
    batch.update_job(
        job_id,
        m.BatchJobUpdateOptions(constraints=m.BatchJobConstraints(max_task_retry_count=2)),
    )
    add_task(batch, job_id, "u", shell("exit 1"))
    assert wait_task(batch, job_id, "u").execution_info.retry_count == 2


def test_wall_clock(batch, job):
    add_task(
        batch,
        job,
        "t",
        shell("sleep 60"),
        constraints=m.BatchTaskConstraints(
            max_wall_clock_time=timedelta(seconds=0.3), max_task_retry_count=2
        ),
    )
    info = wait_task(batch, job, "t").execution_info
    assert info.failure_info.code == "TaskEnded"
    assert info.result == "failure"
    assert info.end_time - info.start_time < timedelta(seconds=10)
    assert info.retry_count == 0


def test_an_environment_variable_of_the_task(batch, job):
    add_task(
        batch,
        job,
        "t",
        shell("echo $GREETING"),
        environment_settings=[m.EnvironmentSetting(name="GREETING", value="hé $HOME 'x'")],
    )
    wait_task(batch, job, "t")
    assert read_file(batch, job, "t") == "hé $HOME 'x'\n"


def test_max_parallel_tasks(batch, pool, gate):
    job_id = fresh("narrow")
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool), max_parallel_tasks=1
        )
    )
    for number in range(3):
        add_task(batch, job_id, f"t{number}", gate.waits)
    until(lambda: batch.get_job_task_counts(job_id).task_counts.running == 1)
    assert batch.get_job_task_counts(job_id).task_counts.active == 2
    gate.open()
    until(lambda: batch.get_job_task_counts(job_id).task_counts.succeeded == 3)


# -- dependencies -----------------------------------------------------------------------------


def test_ids_and_ranges(batch, linked, gate):
    add_task(batch, linked, "last", depends_on=after("first", ranges=((1, 3),)))
    add_task(batch, linked, "first")
    add_task(batch, linked, "1")
    add_task(batch, linked, "002")
    add_task(batch, linked, "3", gate.waits)
    for name in ("first", "1", "002"):
        wait_task(batch, linked, name)
    assert batch.get_task(linked, "last").state == "active"
    assert batch.get_task(linked, "last").depends_on.task_id_ranges == [
        m.BatchTaskIdRange(start=1, end=3)
    ]
    gate.open()
    last = wait_task(batch, linked, "last")
    assert last.execution_info.start_time >= batch.get_task(linked, "3").execution_info.end_time


def test_parents_that_ended_before(batch, linked):
    add_task(batch, linked, "Parent")
    wait_task(batch, linked, "Parent")
    add_task(batch, linked, "child", depends_on=after("parent"))
    wait_task(batch, linked, "child")


def test_a_failed_parent_blocks(batch, linked):
    add_task(batch, linked, "bad", shell("exit 1"))
    add_task(batch, linked, "child", depends_on=after("bad"))
    wait_task(batch, linked, "bad")
    add_task(batch, linked, "other")
    wait_task(batch, linked, "other")
    assert batch.get_task(linked, "child").state == "active"
    assert batch.get_task(linked, "child").node_info is None


def test_a_failed_parent_that_satisfies(batch, linked):
    options = m.ExitOptions(dependency_action=m.DependencyAction.SATISFY)
    conditions = m.ExitConditions(exit_codes=[m.ExitCodeMapping(code=7, exit_options=options)])
    add_task(batch, linked, "bad", shell("exit 7"), exit_conditions=conditions)
    add_task(batch, linked, "child", depends_on=after("bad"))
    assert wait_task(batch, linked, "child").execution_info.exit_code == 0


def test_a_good_parent_that_blocks(batch, linked):
    options = m.ExitOptions(dependency_action=m.DependencyAction.BLOCK)
    conditions = m.ExitConditions(exit_codes=[m.ExitCodeMapping(code=0, exit_options=options)])
    add_task(batch, linked, "good", exit_conditions=conditions)
    add_task(batch, linked, "child", depends_on=after("good"))
    wait_task(batch, linked, "good")
    add_task(batch, linked, "other")
    wait_task(batch, linked, "other")
    assert batch.get_task(linked, "child").state == "active"


def test_a_terminated_parent_with_a_default(batch, linked):
    conditions = m.ExitConditions(default=m.ExitOptions(dependency_action="satisfy"))
    add_task(batch, linked, "p", shell("sleep 60"), exit_conditions=conditions)
    add_task(batch, linked, "child", depends_on=after("p"))
    wait_task(batch, linked, "p", "running")
    batch.terminate_task(linked, "p")
    wait_task(batch, linked, "child")


def test_a_reactivated_parent_unblocks(batch, linked, gate):
    add_task(batch, linked, "p", shell("test -e ../../../../shared/ok || exit 1"))
    add_task(batch, linked, "child", depends_on=after("p"))
    wait_task(batch, linked, "p")
    assert batch.get_task(linked, "child").state == "active"
    batch.delete_task(linked, "p")
    add_task(batch, linked, "p")
    wait_task(batch, linked, "child")


def test_a_chain(batch, linked):
    add_task(batch, linked, "c", depends_on=after("b"))
    add_task(batch, linked, "b", depends_on=after("a"))
    add_task(batch, linked, "a")
    wait_task(batch, linked, "c")
    starts = [batch.get_task(linked, name).execution_info for name in "abc"]
    assert starts[0].end_time <= starts[1].start_time
    assert starts[1].end_time <= starts[2].start_time


def test_an_unknown_and_an_own_parent_wait(batch, linked):
    add_task(batch, linked, "self", depends_on=after("self"))
    add_task(batch, linked, "orphan", depends_on=after("nobody"))
    add_task(batch, linked, "free")
    wait_task(batch, linked, "free")
    assert {batch.get_task(linked, name).state for name in ("self", "orphan")} == {"active"}
