"""What a task finds around it: variables, folders, user, streams."""

from __future__ import annotations

import os

import pytest
from azure.batch import models as m

from .conftest import add_task, create_pool, fresh, read_file, shell, wait_steady, wait_task

NAME = "AZ_BATCH_"


def variables(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@pytest.fixture(scope="module")
def seen(batch, pool):
    """The environment of a task, and the task."""
    job_id = fresh("env")
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id,
            pool_info=m.BatchPoolInfo(pool_id=pool),
            common_environment_settings=[
                m.EnvironmentSetting(name="COMMON", value="job"),
                m.EnvironmentSetting(name="BOTH", value="job"),
            ],
        )
    )
    settings = [
        m.EnvironmentSetting(name="BOTH", value="task"),
        m.EnvironmentSetting(name="EMPTY", value=""),
        m.EnvironmentSetting(name="UNSET"),
    ]
    command = shell("env; echo PWD_IS=$(pwd); echo STDIN=$(wc -c); ls ..")
    add_task(batch, job_id, "t", command, environment_settings=settings)
    task = wait_task(batch, job_id, "t")
    return variables(read_file(batch, job_id, "t")), task, job_id


def test_service_variables(seen, raw, pool):
    found, task, job_id = seen
    root = found["AZ_BATCH_NODE_ROOT_DIR"]
    assert os.path.isabs(root)
    directory = f"{root}/workitems/{job_id}/job-1/t"
    expected = {
        "AZ_BATCH_ACCOUNT_NAME": raw.account,
        "AZ_BATCH_ACCOUNT_URL": raw.endpoint,
        "AZ_BATCH_POOL_ID": pool,
        "AZ_BATCH_NODE_ID": task.node_info.node_id,
        "AZ_BATCH_NODE_IS_DEDICATED": "true",
        "AZ_BATCH_NODE_SHARED_DIR": f"{root}/shared",
        "AZ_BATCH_NODE_STARTUP_DIR": f"{root}/startup",
        "AZ_BATCH_NODE_MOUNTS_DIR": f"{root}/fsmounts",
        "AZ_BATCH_JOB_ID": job_id,
        "AZ_BATCH_TASK_ID": "t",
        "AZ_BATCH_TASK_DIR": directory,
        "AZ_BATCH_TASK_WORKING_DIR": f"{directory}/wd",
    }
    assert {name: found.get(name, "").rstrip("/") for name in expected} == expected
    assert "AZ_BATCH_CERTIFICATES_DIR" not in found  # its pool refers to none
    assert int(found["AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES"]) > 0


def test_own_variables(seen):
    found, *_ = seen
    assert found["COMMON"] == "job"
    assert found["BOTH"] == "task"
    assert found["EMPTY"] == ""
    assert found.get("UNSET", "") == ""


def test_where_it_runs(seen):
    found, *_ = seen
    assert found["PWD_IS"] == found["AZ_BATCH_TASK_WORKING_DIR"]
    assert found["STDIN"] == "0"
    assert "/usr/bin" in found["PATH"].split(":")


def test_nothing_of_the_service_leaks(seen, service, batch):
    _, _, job_id = seen
    text = read_file(batch, job_id, "t")
    for secret in (
        service.batch.key,
        service.batch.key2,
        service.storage.key,
        service.storage.connection_string,
    ):
        assert secret not in text
    assert "LOTE" not in text


def test_task_user_is_not_the_services(batch, job):
    add_task(batch, job, "t", shell('id -u; cat /proc/self/environ | tr "\\0" "\\n"'))
    wait_task(batch, job, "t")
    uid = int(read_file(batch, job, "t").splitlines()[0])
    if os.getuid() == 0:
        assert uid != 0
    else:
        assert uid == os.getuid()


def test_start_task_variables(batch):
    pool_id = fresh("env-pool")
    create_pool(
        batch,
        pool_id,
        1,
        start_task=m.BatchStartTask(
            command_line=shell("env; pwd"),
            environment_settings=[m.EnvironmentSetting(name="MINE", value="1")],
            wait_for_success=True,
        ),
    )
    (node,) = wait_steady(batch, pool_id)
    text = b"".join(batch.download_node_file(pool_id, node.id, "startup/stdout.txt")).decode()
    found = variables(text)
    startup = found["AZ_BATCH_NODE_STARTUP_DIR"]
    assert found["MINE"] == "1"
    assert found["AZ_BATCH_TASK_DIR"] == startup
    assert found["AZ_BATCH_TASK_WORKING_DIR"] == f"{startup}/wd" == text.splitlines()[-1]
    assert found["AZ_BATCH_POOL_ID"] == pool_id
    assert found["AZ_BATCH_NODE_ID"] == node.id
    assert "AZ_BATCH_JOB_ID" not in found
    assert "AZ_BATCH_TASK_ID" not in found
    batch.begin_delete_pool(pool_id, polling_interval=5)


def test_tasks_share_the_shared_folder_and_see_start_files(batch, pool, job):
    add_task(batch, job, "a", shell("echo kept > $AZ_BATCH_NODE_SHARED_DIR/$AZ_BATCH_JOB_ID"))
    node = wait_task(batch, job, "a").node_info
    affinity = m.BatchAffinityInfo(affinity_id=node.affinity_id)
    add_task(
        batch,
        job,
        "b",
        shell("cat $AZ_BATCH_NODE_SHARED_DIR/$AZ_BATCH_JOB_ID"),
        affinity_info=affinity,
    )
    task = wait_task(batch, job, "b")
    assert task.node_info.node_id == node.node_id
    assert read_file(batch, job, "b") == "kept\n"
