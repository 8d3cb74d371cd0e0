"""What each list can be filtered by. Source: REST, the List operations and their filters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["string", "int", "bool", "time"]


@dataclass(frozen=True, slots=True)
class PropertyRule:
    """How one property may be filtered. ``prop`` is its name in the tree (aliases share one)."""

    prop: str
    kind: Kind
    ops: frozenset[str]  # of Op, and "startswith"


_EQ = frozenset({"eq"})
_SAME = frozenset({"eq", "ne"})
_ORDER = frozenset({"eq", "ne", "gt", "ge", "lt", "le"})
_PREFIX = _ORDER | {"startswith"}

# One letter or two a way of filtering, as the tables below use them.
_WAYS: dict[str, tuple[Kind, frozenset[str]]] = {
    "T": ("time", _ORDER),
    "S": ("string", _SAME),
    "SE": ("string", _EQ),
    "SW": ("string", _PREFIX),
    "N": ("string", frozenset({"startswith"})),
    "P": ("string", _PREFIX - {"ne"}),
    "I": ("int", _ORDER),
    "B": ("bool", _SAME),
}


def _rules(table: dict[str, str]) -> dict[str, PropertyRule]:
    return {prop: PropertyRule(prop, *_WAYS[way]) for prop, way in table.items()}


_ENTITY = {
    "id": "SW",
    "state": "S",
    "stateTransitionTime": "T",
    "creationTime": "T",
    "lastModified": "T",
}
_JOB = _ENTITY | {
    "executionInfo/startTime": "T",
    "executionInfo/endTime": "T",
    "executionInfo/poolId": "SW",
}
_SPECIAL_TASK = {"state": "SE", "startTime": "T", "endTime": "T", "exitCode": "I", "result": "S"}
_TASKS = _rules(
    _ENTITY
    | {
        "executionInfo/startTime": "T",
        "executionInfo/endTime": "T",
        "executionInfo/exitCode": "I",
        "executionInfo/result": "S",
    }
)

FILTERS: dict[str, dict[str, PropertyRule]] = {
    "pools": _rules(
        _ENTITY
        | {
            "allocationState": "S",
            "allocationStateTransitionTime": "T",
            "enableAutoScale": "B",
            "vmSize": "S",
            "enableInterNodeCommunication": "B",
        }
    ),
    "nodes": _rules(
        {
            "state": "S",
            "stateTransitionTime": "T",
            "lastBootTime": "T",
            "allocationTime": "T",
            "startTaskInfo/state": "SE",
            "startTaskInfo/result": "S",
            "startTaskInfo/exitCode": "I",
            "startTaskInfo/startTime": "T",
            "startTaskInfo/endTime": "T",
        }
    ),
    "jobs": _rules(_JOB),
    "jobs_of_schedule": _rules({prop: way for prop, way in _JOB.items() if prop != "id"}),
    "job_schedules": _rules(
        _ENTITY
        | {
            "executionInfo/endTime": "T",
            "schedule/doNotRunUntil": "T",
            "schedule/doNotRunAfter": "T",
        }
    ),
    # The documents say lastModifiedTime, the entity lastModified: clients send either.
    "tasks": _TASKS | {"lastModifiedTime": _TASKS["lastModified"]},
    "preparation_and_release_status": _rules(
        {"poolId": "S", "nodeId": "S"}
        | {
            f"{task}ExecutionInfo/{prop}": way
            for task in ("jobPreparationTask", "jobReleaseTask")
            for prop, way in _SPECIAL_TASK.items()
        }
    ),
    "files": _rules({"name": "N"}),
    "node_counts": _rules({"poolId": "SE"}),
    "supported_images": _rules({"osType": "S", "verificationType": "S", "nodeAgentSKUId": "S"}),
    "pool_usage_metrics": _rules({"poolId": "P"}),
    "certificates": _rules({"state": "S", "stateTransitionTime": "T"}),
    "node_agent_skus": _rules({"osType": "S"}),
}

# Which of them each list takes; a list that is not named here has no filter.
LIST_FILTERS: dict[str, str] = {
    "list_pools": "pools",
    "list_nodes": "nodes",
    "list_jobs": "jobs",
    "list_jobs_from_schedule": "jobs_of_schedule",
    "list_job_schedules": "job_schedules",
    "list_tasks": "tasks",
    "list_job_preparation_and_release_task_status": "preparation_and_release_status",
    "list_task_files": "files",
    "list_node_files": "files",
    "list_pool_node_counts": "node_counts",
    "list_supported_images": "supported_images",
    "list_pool_usage_metrics": "pool_usage_metrics",
    "list_certificates": "certificates",
    "list_node_agent_skus": "node_agent_skus",
}
