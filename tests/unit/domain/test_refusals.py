"""Which error code refuses what; codes must be rows of the error table."""

from __future__ import annotations

import pytest

from lote.domain import job, job_schedule, node, pool, task
from lote.domain.job import JOB, JOB_WRITES
from lote.wire.errors import ERRORS


@pytest.mark.parametrize(
    ("state", "event", "code"),
    [
        ("completed", "terminate", "JobCompleted"),
        ("terminating", "terminate", "JobBeingTerminated"),
        ("terminating", "add_task", "JobBeingTerminated"),
        ("deleting", "delete", "JobBeingDeleted"),
        ("deleting", "update", "JobBeingDeleted"),
        ("completed", "add_task", "JobCompleted"),
        ("enabling", "disable", "JobNotActive"),
        ("active", "enable", "OperationInvalidForCurrentState"),
        ("active", "move_pool", "OperationInvalidForCurrentState"),
        ("disabling", "move_pool", "JobDisabled"),
    ],
)
def test_job_refusals(state: str, event: str, code: str) -> None:
    assert not job.allows_write(state, event)
    assert job.job_refusal(state, event) == code


def test_every_refused_job_event_has_a_known_conflict_code() -> None:
    for state in JOB.states:
        for event in (*JOB.events, *JOB_WRITES):
            if not job.allows_write(state, event):
                assert ERRORS[job.job_refusal(state, event)].status == 409, (state, event)


def test_tasks_may_be_added_to_a_disabled_job() -> None:
    assert job.allows_write("disabled", "add_task")
    assert job.allows_write("disabled", "move_pool")


@pytest.mark.parametrize(
    ("state", "event", "succeeded", "code"),
    [
        ("completed", "terminate", False, "TaskCompleted"),
        ("completed", "update", True, "TaskCompleted"),
        ("running", "reactivate", False, "TaskNotCompleted"),
        ("active", "reactivate", False, "TaskNotCompleted"),
        ("completed", "reactivate", True, "TaskSucceeded"),
        ("completed", "reactivate", False, None),
        ("active", "terminate", False, None),
        ("preparing", "update", False, None),
        ("completed", "delete", True, None),
    ],
)
def test_task_refusals(state: str, event: str, succeeded: bool, code: str | None) -> None:
    assert task.task_refusal(state, event, succeeded=succeeded) == code
    assert code is None or ERRORS[code].status == 409


@pytest.mark.parametrize(
    ("state", "allocation", "event", "code"),
    [
        ("deleting", "resizing", "resize", "PoolBeingDeleted"),
        ("deleting", "steady", "delete", "PoolBeingDeleted"),
        ("active", "resizing", "resize", "PoolBeingResized"),
        ("active", "stopping", "remove_nodes", "PoolBeingResized"),
        ("active", "resizing", "enable_auto_scale", "PoolBeingResized"),
        ("active", "steady", "stop", "OperationInvalidForCurrentState"),
    ],
)
def test_pool_refusals(state: str, allocation: str, event: str, code: str) -> None:
    assert pool.pool_refusal(state, allocation, event) == code
    assert ERRORS[code].status == 409


@pytest.mark.parametrize(
    ("state", "event", "code"),
    [
        ("creating", "reboot", "NodeBeingCreated"),
        ("starting", "reboot", "NodeBeingStarted"),
        ("rebooting", "reboot", "NodeBeingRebooted"),
        ("reimaging", "deallocate", "NodeBeingReimaged"),
        ("unusable", "deallocate", "NodeStateUnusable"),
        ("idle", "start", "OperationNotValidOnNode"),
        ("offline", "set_scheduling", "NodeAlreadyInTargetSchedulingState"),
    ],
)
def test_node_refusals(state: str, event: str, code: str) -> None:
    if event != "set_scheduling":
        assert not node.NODE.allows(state, event)
    assert node.node_refusal(state, event) == code
    assert ERRORS[code].status == 409


@pytest.mark.parametrize(
    ("state", "event", "code"),
    [
        ("completed", "enable", "JobScheduleCompleted"),
        ("terminating", "update", "JobScheduleBeingTerminated"),
        ("deleting", "delete", "JobScheduleBeingDeleted"),
    ],
)
def test_job_schedule_refusals(state: str, event: str, code: str) -> None:
    assert not job_schedule.allows_write(state, event)
    assert job_schedule.job_schedule_refusal(state) == code
    assert ERRORS[code].status == 409
