"""Rules of tasks between others: what attempts share, what neighbours see, who ends what."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import msgspec
import pytest
from azure.batch import models as m

from lote.cli.ready import exports
from lote.wire.rules import RESOURCE_FILES_MAX

from .conftest import (
    add_task,
    create_pool,
    fresh,
    read_file,
    shell,
    until,
    wait_steady,
    wait_task,
)
from .raw_http import check_error


@pytest.fixture
def linked(batch, pool):
    """A job with task dependencies whose failures may act on it."""
    job_id = fresh("acting")
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id,
            pool_info=m.BatchPoolInfo(pool_id=pool),
            uses_task_dependencies=True,
            task_failure_mode="performexitoptionsjobaction",
        )
    )
    yield job_id
    batch.begin_delete_job(job_id, polling_interval=5)


def on_node_of(task: m.BatchTask) -> m.BatchAffinityInfo:
    return m.BatchAffinityInfo(affinity_id=task.node_info.affinity_id)


# -- neighbours -------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["pool", "task"])
def test_what_a_task_leaves_is_read_by_those_after_it(batch, job, scope):
    user = m.UserIdentity(auto_user=m.AutoUserSpecification(scope=scope))
    script = shell("echo left > f; mkdir -m 755 d; echo deep > d/g; echo said")
    add_task(batch, job, "first", script, user_identity=user)
    first = wait_task(batch, job, "first")
    directory = f"$AZ_BATCH_NODE_ROOT_DIR/workitems/{job}/job-1/first"
    script = shell(f"cat {directory}/wd/f {directory}/wd/d/g {directory}/stdout.txt")
    add_task(batch, job, "second", script, user_identity=user, affinity_info=on_node_of(first))
    second = wait_task(batch, job, "second")
    assert second.node_info.node_id == first.node_info.node_id
    assert second.execution_info.exit_code == 0
    assert read_file(batch, job, "second") == "left\ndeep\nsaid\n"


def test_a_file_that_is_deleted_under_a_running_task(batch, job, gate):
    """The process keeps what it has open and does not notice."""
    add_task(batch, job, "t", shell(f"echo one; {gate.loop}; echo two"))
    wait_task(batch, job, "t", "running")
    until(lambda: read_file(batch, job, "t") == "one\n")
    batch.delete_task_file(job, "t", "stdout.txt")
    gate.open()
    assert wait_task(batch, job, "t").execution_info.exit_code == 0
    names = {file.name for file in batch.list_task_files(job, "t")}
    assert names == {"stderr.txt", "wd"}


def test_what_a_deleted_job_left_on_its_nodes_goes_at_once(batch, pool):
    job_id = fresh("leaves")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool)))
    keeps = m.BatchTaskConstraints(retention_time=timedelta(days=30))
    add_task(batch, job_id, "t", shell("echo x > x"), constraints=keeps)
    node_id = wait_task(batch, job_id, "t").node_info.node_id

    def left() -> list[str]:
        where = f"startswith(name,'workitems/{job_id}/')"
        files = batch.list_node_files(pool, node_id, recursive=True, filter=where)
        return [file.name for file in files]

    assert f"workitems/{job_id}/job-1/t/wd/x" in left()
    batch.begin_delete_job(job_id, polling_interval=0.02).result()
    until(lambda: left() == [])


def test_paths_are_taken_with_either_slash(raw, batch, job):
    add_task(batch, job, "t", shell("mkdir d; echo x > d/x"))
    wait_task(batch, job, "t")
    reply = raw("GET", f"/jobs/{job}/tasks/t/files/wd%5Cd%5Cx")
    assert (reply.status, reply.body) == (200, b"x\n")


def test_variables_given_twice_and_those_of_the_service(batch, job):
    names = [("A", "1"), ("A", "2"), ("AZ_BATCH_TASK_ID", "mine")]
    settings = [m.EnvironmentSetting(name=name, value=value) for name, value in names]
    add_task(batch, job, "t", shell("echo $A $AZ_BATCH_TASK_ID"), environment_settings=settings)
    wait_task(batch, job, "t")
    assert read_file(batch, job, "t") == "2 t\n"


# -- attempts ---------------------------------------------------------------------------------


def test_inputs_are_fetched_anew_for_each_attempt(batch, service, job):
    """What an attempt did to its input is not what the next one gets; what it made stays."""
    url = f"{service.batch.endpoint}/healthz"
    add_task(
        batch,
        job,
        "t",
        shell("cat in; echo spoilt > in; echo x >> made; test $(wc -l < made) = 2"),
        resource_files=[m.ResourceFile(http_url=url, file_path="in")],
        constraints=m.BatchTaskConstraints(max_task_retry_count=1),
    )
    info = wait_task(batch, job, "t").execution_info
    assert (info.exit_code, info.retry_count) == (0, 1)
    assert read_file(batch, job, "t", "stdout.0.txt") == "ok\n"
    assert read_file(batch, job, "t") == "ok\n"


def test_a_requeue_keeps_the_count_of_retries(batch, gate):
    pool_id, job_id = fresh("alone"), fresh("requeued")
    create_pool(batch, pool_id, 1)
    (node,) = wait_steady(batch, pool_id)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id)))
    again = m.BatchTaskConstraints(max_task_retry_count=1)
    script = f"test -e once || {{ touch once; exit 3; }}; echo attempt; {gate.loop}; exit 4"
    add_task(batch, job_id, "t", shell(script), constraints=again)
    until(lambda: batch.get_task(job_id, "t").execution_info.retry_count == 1)
    outputs = {"stdout.0.txt", "stdout.txt"}  # the second attempt has begun
    until(lambda: outputs <= {file.name for file in batch.list_task_files(job_id, "t")})
    until(lambda: read_file(batch, job_id, "t") == "attempt\n")
    options = m.BatchNodeDisableSchedulingOptions(node_disable_scheduling_option="requeue")
    batch.disable_node_scheduling(pool_id, node.id, options)
    task = wait_task(batch, job_id, "t", "active")
    info = task.execution_info
    assert (info.retry_count, info.requeue_count) == (1, 1)
    assert info.last_requeue_time >= info.last_retry_time
    assert read_file(batch, job_id, "t") == "attempt\n"  # its node has it still
    gate.open()
    batch.enable_node_scheduling(pool_id, node.id)
    before = wait_task(batch, job_id, "t").previous_state_transition_time
    info = batch.get_task(job_id, "t").execution_info
    assert (info.exit_code, info.retry_count, info.requeue_count) == (4, 1, 1)
    assert before >= info.last_requeue_time
    batch.disable_node_scheduling(pool_id, node.id, options)
    batch.reactivate_task(job_id, "t")
    info = batch.get_task(job_id, "t").execution_info
    assert (info.retry_count, info.requeue_count) == (0, 1)
    batch.begin_delete_job(job_id, polling_interval=5)
    batch.begin_delete_pool(pool_id, polling_interval=5)


# -- ends -------------------------------------------------------------------------------------


def test_a_program_that_is_not_there_has_conditions_of_its_own(batch, linked):
    conditions = m.ExitConditions(
        pre_processing_error=m.ExitOptions(job_action="none", dependency_action="satisfy"),
        default=m.ExitOptions(job_action="terminate", dependency_action="block"),
    )
    add_task(batch, linked, "p", "no-such-program", exit_conditions=conditions)
    child = m.BatchTaskDependencies(task_ids=["p"])
    add_task(batch, linked, "child", depends_on=child)
    assert wait_task(batch, linked, "child").execution_info.exit_code == 0
    assert batch.get_job(linked).state == "active"


def test_a_listed_code_comes_before_a_range_that_holds_it(batch, linked):
    quiet = m.ExitOptions(job_action="none", dependency_action="satisfy")
    loud = m.ExitOptions(job_action="terminate", dependency_action="block")
    conditions = m.ExitConditions(
        exit_code_ranges=[m.ExitCodeRangeMapping(start=1, end=9, exit_options=loud)],
        exit_codes=[m.ExitCodeMapping(code=5, exit_options=quiet)],
    )
    add_task(batch, linked, "five", shell("exit 5"), exit_conditions=conditions)
    add_task(batch, linked, "child", depends_on=m.BatchTaskDependencies(task_ids=["five"]))
    wait_task(batch, linked, "child")
    add_task(batch, linked, "six", shell("exit 6"), exit_conditions=conditions)
    job = until(lambda: (j := batch.get_job(linked)).state == "completed" and j)
    assert job.execution_info.termination_reason == "TaskFailed"


def test_an_action_waits_for_the_last_attempt(batch, linked, gate):
    conditions = m.ExitConditions(default=m.ExitOptions(job_action="disable"))
    script = f"test -e once || {{ touch once; exit 3; }}; {gate.loop}; exit 4"
    again = m.BatchTaskConstraints(max_task_retry_count=1)
    add_task(batch, linked, "t", shell(script), exit_conditions=conditions, constraints=again)
    task = until(lambda: (t := batch.get_task(linked, "t")).execution_info.retry_count and t)
    assert batch.get_job(linked).state == "active"
    gate.open()
    until(lambda: batch.get_job(linked).state == "disabled")
    since = batch.get_task(linked, "t").previous_state_transition_time
    assert since == task.state_transition_time  # it was running from its first attempt on


def test_a_parent_that_is_deleted_and_made_anew_is_waited_for(batch, linked, gate):
    conditions = m.ExitConditions(default=m.ExitOptions(job_action="none"))
    add_task(batch, linked, "p")
    wait_task(batch, linked, "p")
    batch.delete_task(linked, "p")
    add_task(batch, linked, "child", depends_on=m.BatchTaskDependencies(task_ids=["p"]))
    add_task(batch, linked, "p", gate.waits, exit_conditions=conditions)
    wait_task(batch, linked, "p", "running")
    assert batch.get_task(linked, "child").state == "active"
    gate.open()
    wait_task(batch, linked, "child")


def test_why_a_task_waits(batch, raw, linked, service):
    """``explain_task`` is ours; the terminal has it as ``lote why``."""
    conditions = m.ExitConditions(default=m.ExitOptions(job_action="none"))
    add_task(batch, linked, "p", shell("exit 1"), exit_conditions=conditions)
    add_task(batch, linked, "child", depends_on=m.BatchTaskDependencies(task_ids=["p"]))
    wait_task(batch, linked, "p")
    path = f"/jobs/{linked}/tasks/child/waiting"
    reply = raw("GET", path)
    (reason,) = reply.json["reasons"]
    assert (reply.json["state"], reason["code"], reason["tasks"]) == ("active", "blocked", ["p"])
    assert raw("GET", f"/jobs/{linked}/tasks/p/waiting").json["reasons"] == []
    check_error(raw("GET", f"/jobs/{linked}/tasks/none/waiting"), 404, "TaskNotFound")
    variables = {**os.environ, **exports(service)}
    command = [sys.executable, "-m", "lote.main", "why", linked, "child"]
    for more in ([], ["-o", "json"]):
        done = subprocess.run(
            command + more, env=variables, capture_output=True, check=True, timeout=60
        )
        if more:
            assert msgspec.json.decode(done.stdout)["reasons"] == [reason]
        else:
            assert done.stdout.decode() == f"{reason['text']} (p)\n"
    failed = subprocess.run(
        [*command[:-1], "none"], env=variables, capture_output=True, check=False, timeout=60
    )
    assert failed.returncode == 1
    assert b"TaskNotFound" in failed.stderr


# -- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["http://h/x", "http://h/ü"])
def test_a_task_with_too_many_inputs(raw, lone_job, url):
    files = [{"httpUrl": url, "filePath": f"f{n}"} for n in range(RESOURCE_FILES_MAX + 1)]
    path = f"/jobs/{lone_job}"
    body = {"id": "t", "commandLine": "x", "resourceFiles": files}
    check_error(raw("POST", f"{path}/tasks", body), 413, "RequestEntityTooLarge")
    reply = raw("POST", f"{path}/addtaskcollection", {"value": [body]})
    (result,) = reply.json["value"]
    assert (result["status"], result["error"]["code"]) == ("clienterror", "RequestEntityTooLarge")
    assert raw("GET", f"{path}/tasks").json["value"] == []
    body["resourceFiles"] = files[1:]
    assert raw("POST", f"{path}/tasks", body).status == 201
