"""What users sent, as it is shown again: without secrets, with its defaults filled in, durations
and moments in the service's one spelling.

Write-only members (passwords, keys) are left out and SAS signatures are blanked: what was stored
for use is never shown.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import msgspec

from lote.wire.formats import (
    UNLIMITED_DURATION,
    format_duration,
    format_timestamp,
    parse_duration,
    parse_timestamp,
)
from lote.wire.modern import modernize
from lote.wire.pool import PoolCreate
from lote.wire.secret_members import without_secrets
from lote.wire.task import TaskCreate
from lote.wire.versions import NEWEST

Shown = dict[str, Any]

DEFAULT_IDENTITY: Shown = {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}
RETENTION_DEFAULT = "P7D"  # REST: task constraints
RESIZE_TIMEOUT_DEFAULT = "PT15M"  # REST: Add Pool
INTERVAL_DEFAULT = "PT15M"  # REST: autoScaleEvaluationInterval

_SIGNATURE = re.compile(r"([?&;]sig=)[^&\s\"']*", re.IGNORECASE | re.ASCII)
# The same in a JSON text without \\u, where a quote or white space is a backslash and a letter. It
# begins with what can be searched for quickly.
_SIGNATURE_IN_JSON = re.compile(
    r"sig=(?<=[?&;]sig=)[^&\s\"'\\]*(?:\\[\\/b][^&\s\"'\\]*)*", re.ASCII
)
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def blanked(value: Any) -> Any:  # noqa: ANN401 - decoded JSON
    """The value with the signatures of signed URLs blanked."""
    if isinstance(value, dict):
        return {name: blanked(item) for name, item in value.items()}
    if isinstance(value, list):
        return [blanked(item) for item in value]
    if isinstance(value, str) and "sig=" in value.lower():
        return _SIGNATURE.sub(r"\1REDACTED", value)
    return value


def shown_spec(spec: bytes, kind: type[msgspec.Struct]) -> Shown:
    """What the user sent as it may be shown: without write-only members and signatures."""
    body = msgspec.json.decode(spec, type=kind, strict=False)
    modernize(body, NEWEST)
    shown: Shown = blanked(msgspec.to_builtins(without_secrets(body)))
    return shown


def shown_task_spec(spec: bytes) -> Shown:
    """The same for a task, as quick as thousands in a page want it.

    Signatures are blanked in the JSON itself, unless something else in it needs a closer look:
    escapes, because some clients write "=" as \\u003d, passwords, and names in capitals.
    """
    folded = spec.lower()
    signatures = folded.count(b"sig=")
    if b"\\u" in folded or b"password" in folded or signatures != spec.count(b"sig="):
        return shown_spec(spec, TaskCreate)
    if signatures:
        return _decode(_SIGNATURE_IN_JSON.sub("sig=REDACTED", spec.decode()))
    return _decode(spec)


@lru_cache(maxsize=256)
def shown_pool_spec(spec: bytes) -> Shown:
    """The same for a pool, decoded once for all its nodes; callers change nothing in it."""
    return shown_spec(spec, PoolCreate)


def view_pool_settings(spec: Shown) -> Shown:
    """Those members of a pool or of an auto pool's specification that are shown as they were
    sent, as far as they were."""
    shown: Shown = {
        "taskSchedulingPolicy": {"nodeFillType": "spread"} | spec.get("taskSchedulingPolicy", {}),
    }
    if spec.get("enableAutoScale"):
        shown["autoScaleFormula"] = spec.get("autoScaleFormula", "")
        interval = duration_of(spec, "autoScaleEvaluationInterval", INTERVAL_DEFAULT)
        shown["autoScaleEvaluationInterval"] = interval
    if "virtualMachineConfiguration" in spec:
        shown["virtualMachineConfiguration"] = _view_machine(spec["virtualMachineConfiguration"])
    if "networkConfiguration" in spec:
        scope = {"dynamicVNetAssignmentScope": "none"}
        shown["networkConfiguration"] = scope | spec["networkConfiguration"]
    if "startTask" in spec:
        shown["startTask"] = view_start_task(spec["startTask"])
    if "upgradePolicy" in spec:
        shown["upgradePolicy"] = _view_upgrade_policy(spec["upgradePolicy"])
    for name in _POOL_ECHOED:
        if spec.get(name):
            shown[name] = spec[name]
    # Only versions that know the member show it.
    shown["targetNodeCommunicationMode"] = spec.get("targetNodeCommunicationMode", "default")
    return shown


_POOL_ECHOED = (
    "applicationPackageReferences",
    "userAccounts",
    "metadata",
    "mountConfiguration",
    "cloudServiceConfiguration",
    "certificateReferences",
    "applicationLicenses",
    "resourceTags",
)


def _view_machine(machine: Shown) -> Shown:
    image = machine.get("imageReference", {})
    if "publisher" not in image:
        return machine
    return machine | {"imageReference": {"version": "latest"} | image}


def _view_upgrade_policy(policy: Shown) -> Shown:
    rolling = policy.get("rollingUpgradePolicy")
    if not rolling or "pauseTimeBetweenBatches" not in rolling:
        return policy
    pause = {"pauseTimeBetweenBatches": duration_of(rolling, "pauseTimeBetweenBatches", "PT0S")}
    return policy | {"rollingUpgradePolicy": rolling | pause}


def view_start_task(spec: Shown) -> Shown:
    """A start task with its defaults filled in."""
    return {
        "userIdentity": DEFAULT_IDENTITY,
        "maxTaskRetryCount": 0,
        "waitForSuccess": True,
    } | spec


def view_job_settings(spec: Shown) -> Shown:
    """Those members that a job and a job schedule's specification have alike, with defaults."""
    constraints = spec.get("constraints", {})
    shown: Shown = {
        "priority": spec.get("priority", 0),
        "maxParallelTasks": spec.get("maxParallelTasks", -1),
        "usesTaskDependencies": spec.get("usesTaskDependencies", False),
        "allowTaskPreemption": spec.get("allowTaskPreemption", False),
        "constraints": {
            "maxWallClockTime": duration_of(constraints, "maxWallClockTime", UNLIMITED_DURATION),
            "maxTaskRetryCount": constraints.get("maxTaskRetryCount", 0),
        },
    }
    if "displayName" in spec:
        shown["displayName"] = spec["displayName"]
    for name, view in _SPECIAL_TASKS.items():
        if name in spec:
            shown[name] = view(spec[name])
    for name in ("commonEnvironmentSettings", "networkConfiguration", "metadata"):
        if spec.get(name):
            shown[name] = spec[name]
    shown["poolInfo"] = _view_pool_info(spec["poolInfo"])
    shown["onAllTasksComplete"] = spec.get("onAllTasksComplete", "noaction")
    shown["onTaskFailure"] = spec.get("onTaskFailure", "noaction")
    return shown


def view_schedule(spec: Shown) -> Shown:
    """When a job schedule makes jobs, as it was given."""
    shown = dict(spec)
    for name in ("doNotRunUntil", "doNotRunAfter"):
        if name in spec:
            shown[name] = format_timestamp(parse_timestamp(spec[name]))
    for name in ("startWindow", "recurrenceInterval"):
        if name in spec:
            shown[name] = format_duration(parse_duration(spec[name]))
    return shown


def view_task_constraints(given: Shown, retries_default: int) -> Shown:
    """The constraints of a task; ``retries_default`` is the job's maxTaskRetryCount."""
    return {
        "maxWallClockTime": duration_of(given, "maxWallClockTime", UNLIMITED_DURATION),
        "retentionTime": duration_of(given, "retentionTime", RETENTION_DEFAULT),
        "maxTaskRetryCount": given.get("maxTaskRetryCount", retries_default),
    }


def duration_of(spec: Shown, name: str, default: str) -> str:
    """The duration of that name as the service spells it; ``default`` when it is not given."""
    return format_duration(parse_duration(spec[name])) if name in spec else default


def _view_pool_info(pool_info: Shown) -> Shown:
    auto_pool = pool_info.get("autoPoolSpecification")
    if auto_pool is None:
        return pool_info
    shown = {"keepAlive": False} | auto_pool
    if "pool" in auto_pool:
        shown["pool"] = view_pool_specification(auto_pool["pool"])
    return {"autoPoolSpecification": shown}


def view_pool_specification(spec: Shown) -> Shown:
    """The pool of an auto pool with its defaults filled in."""
    shown: Shown = {}
    if "displayName" in spec:
        shown["displayName"] = spec["displayName"]
    shown |= {
        "vmSize": spec["vmSize"],
        "taskSlotsPerNode": spec.get("taskSlotsPerNode", 1),
        "resizeTimeout": duration_of(spec, "resizeTimeout", RESIZE_TIMEOUT_DEFAULT),
        "targetDedicatedNodes": spec.get("targetDedicatedNodes", 0),
        "targetLowPriorityNodes": spec.get("targetLowPriorityNodes", 0),
        "enableAutoScale": spec.get("enableAutoScale", False),
        "enableInterNodeCommunication": spec.get("enableInterNodeCommunication", False),
    }
    return shown | view_pool_settings(spec)


def _manager(spec: Shown) -> Shown:
    return {
        "requiredSlots": 1,
        "userIdentity": DEFAULT_IDENTITY,
        "runExclusive": True,
        "allowLowPriorityNode": True,
        "killJobOnCompletion": True,
    } | _constrained(spec)


def _preparation(spec: Shown) -> Shown:
    return {
        "id": "jobpreparation",
        "userIdentity": DEFAULT_IDENTITY,
        "waitForSuccess": True,
        "rerunOnNodeRebootAfterSuccess": True,
    } | _constrained(spec)


def _release(spec: Shown) -> Shown:
    shown = {"id": "jobrelease", "userIdentity": DEFAULT_IDENTITY} | spec
    shown["maxWallClockTime"] = duration_of(spec, "maxWallClockTime", "PT15M")
    shown["retentionTime"] = duration_of(spec, "retentionTime", RETENTION_DEFAULT)
    return shown


_SPECIAL_TASKS = {
    "jobManagerTask": _manager,
    "jobPreparationTask": _preparation,
    "jobReleaseTask": _release,
}


def _constrained(spec: Shown) -> Shown:
    return spec | {"constraints": view_task_constraints(spec.get("constraints", {}), 0)}
