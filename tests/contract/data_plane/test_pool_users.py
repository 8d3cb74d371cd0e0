"""Tasks that name a user of their pool."""

from __future__ import annotations

import os

import pytest
from azure.batch import models as m

from .conftest import add_task, create_pool, fresh, shell, wait_steady, wait_task

FIRST = 64_000 + 1_001  # settings: task_uid_base; after the users of single tasks
ACCOUNTS = [
    m.UserAccount(name="reader", password="pa55-of-reader"),
    m.UserAccount(
        name="writer",
        password="pa55-of-writer",
        linux_user_configuration=m.LinuxUserConfiguration(uid=64_777, gid=64_778),
    ),
    m.UserAccount(name="chief", password="pa55-of-chief", elevation_level=m.ElevationLevel.ADMIN),
]


@pytest.fixture(scope="module")
def job_of_users(batch):
    """A job on a pool with users, whose start task runs as one of them."""
    pool_id, job_id = fresh("users"), fresh("users-job")
    start = m.BatchStartTask(
        command_line=shell("id -u"), user_identity=m.UserIdentity(username="writer")
    )
    create_pool(batch, pool_id, 1, task_slots_per_node=2, user_accounts=ACCOUNTS, start_task=start)
    wait_steady(batch, pool_id)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id)))
    yield job_id
    batch.begin_delete_pool(pool_id, polling_interval=0)


def as_user(batch, job_id: str, name: str, command: str) -> m.BatchTask:
    task_id = fresh("as")
    add_task(batch, job_id, task_id, command, user_identity=m.UserIdentity(username=name))
    return wait_task(batch, job_id, task_id)


def output(batch, task: m.BatchTask, job_id: str) -> list[str]:
    return b"".join(batch.download_task_file(job_id, task.id, "stdout.txt")).decode().split()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("reader", [str(FIRST), str(FIRST), str(FIRST), "reader"]),
        ("WRITER", ["64777", "64778", "64778", "writer"]),
        ("chief", ["0", "0", "0", "root"]),
    ],
)
def test_a_task_runs_as_the_user_it_names(batch, job_of_users, name, said):
    command = shell("id -u; id -g; id -G; echo $USER; touch mine")
    task = as_user(batch, job_of_users, name, command)
    assert task.execution_info.exit_code == 0
    assert output(batch, task, job_of_users) == said
    assert task.user_identity.username == name


def test_an_unknown_user_fails_the_task_and_starts_nothing(batch, job_of_users):
    task = as_user(batch, job_of_users, "nobody-here", "/bin/true")
    assert task.execution_info.exit_code is None
    assert task.execution_info.failure_info.category == "usererror"
    assert task.execution_info.failure_info.details[0].value == "nobody-here"


def test_start_tasks_name_users_too_and_passwords_stay_where_they_are(
    batch, raw, service_folder, job_of_users
):
    pool_id = batch.get_job(job_of_users).pool_info.pool_id
    (node,) = batch.list_nodes(pool_id)
    text = b"".join(batch.download_node_file(pool_id, node.id, "startup/stdout.txt")).decode()
    assert text.strip() == ("64777" if os.geteuid() == 0 else str(os.geteuid()))
    assert b"password" not in raw("GET", f"/pools/{pool_id}").body
    logs = [path for path in service_folder.parent.rglob("*.log") if path.is_file()]
    assert logs
    assert not [path for path in logs if b"pa55-of" in path.read_bytes()]
