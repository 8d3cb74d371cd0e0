"""Tasks that are accepted and odd: each ends in some way, and its slots come back."""

from __future__ import annotations

import json

import pytest

from .conftest import create_pool, fresh, until, wait_steady

COMMAND = "/bin/echo odd"
RUNS = "runs"  # exit code 0
ODD: dict[str, tuple[dict[str, object], str | None]] = {
    "retention-P": ({"constraints": {"retentionTime": "P"}}, RUNS),
    "retention-P0D": ({"constraints": {"retentionTime": "P0D"}}, RUNS),
    "retention-weeks": ({"constraints": {"retentionTime": "P2W"}}, RUNS),
    "retention-years": ({"constraints": {"retentionTime": "P3Y6M4DT12H30M5S"}}, RUNS),
    "retention-net": ({"constraints": {"retentionTime": "1.02:03:04"}}, RUNS),
    "retention-small": ({"constraints": {"retentionTime": "p1d"}}, RUNS),
    "retention-max": ({"constraints": {"retentionTime": "P10675199DT2H48M5.4775807S"}}, RUNS),
    "retention-beyond": ({"constraints": {"retentionTime": "P99999999999D"}}, RUNS),
    "wall-padded": ({"constraints": {"maxWallClockTime": "P0DT01H00M00.50S"}}, RUNS),
    "wall-weeks": ({"constraints": {"maxWallClockTime": "P1W"}}, RUNS),
    "wall-months": ({"constraints": {"maxWallClockTime": "P1M"}}, RUNS),
    "wall-max": ({"constraints": {"maxWallClockTime": "P10675199DT2H48M5.4775807S"}}, RUNS),
    "wall-zero": ({"constraints": {"maxWallClockTime": "P"}}, None),
    "quote-open": ({"commandLine": "/bin/echo 'open"}, None),
    "backslash": ({"commandLine": "/bin/echo \\"}, None),
    "only-quotes": ({"commandLine": "''"}, None),
    "newlines": ({"commandLine": "/bin/echo a\nb"}, None),
    "unicode": ({"commandLine": "/bin/echo ünïcode \U0001f600"}, RUNS),
    "long": ({"commandLine": "/bin/echo " + "x" * 100_000}, RUNS),
    "very-long": ({"commandLine": "/bin/echo " + "x" * 300_000}, None),
    "many-words": ({"commandLine": "/bin/echo " + "x " * 100_000}, None),
    "directory": ({"commandLine": "/etc"}, None),
    "env-equals": ({"environmentSettings": [{"name": "A=B", "value": "c"}]}, None),
    "env-empty-value": ({"environmentSettings": [{"name": "A", "value": ""}]}, RUNS),
    "env-no-value": ({"environmentSettings": [{"name": "A"}]}, RUNS),
    "env-twice": ({"environmentSettings": [{"name": "A", "value": v} for v in "12"]}, RUNS),
    "env-spaces": ({"environmentSettings": [{"name": "A B", "value": "c"}]}, None),
    "env-path": ({"environmentSettings": [{"name": "PATH", "value": ""}]}, None),
    "env-large": ({"environmentSettings": [{"name": "A", "value": "x" * 200_000}]}, None),
    "env-own": ({"environmentSettings": [{"name": "AZ_BATCH_TASK_ID", "value": "x"}]}, RUNS),
    "user-unknown": ({"userIdentity": {"username": "nobody-we-know"}}, None),
    "user-admin": (
        {"userIdentity": {"autoUser": {"scope": "pool", "elevationLevel": "admin"}}},
        RUNS,
    ),
    "user-task": ({"userIdentity": {"autoUser": {"scope": "task"}}}, RUNS),
    "affinity-odd": ({"affinityInfo": {"affinityId": "\U0001f600"}}, RUNS),
    "file-mode": (
        {"resourceFiles": [{"httpUrl": "ENDPOINT/healthz", "filePath": "x", "fileMode": "9"}]},
        None,
    ),
    "file-path": (
        {"resourceFiles": [{"httpUrl": "ENDPOINT/healthz", "filePath": "a//b/./c"}]},
        None,
    ),
    "file-long": (
        {"resourceFiles": [{"httpUrl": "ENDPOINT/healthz", "filePath": "x" * 300}]},
        None,
    ),
    "file-url": (
        {"resourceFiles": [{"httpUrl": "http://127.0.0.1:9/ü ?x#y", "filePath": "x"}]},
        None,
    ),
    "file-port": (
        {"resourceFiles": [{"httpUrl": "http://127.0.0.1:99999/x", "filePath": "x"}]},
        None,
    ),
    "file-scheme": ({"resourceFiles": [{"httpUrl": "ftp://h/x", "filePath": "x"}]}, None),
    "container-none": ({"resourceFiles": [{"autoStorageContainerName": "no-such-box"}]}, None),
    "container-odd": ({"resourceFiles": [{"autoStorageContainerName": "../Ü"}]}, None),
    "output-pattern": (
        {
            "outputFiles": [
                {
                    "filePattern": "[",
                    "destination": {"container": {"containerUrl": "http://127.0.0.1:9/a/b"}},
                    "uploadOptions": {"uploadCondition": "taskcompletion"},
                }
            ]
        },
        None,
    ),
}


@pytest.fixture(scope="module")
def odd_job(raw, batch):
    """A job on a node of its own, which has one slot: a leak would be seen at once."""
    pool_id, job_id = fresh("odd"), fresh("odd")
    create_pool(batch, pool_id, 1)
    wait_steady(batch, pool_id)
    raw("POST", "/jobs", {"id": job_id, "poolInfo": {"poolId": pool_id}})
    yield job_id
    batch.begin_delete_pool(pool_id, polling_interval=5)


@pytest.mark.parametrize("name", ODD)
def test_odd_tasks(raw, odd_job, name):
    members, expected = ODD[name]
    members = json.loads(json.dumps(members).replace("ENDPOINT", raw.endpoint))
    path = f"/jobs/{odd_job}/tasks"
    for way in ("one", "collection"):
        task_id = f"{name}-{way}"
        body = {"id": task_id, "commandLine": COMMAND} | members
        if way == "one":
            reply = raw("POST", path, body)
            is_taken = reply.status == 201
            assert is_taken or reply.status == 400, reply.body
        else:
            reply = raw("POST", f"/jobs/{odd_job}/addtaskcollection", {"value": [body]})
            is_taken = reply.json["value"][0]["status"] == "success"
        assert is_taken or expected is None
        if not is_taken:
            continue

        def ended(task_id: str = task_id) -> dict | None:
            task = raw("GET", f"{path}/{task_id}").json
            return task if task["state"] == "completed" else None

        info = until(ended, 30)["executionInfo"]
        assert info["result"] in ("success", "failure")
        if expected == RUNS:
            assert info.get("exitCode") == 0, info
        if info["result"] == "failure":
            assert info["failureInfo"]["code"]
        plain_id = f"plain-{task_id}"
        assert raw("POST", path, {"id": plain_id, "commandLine": "/bin/true"}).status == 201
        until(lambda plain_id=plain_id: ended(plain_id), 10)
