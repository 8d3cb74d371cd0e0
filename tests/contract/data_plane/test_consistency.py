"""Many clients at once, doing anything: no answer is an internal error, and the record adds up."""

from __future__ import annotations

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from .conftest import fresh, until, wait_job
from .raw_http import Raw, Reply

STEPS = 60  # of each client; more of them with more seeds found nothing else
ALLOWED = {200, 201, 202, 204, 400, 404, 409}


def counted(raw: Raw, job_id: str) -> tuple[dict[str, int], dict[str, int]]:
    """What the counts say, and what the tasks say; tasks and slots in one dictionary."""
    shown = raw("GET", f"/jobs/{job_id}/taskcounts").json
    said = {f"tasks {name}": number for name, number in shown["taskCounts"].items()}
    said |= {f"slots {name}": number for name, number in shown["taskSlotCounts"].items()}
    found: Counter[str] = Counter(dict.fromkeys(said, 0))
    target = f"/jobs/{job_id}/tasks?maxresults=1000"
    for task in raw("GET", target).json["value"]:
        names = [task["state"]]
        if task["state"] == "completed":
            succeeded = task["executionInfo"]["result"] == "success"
            names.append("succeeded" if succeeded else "failed")
        for name in names:
            found[f"tasks {name}"] += 1
            found[f"slots {name}"] += task["requiredSlots"]
    return said, dict(found)


def one_step(raw: Raw, job_id: str, rng: random.Random) -> Reply:
    """Any of the things that clients do to tasks."""
    task_id = f"t{rng.randrange(20)}"
    task = f"/jobs/{job_id}/tasks/{task_id}"
    command = rng.choice(
        [
            "/bin/true",
            "/bin/false",
            "/bin/sh -c 'sleep 0.05; exit 3'",
            "/bin/sleep 0.1",
            "/bin/sleep 30",
            "no-such-program",
        ]
    )
    body = {
        "id": task_id,
        "commandLine": command,
        "requiredSlots": rng.choice([1, 1, 1, 2]),
        "constraints": {"maxTaskRetryCount": rng.choice([0, 0, 1])},
    }
    if rng.random() < 0.3:
        body["dependsOn"] = {"taskIds": [f"t{rng.randrange(20)}"]}
    match rng.randrange(10):
        case 0 | 1 | 2:
            return raw("POST", f"/jobs/{job_id}/tasks", body)
        case 3:
            more = [body | {"id": f"t{rng.randrange(20)}"} for _ in range(8)]
            return raw("POST", f"/jobs/{job_id}/addtaskcollection", {"value": more})
        case 4:
            return raw("POST", f"{task}/terminate")
        case 5:
            return raw("DELETE", task)
        case 6:
            return raw("POST", f"{task}/reactivate")
        case 7:
            return raw("PUT", task, {"constraints": {"maxTaskRetryCount": 1}})
        case 8:
            return raw("GET", f"{task}/files/stdout.txt")
        case _:
            return raw("GET", f"/jobs/{job_id}/tasks?maxresults=3")


def job_step(raw: Raw, job_id: str, rng: random.Random) -> Reply:
    """Now and then, something that touches the whole job."""
    match rng.randrange(12):
        case 0:
            option = rng.choice(["requeue", "terminate", "wait"])
            return raw("POST", f"/jobs/{job_id}/disable", {"disableTasks": option})
        case 1 | 2 | 3:
            return raw("POST", f"/jobs/{job_id}/enable")
        case 4:
            body = {"priority": rng.randrange(10), "maxParallelTasks": rng.choice([-1, 1, 3])}
            return raw("PATCH", f"/jobs/{job_id}", body)
        case _:
            return one_step(raw, job_id, rng)


def walk(raw: Raw, job_id: str, seed: int, steps: int) -> list[tuple[int, bytes]]:
    rng = random.Random(seed)
    wrong = []
    for _ in range(steps):
        reply = job_step(raw, job_id, rng)
        if reply.status not in ALLOWED:
            wrong.append((reply.status, reply.body))
    return wrong


def quiet(raw: Raw, job_id: str) -> None:
    """End what would run long, and wait until nothing runs any more."""

    def look() -> bool:
        target = f"/jobs/{job_id}/tasks?maxresults=1000&$filter=state%20eq%20'running'"
        running = raw("GET", target).json["value"]
        for task in running:
            raw("POST", f"/jobs/{job_id}/tasks/{task['id']}/terminate")
        said, found = counted(raw, job_id)
        return not running and said == found and said["tasks running"] == 0

    until(look)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_walks_of_four_clients(raw, pool, seed):
    job_id = fresh("walked")
    body = {"id": job_id, "poolInfo": {"poolId": pool}, "usesTaskDependencies": True}
    assert raw("POST", "/jobs", body).status == 201
    with ThreadPoolExecutor(4) as threads:
        walks = [threads.submit(walk, raw, job_id, seed * 10 + n, STEPS) for n in range(4)]
        assert [one.result() for one in walks] == [[], [], [], []]
    raw("POST", f"/jobs/{job_id}/disable", {"disableTasks": "requeue"})
    until(lambda: raw("GET", f"/jobs/{job_id}").json["state"] == "disabled")
    quiet(raw, job_id)
    raw("POST", f"/jobs/{job_id}/enable")
    raw("PATCH", f"/jobs/{job_id}", {"maxParallelTasks": -1})
    # Nothing is stuck: what can still run ends, and then a new task runs at once.
    raw("POST", f"/jobs/{job_id}/tasks", {"id": "probe", "commandLine": "/bin/true"})

    def probe_done() -> bool:
        quiet(raw, job_id)
        return raw("GET", f"/jobs/{job_id}/tasks/probe").json["state"] == "completed"

    until(probe_done, 30)
    raw("POST", f"/jobs/{job_id}/terminate")
    until(lambda: raw("GET", f"/jobs/{job_id}").json["state"] == "completed")
    said, found = counted(raw, job_id)
    assert said == found
    assert raw("DELETE", f"/jobs/{job_id}").status == 202
    until(lambda: raw("GET", f"/jobs/{job_id}").status == 404)


def test_the_nodes_are_free_afterwards(raw, batch, pool):
    job_id = fresh("after")
    body = {"id": job_id, "poolInfo": {"poolId": pool}, "onAllTasksComplete": "noaction"}
    raw("POST", "/jobs", body)
    value = [{"id": f"t{n}", "commandLine": "/bin/true", "requiredSlots": 2} for n in range(20)]
    raw("POST", f"/jobs/{job_id}/addtaskcollection", {"value": value})
    raw("PATCH", f"/jobs/{job_id}", {"onAllTasksComplete": "terminatejob"})
    wait_job(batch, job_id, "completed")
    until(lambda: all(node.state == "idle" for node in batch.list_nodes(pool)))
    counts = raw("GET", f"/jobs/{job_id}/taskcounts").json["taskCounts"]
    assert counts["succeeded"] == 20


def test_one_of_many_creates_wins(raw):
    job_id = fresh("raced")
    body = {"id": job_id, "poolInfo": {"poolId": "p"}}
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda _: raw("POST", "/jobs", body), range(16)))
    assert sorted(reply.status for reply in replies) == [201, *[409] * 15]
    with ThreadPoolExecutor(8) as threads:
        target = f"/jobs/{job_id}/tasks"
        task = {"id": "t", "commandLine": "x"}
        replies = list(threads.map(lambda _: raw("POST", target, task), range(16)))
    assert sorted(reply.status for reply in replies) == [201, *[409] * 15]
    assert raw("GET", f"/jobs/{job_id}/taskcounts").json["taskCounts"]["active"] == 1


def test_one_of_many_conditional_writes_wins(raw):
    job_id = fresh("raced")
    raw("POST", "/jobs", {"id": job_id, "poolInfo": {"poolId": "p"}})
    etag = raw("GET", f"/jobs/{job_id}").headers["etag"]
    with ThreadPoolExecutor(8) as threads:

        def patch(number: int) -> Reply:
            return raw("PATCH", f"/jobs/{job_id}", {"priority": number}, {"if-match": etag})

        replies = list(threads.map(patch, range(1, 17)))
    assert sorted(reply.status for reply in replies) == [200, *[412] * 15]
    (winner,) = [n for n, reply in enumerate(replies, 1) if reply.status == 200]
    assert raw("GET", f"/jobs/{job_id}").json["priority"] == winner
