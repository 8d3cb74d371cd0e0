"""How records look on the wire: one function a noun. Nothing here decides anything.

``spec_views`` has those parts that users sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from lote.server.spec_views import (
    DEFAULT_IDENTITY,
    shown_pool_spec,
    shown_spec,
    shown_task_spec,
    view_job_settings,
    view_pool_settings,
    view_schedule,
    view_start_task,
    view_task_constraints,
)
from lote.server.start_tasks import shown_start_task
from lote.store.instances import InstanceRecord
from lote.store.records import (
    PLACED,
    STATE_OF_PHASE,
    JobCount,
    JobRecord,
    JobScheduleRecord,
    NodeRecord,
    PoolRecord,
    TaskRecord,
)
from lote.wire.formats import etag_of, format_duration, format_timestamp
from lote.wire.job import JobCreate
from lote.wire.job_schedule import JobScheduleCreate

Shown = dict[str, Any]

UNLIMITED_TIMEOUT_S = 1e9  # ours: how the longest resizeTimeout is kept; timers can count it

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def view_pool(record: PoolRecord, base_url: str) -> Shown:
    """A pool as the service shows it."""
    spec = shown_pool_spec(record.spec)
    shown: Shown = {"id": record.id}
    if "displayName" in spec:
        shown["displayName"] = spec["displayName"]
    shown |= _entity(f"{base_url}/pools/{record.id}", record.modified_us, record.created_us)
    shown |= {
        "state": record.state,
        "stateTransitionTime": format_timestamp(record.state_us),
        "allocationState": record.allocation_state,
        "allocationStateTransitionTime": format_timestamp(record.allocation_us),
        "vmSize": spec["vmSize"],
        "resizeTimeout": format_duration(_resize_timeout_s(record)),
        "currentDedicatedNodes": record.current_dedicated,
        "targetDedicatedNodes": record.target_dedicated,
        "currentLowPriorityNodes": record.current_low_priority,
        "targetLowPriorityNodes": record.target_low_priority,
        "enableAutoScale": bool(record.enable_auto_scale),
        "enableInterNodeCommunication": bool(record.inter_node),
        "taskSlotsPerNode": record.slots,
    } | view_pool_settings(spec)
    _show_scaling(shown, record)
    if record.resize_errors and record.allocation_state == "steady":
        shown["resizeErrors"] = msgspec.json.decode(record.resize_errors)
    if record.current_dedicated + record.current_low_priority:
        # Only versions that know the member show it. Agents call: that is the simplified mode.
        wanted = shown["targetNodeCommunicationMode"]
        shown["currentNodeCommunicationMode"] = "simplified" if wanted == "default" else wanted
    return shown


def _show_scaling(shown: Shown, record: PoolRecord) -> None:
    """Formula and interval as they are now, whatever the pool was created with."""
    for name in ("autoScaleFormula", "autoScaleEvaluationInterval"):
        shown.pop(name, None)
    if record.enable_auto_scale:
        shown["autoScaleFormula"] = record.scale_formula
        shown["autoScaleEvaluationInterval"] = format_duration(record.scale_interval_s)
        if record.scale_run is not None:
            shown["autoScaleRun"] = msgspec.json.decode(record.scale_run)


def _resize_timeout_s(record: PoolRecord) -> float | None:
    limit_s = record.resize_timeout_s
    return limit_s if limit_s < UNLIMITED_TIMEOUT_S else None


def view_node(record: NodeRecord, pool: PoolRecord, live: Shown, base_url: str) -> Shown:
    """A node as the service shows it. ``live``: runningTasksCount, runningTaskSlotsCount and, once
    a task ran, recentTasks."""
    url = f"{base_url}/pools/{record.pool_id}/nodes/{record.id}"
    spec = shown_pool_spec(pool.spec)
    shown: Shown = {
        "id": record.id,
        "url": url,
        "state": record.state,
        "schedulingState": record.scheduling,
        "stateTransitionTime": format_timestamp(record.state_us),
    }
    if record.booted_us:
        shown["lastBootTime"] = format_timestamp(record.booted_us)
    shown |= {
        "allocationTime": format_timestamp(record.allocated_us),
        "ipAddress": record.ip_address,
        "affinityId": f"TVM:{record.id}",
        "vmSize": pool.vm_size,
        "totalTasksRun": record.tasks_run,
        "totalTasksSucceeded": record.tasks_succeeded,
        "runningTasksCount": 0,
        "runningTaskSlotsCount": 0,
        "isDedicated": bool(record.is_dedicated),
        "endpointConfiguration": {"inboundEndpoints": []},
    } | live
    if "startTask" in spec:
        shown["startTask"] = view_start_task(spec["startTask"])
    info = shown_start_task(record.start_task)
    if info is not None:
        shown["startTaskInfo"] = info
    if record.errors:
        shown["errors"] = msgspec.json.decode(record.errors)
    if record.agent_version and record.seen_us:
        shown["nodeAgentInfo"] = {
            "version": record.agent_version,
            "lastUpdateTime": format_timestamp(record.seen_us),
        }
    # The image is a label: the node runs the host's system, and this member says so.
    image = spec.get("virtualMachineConfiguration", {}).get("imageReference")
    machine: Shown = {}
    if image:
        machine["imageReference"] = {"version": "latest"} | image
        if record.operating_system:
            machine["imageReference"]["exactVersion"] = record.operating_system
    shown["virtualMachineInfo"] = machine
    if record.booted_us:
        shown["certificateReferences"] = spec.get("certificateReferences", [])  # older versions
    return shown


def view_job(record: JobRecord, base_url: str) -> Shown:
    """A job as the service shows it."""
    spec = shown_spec(record.spec, JobCreate)
    shown: Shown = {"id": record.id}
    if "displayName" in spec:
        shown["displayName"] = spec["displayName"]
    shown |= _entity(f"{base_url}/jobs/{record.id}", record.modified_us, record.created_us)
    shown["state"] = record.state
    shown["stateTransitionTime"] = format_timestamp(record.state_us)
    if record.previous_state and record.previous_us is not None:
        shown["previousState"] = record.previous_state
        shown["previousStateTransitionTime"] = format_timestamp(record.previous_us)
    shown |= view_job_settings(spec)
    execution: Shown = {"startTime": format_timestamp(record.start_us)}
    if record.end_us is not None:
        execution["endTime"] = format_timestamp(record.end_us)
    if record.pool_id:
        execution["poolId"] = record.pool_id
    if record.scheduling_error:
        execution["schedulingError"] = msgspec.json.decode(record.scheduling_error)
    if record.terminate_reason:
        execution["terminateReason"] = record.terminate_reason
    shown["executionInfo"] = execution
    return shown


def view_job_schedule(record: JobScheduleRecord, next_us: int | None, base_url: str) -> Shown:
    """A job schedule as the service shows it. ``next_us``: when its next job is due."""
    spec = shown_spec(record.spec, JobScheduleCreate)
    shown: Shown = {"id": record.id}
    if "displayName" in spec:
        shown["displayName"] = spec["displayName"]
    url = f"{base_url}/jobschedules/{record.id}"
    shown |= _entity(url, record.modified_us, record.created_us)
    shown["state"] = record.state
    shown["stateTransitionTime"] = format_timestamp(record.state_us)
    if record.previous_state and record.previous_us is not None:
        shown["previousState"] = record.previous_state
        shown["previousStateTransitionTime"] = format_timestamp(record.previous_us)
    shown["schedule"] = view_schedule(spec.get("schedule", {}))
    shown["jobSpecification"] = view_job_settings(spec["jobSpecification"])
    execution: Shown = {}
    if next_us is not None:
        execution["nextRunTime"] = format_timestamp(next_us)
    if record.recent_job_id is not None:
        job_url = f"{base_url}/jobs/{record.recent_job_id}"
        execution["recentJob"] = {"id": record.recent_job_id, "url": job_url}
    if record.end_us is not None:
        execution["endTime"] = format_timestamp(record.end_us)
    shown["executionInfo"] = execution
    if spec.get("metadata"):
        shown["metadata"] = spec["metadata"]
    return shown


def view_task(record: TaskRecord, job_id: str, retries_default: int, base_url: str) -> Shown:
    """A task as the service shows it. ``retries_default`` is the job's maxTaskRetryCount."""
    spec = shown_task_spec(record.spec)
    shown: Shown = {"id": record.id}
    if "displayName" in spec:
        shown["displayName"] = spec["displayName"]
    url = f"{base_url}/jobs/{job_id}/tasks/{record.id}"
    shown |= _entity(url, record.modified_us, record.created_us)
    shown["state"] = STATE_OF_PHASE[record.phase]
    shown["stateTransitionTime"] = format_timestamp(record.state_us)
    if record.previous_phase is not None and record.previous_us is not None:
        shown["previousState"] = STATE_OF_PHASE[record.previous_phase]
        shown["previousStateTransitionTime"] = format_timestamp(record.previous_us)
    for name, value in spec.items():
        if name not in _TASK_PLACED:
            shown[name] = value
    shown["userIdentity"] = spec.get("userIdentity", DEFAULT_IDENTITY)
    shown["constraints"] = view_task_constraints(spec.get("constraints", {}), retries_default)
    shown["requiredSlots"] = record.slots
    shown["executionInfo"] = _execution(record)
    if record.node_id is not None and record.phase != PLACED:  # that may still be taken back
        shown["nodeInfo"] = _node_info(record, job_id, record.id, base_url)
    return shown


def view_quick_members(record: TaskRecord, names: Iterable[str]) -> Shown:
    """Those of the ``QUICK_MEMBERS`` named that the task has."""
    values = ((name, _QUICK[name](record)) for name in names)
    return {name: value for name, value in values if value is not None}


# What programs that wait for tasks select: members that do not need the spec.
_QUICK: Mapping[str, Callable[[TaskRecord], object]] = {
    "id": lambda record: record.id,
    "eTag": lambda record: etag_of(record.modified_us),
    "lastModified": lambda record: format_timestamp(record.modified_us),
    "creationTime": lambda record: format_timestamp(record.created_us),
    "state": lambda record: STATE_OF_PHASE[record.phase],
    "stateTransitionTime": lambda record: format_timestamp(record.state_us),
    "requiredSlots": lambda record: record.slots,
    "executionInfo": lambda record: _execution(record),
}
QUICK_MEMBERS = frozenset(_QUICK)
_TASK_PLACED = frozenset({"id", "displayName", "userIdentity", "constraints", "requiredSlots"})


def _execution(record: TaskRecord) -> Shown:
    shown: Shown = {}
    if record.start_us is not None:
        shown["startTime"] = format_timestamp(record.start_us)
    if record.end_us is not None:
        shown["endTime"] = format_timestamp(record.end_us)
    if record.exit_code is not None:
        shown["exitCode"] = record.exit_code
    if record.container and record.end_us is not None:
        shown["containerInfo"] = msgspec.json.decode(record.container)
    if record.failure:
        shown["failureInfo"] = msgspec.json.decode(record.failure)
    if record.result is not None:
        shown["result"] = "success" if record.result else "failure"
    shown["retryCount"] = record.retries
    if record.last_retry_us is not None:
        shown["lastRetryTime"] = format_timestamp(record.last_retry_us)
    shown["requeueCount"] = record.requeues
    if record.last_requeue_us is not None:
        shown["lastRequeueTime"] = format_timestamp(record.last_requeue_us)
    if record.spans:
        # Our addition; SDKs pass over members they do not know.
        spans = (int(us) / 1_000_000 for us in record.spans.split(","))
        shown["lote"] = dict(
            zip(("downloadSeconds", "runSeconds", "uploadSeconds"), spans, strict=True)
        )
    return shown


def view_subtask(record: InstanceRecord, job_id: str, task_id: str, base_url: str) -> Shown:
    """A subtask of a multi-instance task as the service shows it."""
    shown: Shown = {
        "id": record.number,
        "nodeInfo": _node_info(record, job_id, task_id, base_url),
        "state": record.state,
        "stateTransitionTime": format_timestamp(record.state_us),
    }
    if record.start_us is not None:
        shown["startTime"] = format_timestamp(record.start_us)
    if record.end_us is not None:
        shown["endTime"] = format_timestamp(record.end_us)
    if record.exit_code is not None:
        shown["exitCode"] = record.exit_code
    if record.container:
        shown["containerInfo"] = msgspec.json.decode(record.container)
    if record.failure:
        shown["failureInfo"] = msgspec.json.decode(record.failure)
    if record.previous_state is not None and record.previous_us is not None:
        shown["previousState"] = record.previous_state
        shown["previousStateTransitionTime"] = format_timestamp(record.previous_us)
    if record.state == "completed":
        shown["result"] = "failure" if record.failure else "success"
    return shown


def _node_info(
    record: TaskRecord | InstanceRecord, job_id: str, task_id: str, base_url: str
) -> Shown:
    node_url = f"{base_url}/pools/{record.node_pool_id}/nodes/{record.node_id}"
    directory = task_directory(job_id, task_id)
    return {
        "affinityId": f"TVM:{record.node_id}",
        "nodeUrl": node_url,
        "poolId": record.node_pool_id,
        "nodeId": record.node_id,
        "taskRootDirectory": directory,
        "taskRootDirectoryUrl": f"{node_url}/files/{directory}",
    }


def job_directory(job_id: str) -> str:
    """Where a node keeps the tasks of a job, relative to its root directory."""
    schedule, colon, name = job_id.partition(":")
    return f"workitems/{schedule}/{name}" if colon else f"workitems/{job_id}/job-1"


def task_directory(job_id: str, task_id: str) -> str:
    """Where a node keeps a task, relative to its root directory."""
    return f"{job_directory(job_id)}/{task_id}"


def view_counts(count: JobCount) -> Shown:
    """The answer to taskcounts, without its metadata member."""
    return {
        "taskCounts": {
            "active": count.active,
            "running": count.running,
            "completed": count.succeeded + count.failed,
            "succeeded": count.succeeded,
            "failed": count.failed,
        },
        "taskSlotCounts": {
            "active": count.active_slots,
            "running": count.running_slots,
            "completed": count.succeeded_slots + count.failed_slots,
            "succeeded": count.succeeded_slots,
            "failed": count.failed_slots,
        },
    }


def _entity(url: str, modified_us: int, created_us: int) -> Shown:
    return {
        "url": url,
        "eTag": etag_of(modified_us),
        "lastModified": format_timestamp(modified_us),
        "creationTime": format_timestamp(created_us),
    }
