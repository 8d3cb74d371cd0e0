"""Job release tasks with the SDK, on real nodes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m

from .conftest import add_task, create_pool, fresh, shell, until, wait_steady, wait_task

OVER = {"terminateReason": "over"}
LOG = '"$AZ_BATCH_NODE_SHARED_DIR/$AZ_BATCH_JOB_ID"'
MAKE_SHARED = 'mkdir -p "$AZ_BATCH_NODE_SHARED_DIR"; '


@pytest.fixture(scope="module")
def lone_pool(batch):
    """One node with two slots."""
    pool_id = fresh("released")
    create_pool(batch, pool_id, 1, task_slots_per_node=2)
    wait_steady(batch, pool_id)
    yield pool_id
    batch.begin_delete_pool(pool_id, polling_interval=0)


def create(batch, pool, command, preparation="true", **members):
    job_id = fresh("released-job")
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id,
            pool_info=m.BatchPoolInfo(pool_id=pool),
            common_environment_settings=[m.EnvironmentSetting(name="SHARED", value="by all")],
            job_preparation_task=m.BatchJobPreparationTask(command_line=shell(preparation)),
            job_release_task=m.BatchJobReleaseTask(command_line=shell(command), **members),
        )
    )
    return job_id


def node_text(batch, pool, node_id, name):
    return b"".join(batch.download_node_file(pool, node_id, name)).decode()


def test_after_the_tasks_with_a_directory_and_an_environment_of_its_own(batch, lone_pool):
    job_id = create(
        batch,
        lone_pool,
        f"echo $AZ_BATCH_JOB_ID $AZ_BATCH_TASK_ID $SHARED $OWN >> {LOG};"
        ' cat "$AZ_BATCH_JOB_PREP_WORKING_DIR/made"; echo kept > kept',
        f"{MAKE_SHARED}echo made > made",
        environment_settings=[m.EnvironmentSetting(name="OWN", value="own")],
    )
    add_task(batch, job_id, "quick", shell(f"echo quick >> {LOG}"))
    node_id = wait_task(batch, job_id, "quick").node_info.node_id
    add_task(batch, job_id, "long", shell("sleep 600"))
    wait_task(batch, job_id, "long", "running")
    batch.begin_terminate_job(job_id, OVER, polling_interval=0.05).wait()
    assert batch.get_job(job_id).state == "completed"
    (status,) = batch.list_job_preparation_and_release_task_status(job_id)
    assert status.node_id == node_id
    info = status.job_release_task_execution_info
    assert (info.state, info.result, info.exit_code) == ("completed", "success", 0)
    assert status.job_preparation_task_execution_info.end_time <= info.start_time
    lines = node_text(batch, lone_pool, node_id, f"shared/{job_id}").splitlines()
    assert lines == ["quick", f"{job_id} jobrelease by all own"]
    assert batch.get_task(job_id, "long").execution_info.end_time <= info.start_time
    directory = info.task_root_directory
    assert directory == f"workitems/{job_id}/job-1/jobrelease"
    assert node_text(batch, lone_pool, node_id, f"{directory}/stdout.txt") == "made\n"
    assert node_text(batch, lone_pool, node_id, f"{directory}/wd/kept") == "kept\n"


def test_a_job_that_is_deleted_while_active_and_one_that_had_ended(batch, lone_pool):
    logs = []
    for is_ended in (False, True):
        job_id = create(batch, lone_pool, f"echo released >> {LOG}", f"{MAKE_SHARED}touch {LOG}")
        add_task(batch, job_id, "t", shell("true"))
        node_id = wait_task(batch, job_id, "t").node_info.node_id
        if is_ended:
            batch.begin_terminate_job(job_id, OVER, polling_interval=0.05).wait()
        batch.begin_delete_job(job_id, polling_interval=0.05).wait()
        logs.append(node_text(batch, lone_pool, node_id, f"shared/{job_id}"))
    assert logs == ["released\n", "released\n"]


def test_its_time_limit_and_its_failure_keep_no_job(batch, lone_pool):
    limit = timedelta(seconds=0.3)
    job_id = create(batch, lone_pool, "sleep 600", max_wall_clock_time=limit)
    add_task(batch, job_id, "t", shell("true"))
    wait_task(batch, job_id, "t")
    batch.begin_terminate_job(job_id, OVER, polling_interval=0.05).wait()
    assert batch.get_job(job_id).state == "completed"
    (status,) = batch.list_job_preparation_and_release_task_status(job_id)
    info = status.job_release_task_execution_info
    assert (info.result, info.failure_info.code) == ("failure", "TaskEnded")


def test_a_node_that_is_rebooted_meanwhile_begins_again(batch, lone_pool):
    begins = f"echo begun >> {LOG}; test $(grep -c begun {LOG}) -gt 1 || sleep 600"
    job_id = create(batch, lone_pool, begins, f"{MAKE_SHARED}touch {LOG}")
    add_task(batch, job_id, "t", shell("true"))
    node_id = wait_task(batch, job_id, "t").node_info.node_id
    batch.begin_terminate_job(job_id, OVER, polling_interval=0)
    until(lambda: "begun" in node_text(batch, lone_pool, node_id, f"shared/{job_id}"))
    assert batch.get_job(job_id).state == "terminating"
    options = {"nodeRebootOption": "requeue"}
    batch.begin_reboot_node(lone_pool, node_id, options, polling_interval=0.05).wait()
    until(lambda: batch.get_job(job_id).state == "completed")
    assert node_text(batch, lone_pool, node_id, f"shared/{job_id}") == "begun\n" * 2
