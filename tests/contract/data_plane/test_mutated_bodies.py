"""Bodies that are almost right: each is taken or refused, never an internal error, never half."""

from __future__ import annotations

import copy
import random

import pytest

from .conftest import VM_SIZE, fresh
from .raw_http import Raw
from .test_jobs import FULL as FULL_JOB
from .test_pools import FULL as FULL_POOL
from .test_tasks import FULL as FULL_TASK

MUTATIONS = 80  # of each body; tens of thousands were run once
SEED = 7
ODD: tuple[object, ...] = (
    None,
    True,
    0,
    -1,
    1 << 31,
    1 << 63,
    1 << 70,
    -(1 << 63) - 1,
    1.5,
    1e308,
    "",
    " ",
    "x" * 2000,
    "ü\u2028\U0001f600",
    "\0",
    "\ud800",
    "0",
    "-5",
    "true",
    "P1D",
    "PT99999999999999999999S",
    "P-1D",
    "2020-01-01T00:00:00Z",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"name": "x"},
    "../../x",
    "http://[::1",
    "noaction",
)


def places(value: object, path: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a body, as a path of names and indexes."""
    found = [path] if path else []
    if isinstance(value, dict):
        for name in value:
            found += places(value[name], (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


def mutated(body: dict, rng: random.Random) -> dict:
    """The body with one to three of its places replaced, removed, doubled or renamed."""
    body = copy.deepcopy(body)
    for _ in range(rng.choice([1, 1, 2, 3])):
        every = places(body)
        if not every:
            return body
        *way, last = rng.choice(every)
        holder = body
        for step in way:
            holder = holder[step]
        match rng.randrange(6):
            case 0:
                del holder[last]
            case 1 if isinstance(holder, list):
                holder.extend([holder[last]] * rng.choice([1, 300]))
            case 2 if isinstance(holder, dict):
                holder[str(last).swapcase()] = holder.pop(last)
            case 3:
                holder[last] = copy.deepcopy(rng.choice(list(every_value(body))))
            case _:
                holder[last] = copy.deepcopy(rng.choice(ODD))
    return body


def every_value(body: dict) -> list[object]:
    values = []
    for path in places(body):
        value: object = body
        for step in path:
            value = value[step]
        values.append(value)
    return values or [None]


POOL = {
    "id": "ID",
    "vmSize": VM_SIZE,
    "virtualMachineConfiguration": {
        "imageReference": {"publisher": "p", "offer": "o", "sku": "s"},
        "nodeAgentSKUId": "batch.node.ubuntu 24.04",
    },
} | {name: value for name, value in FULL_POOL.items() if not name.startswith("target")}
JOB = {"id": "ID", "poolInfo": {"poolId": "no-such-pool"}} | FULL_JOB
TASK = {"id": "ID", "commandLine": "/bin/true"} | FULL_TASK
PATCH_POOL = {name: FULL_POOL[name] for name in ("startTask", "metadata", "taskSlotsPerNode")}
PATCH_JOB = {name: FULL_JOB[name] for name in ("priority", "constraints", "metadata")}
TARGETS: dict[str, tuple[str, str, dict]] = {
    "create_pool": ("POST", "/pools", POOL),
    "update_pool": ("PATCH", "POOL", PATCH_POOL),
    "replace_pool_properties": (
        "POST",
        "POOL/updateproperties",
        {"startTask": FULL_POOL["startTask"], "metadata": [], "applicationPackageReferences": []},
    ),
    "resize_pool": (
        "POST",
        "POOL/resize",
        {"targetDedicatedNodes": 0, "resizeTimeout": "PT5M", "nodeDeallocationOption": "requeue"},
    ),
    "remove_nodes": ("POST", "POOL/removenodes", {"nodeList": ["n"], "resizeTimeout": "PT5M"}),
    "create_job": ("POST", "/jobs", JOB),
    "update_job": ("PATCH", "JOB", PATCH_JOB),
    "replace_job": ("PUT", "JOB", PATCH_JOB | {"poolInfo": {"poolId": "no-such-pool"}}),
    "disable_job": ("POST", "JOB/disable", {"disableTasks": "requeue"}),
    "terminate_job": ("POST", "OTHER/terminate", {"terminateReason": "x"}),
    "create_task": ("POST", "JOB/tasks", TASK),
    "create_task_collection": ("POST", "JOB/addtaskcollection", {"value": [TASK, TASK]}),
    "replace_task": ("PUT", "JOB/tasks/t", {"constraints": FULL_TASK["constraints"]}),
}
FOUND = {200, 201, 202, 204, 400, 404, 409, 413, 501}


@pytest.fixture(scope="module")
def grounds(raw):
    """A pool without nodes and two jobs that may be changed at will."""
    made = {"POOL": fresh("mutated"), "JOB": fresh("mutated"), "OTHER": fresh("mutated")}
    raw("POST", "/pools", POOL | {"id": made["POOL"]})
    for name in ("JOB", "OTHER"):
        raw("POST", "/jobs", JOB | {"id": made[name]})
    raw("POST", f"/jobs/{made['JOB']}/tasks", {"id": "t", "commandLine": "x"})
    return {
        "POOL": f"/pools/{made['POOL']}",
        "JOB": f"/jobs/{made['JOB']}",
        "OTHER": f"/jobs/{made['OTHER']}",
    }


def shown(raw: Raw, grounds: dict[str, str]) -> list[bytes]:
    paths = [*grounds.values(), grounds["JOB"] + "/tasks/t"]
    return [raw("GET", path).body for path in paths]


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_bodies(raw, grounds, name):
    method, path, body = TARGETS[name]
    for word, real in grounds.items():
        path = path.replace(word, real)
    rng = random.Random(f"{name} {SEED}")
    before = shown(raw, grounds)
    for number in range(MUTATIONS):
        changed = mutated(body, rng)
        if "id" in changed and changed["id"] == "ID":
            changed["id"] = f"{name}-{SEED}-{number}"[-64:].replace("_", "-")
        reply = raw(method, path, changed)
        assert reply.status in FOUND, (changed, reply.body)
        if reply.status >= 400:
            assert reply.json["code"]
            assert shown(raw, grounds) == before, changed
        else:
            before = shown(raw, grounds)
            check_readable(raw, changed)


def check_readable(raw: Raw, body: dict) -> None:
    """What was taken can be listed and shown again."""
    for path in ("/pools", "/jobs"):
        assert raw("GET", f"{path}?maxresults=1000").status == 200, body
