"""The environment of every kind of task: what the service says, over what the task says, over
what the job says."""

from __future__ import annotations

import pytest
from azure.batch import models as m

from .conftest import create_pool, fresh, shell, until, wait_job, wait_task

KINDS = ("start", "jobpreparation", "jobrelease", "boss", "t")
FORGED = "AZ_BATCH_NODE_ID"


def own(kind: str) -> list[m.EnvironmentSetting]:
    pairs = {"KIND": kind, "BOTH": kind, FORGED: "forged", "AZ_BATCH_TASK_DIR": "forged"}
    return [m.EnvironmentSetting(name=name, value=value) for name, value in pairs.items()]


@pytest.fixture(scope="module")
def seen(batch):
    """The variables of each kind of task, on a low-priority node; the node, and the job."""
    pool_id, job_id = fresh("kinds-pool"), fresh("kinds")
    command = shell("env")
    start = m.BatchStartTask(command_line=command, environment_settings=own("start"))
    create_pool(batch, pool_id, 0, target_low_priority_nodes=1, start_task=start)
    common = [("COMMON", "job"), ("BOTH", "job"), (FORGED, "job"), ("AZ_BATCH_JOB_ID", "job")]
    batch.create_job(
        m.BatchJobCreateOptions(
            id=job_id,
            pool_info=m.BatchPoolInfo(pool_id=pool_id),
            common_environment_settings=[
                m.EnvironmentSetting(name=name, value=value) for name, value in common
            ],
            job_preparation_task=m.BatchJobPreparationTask(
                command_line=command, environment_settings=own("jobpreparation")
            ),
            job_release_task=m.BatchJobReleaseTask(
                command_line=command, environment_settings=own("jobrelease")
            ),
            job_manager_task=m.BatchJobManagerTask(
                id="boss",
                command_line=command,
                environment_settings=own("boss"),
                kill_job_on_completion=False,
            ),
        )
    )
    wait_task(batch, job_id, "boss")
    task = m.BatchTaskCreateOptions(id="t", command_line=command, environment_settings=own("t"))
    batch.create_task(job_id, task)
    wait_task(batch, job_id, "t")
    batch.begin_terminate_job(job_id, {"terminateReason": "over"}, polling_interval=0.05).wait()
    wait_job(batch, job_id, "completed")
    (node,) = batch.list_nodes(pool_id)

    def read(kind: str) -> dict[str, str]:
        folder = "startup" if kind == "start" else f"workitems/{job_id}/job-1/{kind}"
        name = f"{folder}/stdout.txt"
        text = until(lambda: b"".join(batch.download_node_file(pool_id, node.id, name)).decode())
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    yield {kind: read(kind) for kind in KINDS}, node.id, job_id
    batch.begin_delete_pool(pool_id, polling_interval=5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_wins(seen, kind):
    found, node_id, job_id = seen[0][kind], *seen[1:]
    assert (found["KIND"], found["BOTH"]) == (kind, kind)
    assert found[FORGED] == node_id
    assert found["AZ_BATCH_NODE_IS_DEDICATED"] == "false"
    root = found["AZ_BATCH_NODE_ROOT_DIR"]
    directory = f"{root}/startup" if kind == "start" else f"{root}/workitems/{job_id}/job-1/{kind}"
    assert found["AZ_BATCH_TASK_DIR"] == directory
    assert found["AZ_BATCH_TASK_WORKING_DIR"] == f"{directory}/wd"
    if kind == "start":
        assert {"COMMON", "AZ_BATCH_JOB_ID", "AZ_BATCH_TASK_ID"}.isdisjoint(found)
    else:
        assert found["COMMON"] == "job"
        assert (found["AZ_BATCH_JOB_ID"], found["AZ_BATCH_TASK_ID"]) == (job_id, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_where_the_job_was_prepared(seen, kind):
    found, job_id = seen[0][kind], seen[2]
    names = {"AZ_BATCH_JOB_PREP_DIR", "AZ_BATCH_JOB_PREP_WORKING_DIR"}
    if kind in ("start", "jobpreparation"):
        assert names.isdisjoint(found)
        return
    directory = f"{found['AZ_BATCH_NODE_ROOT_DIR']}/workitems/{job_id}/job-1/jobpreparation"
    assert [found[name] for name in sorted(names)] == [directory, f"{directory}/wd"]


OF_ALL = [
    *("ACCOUNT_NAME", "ACCOUNT_URL", "POOL_ID", "NODE_ID", "NODE_IS_DEDICATED", "NODE_ROOT_DIR"),
    *("NODE_SHARED_DIR", "NODE_STARTUP_DIR", "NODE_MOUNTS_DIR", "TASK_DIR", "TASK_WORKING_DIR"),
    "TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES",
]


def test_all_have_what_is_of_the_node(seen):
    for kind, found in seen[0].items():
        assert {f"AZ_BATCH_{name}" for name in OF_ALL} <= found.keys(), kind
