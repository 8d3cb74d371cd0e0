"""Bodies with every member there is, put together from ``tests/compliance/wire/whole.json``."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

_PARTS = json.loads((Path(__file__).parent / "compliance" / "wire" / "whole.json").read_text())


def part(name: str) -> Any:
    return copy.deepcopy(_PARTS[name])


def whole_pool() -> dict[str, Any]:
    """Each member of a pool's specification, except those that another one excludes."""
    pool = part("pool")
    containers = part("containers")
    machine = pool["virtualMachineConfiguration"]
    machine["containerConfiguration"] = containers["containerConfiguration"]
    pool["startTask"]["containerSettings"] = containers["containerSettings"]
    pool["applicationPackageReferences"] = part("packages")
    older = part("older_pool")
    del older["cloudServiceConfiguration"]
    return pool | older


def whole_task() -> dict[str, Any]:
    task = part("task")
    task["requiredSlots"] = 1
    return task | {
        "containerSettings": part("containers")["containerSettings"],
        "multiInstanceSettings": part("multi_instance"),
        "applicationPackageReferences": part("packages"),
        "authenticationTokenSettings": part("token"),
    }


def whole_job() -> dict[str, Any]:
    """Each member of a job's specification, with an auto pool."""
    job, tasks, task = part("job"), part("special_tasks"), part("task")
    for special in tasks.values():
        special["containerSettings"] = part("containers")["containerSettings"]
        special["resourceFiles"] = task["resourceFiles"]
        special["environmentSettings"] = task["environmentSettings"]
    tasks["jobManagerTask"]["outputFiles"] = task["outputFiles"]
    tasks["jobManagerTask"]["applicationPackageReferences"] = part("packages")
    tasks["jobManagerTask"]["authenticationTokenSettings"] = part("token")
    auto_pool = {
        "autoPoolIdPrefix": "auto",
        "poolLifetimeOption": "job",
        "keepAlive": True,
        "pool": whole_pool(),
    }
    return job | tasks | {"poolInfo": {"autoPoolSpecification": auto_pool}}


def without_secrets(value: Any) -> Any:
    """As it is shown: what is only a secret is left out, signatures are blanked."""
    if isinstance(value, dict):
        return {
            name: without_secrets(item)
            for name, item in value.items()
            if item != "SECRET" and name != "protectedSettings"
        }
    if isinstance(value, list):
        return [without_secrets(item) for item in value]
    return value.replace("sig=SECRET", "sig=REDACTED") if isinstance(value, str) else value
