"""Job preparation and job release tasks, from what the user sent to what agents run."""

from __future__ import annotations

from typing import Any

import msgspec

from lote.server.memory import SpecialTask
from lote.wire.check_jobs import PREPARATION_ID, RELEASE_ID, RELEASE_WALL_CLOCK_MAX_S
from lote.wire.formats import parse_duration, spell_duration

RELEASE_WALL_CLOCK = "PT15M"  # REST: job release task, the default and the most

_SHARED = (
    "commandLine",
    "containerSettings",
    "resourceFiles",
    "environmentSettings",
    "userIdentity",
)


def preparation_of(job: dict[str, Any]) -> SpecialTask | None:
    """The job preparation task in a job's spec."""
    task = job.get("jobPreparationTask")
    if task is None:
        return None
    task_id = task.get("id", PREPARATION_ID)
    return SpecialTask(
        task_id,
        _spec(task_id, task, task.get("constraints", {})),
        waits=task.get("waitForSuccess", True),
        reruns=task.get("rerunOnNodeRebootAfterSuccess", True),
    )


def release_of(job: dict[str, Any]) -> SpecialTask | None:
    """The job release task in a job's spec."""
    task = job.get("jobReleaseTask")
    if task is None:
        return None
    task_id = task.get("id", RELEASE_ID)
    constraints = {"maxWallClockTime": task.get("maxWallClockTime", RELEASE_WALL_CLOCK)}
    if "retentionTime" in task:
        constraints["retentionTime"] = task["retentionTime"]
    return SpecialTask(
        task_id,
        _spec(task_id, task, constraints),
        limit_s=parse_duration(constraints["maxWallClockTime"]) or RELEASE_WALL_CLOCK_MAX_S,
    )


def _spec(task_id: str, task: dict[str, Any], constraints: dict[str, Any]) -> bytes:
    """As agents read tasks, with durations in their one spelling."""
    spelled = {
        name: spell_duration(value) if isinstance(value, str) else value
        for name, value in constraints.items()
    }
    members = {name: task[name] for name in _SHARED if name in task}
    return msgspec.json.encode({"id": task_id, "constraints": spelled} | members)
