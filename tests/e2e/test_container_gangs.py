"""Multi-instance tasks in containers: real nodes, real podman."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from container_images import OPTIONS, busybox_image, containers_of, counts_use
from harness import IMAGE, Lote, gone, lote_service, sh, until
from told_times import burned_s, seconds

from lote.engines.process import read_command

WITHIN_S = 90.0  # podman takes half a second a step, and much more on a busy machine
WITHOUT_NETWORK = OPTIONS.replace("--network none ", "")  # the service chooses one
SLEEP = ["sleep", "87654"]
LEAVE = f"{' '.join(SLEEP)} & echo $! > $AZ_BATCH_TASK_SHARED_DIR/left; echo $LOTE_NODE_ADDRESS"
LOOK = (
    "ls -l /proc/self/ns/net; pwd; cat /proc/$(cat ../left)/cmdline; echo;"
    "echo $MADE_BY $AZ_BATCH_HOST_LIST $AZ_BATCH_IS_CURRENT_NODE_MASTER"
)


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with busybox_image() as name:
        words = ["podman", "run", "--rm", "--network", "host", *WITHOUT_NETWORK.split(), name]
        done = subprocess.run([*words, "true"], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"podman cannot run here in the machine's network: {done.stderr[-300:]}")
        yield name


@pytest.fixture(scope="module")
def lote(image: str) -> Iterator[Lote]:
    settings = {
        "LOTE_CONTAINER_COMMAND": "podman",
        "LOTE_CONTAINER_OPTIONS": WITHOUT_NETWORK,
    }
    containers = {"type": "dockerCompatible", "containerImageNames": [image]}
    with lote_service(environment=settings) as service:
        service.add_pool(
            nodes=2,
            slots=1,
            enableInterNodeCommunication=True,
            virtualMachineConfiguration=IMAGE | {"containerConfiguration": containers},
        )
        service.add_job()
        yield service


def gang(image: str, coordination: str, command: str) -> dict[str, object]:
    return {
        "commandLine": command,
        "containerSettings": {"imageName": image},
        "multiInstanceSettings": {
            "numberOfInstances": 2,
            "coordinationCommandLine": coordination,
        },
    }


def ended(lote: Lote, task_id: str) -> dict[str, Any]:
    def seen() -> dict[str, Any] | None:
        task = lote.task(task_id)
        return task["executionInfo"] if task["state"] == "completed" else None

    return until(seen, f"the end of {task_id}", WITHIN_S) or {}


def long(image: str) -> dict[str, object]:
    line = " ".join(SLEEP)
    return gang(image, sh(f"{line} &"), line)


def are_at_work(lote: Lote) -> bool:
    """Whether a long task is: a process of each coordination, and that of the command line."""
    return [read_command(one.pid) for one in lote.task_processes()].count(SLEEP) == 3


def wait_until_nothing_is_left(lote: Lote) -> None:
    roots = list(lote.nodes_folder.glob("*/tasks"))
    assert len(roots) >= 2
    until(
        lambda: not [one for root in roots for one in containers_of(root)],
        "the end of all containers",
        WITHIN_S,
    )
    until(lambda: not lote.task_processes(), "the end of what ran in them", WITHIN_S)


def test_both_commands_of_an_instance_run_in_one_container(lote: Lote, image: str) -> None:
    lote.add_tasks({"talk": gang(image, sh(LEAVE), sh(LOOK))})
    info = ended(lote, "talk")
    said = lote.file("stdout.txt", "talk").body.decode()
    assert info["result"] == "success", (info, said, lote.file("stderr.txt", "talk").body)
    network, working_directory, left, told = said.splitlines()
    assert network.endswith(os.readlink("/proc/self/ns/net"))
    assert working_directory.endswith("/workitems/j/job-1/talk/wd")
    assert left.split("\0")[:-1] == SLEEP
    addresses = {one["id"]: one["ipAddress"] for one in lote.nodes()}
    primary = lote.task("talk")["nodeInfo"]["nodeId"]
    (subtask,) = lote.client.each("list_subtasks", {"job_id": "j", "task_id": "talk"})
    other = subtask["nodeInfo"]["nodeId"]
    assert told == f"image {addresses[primary]},{addresses[other]} true"
    assert subtask["exitCode"] == 0
    coordinated = lote.file("coordination-stdout.txt", "talk").body.decode()
    assert coordinated == f"{addresses[primary]}\n"
    output = lote.nodes_folder / other / "tasks/workitems/j/job-1/talk/stdout.txt"
    assert output.read_text() == f"{addresses[other]}\n"
    assert info["containerInfo"]["state"] == "exited"
    wait_until_nothing_is_left(lote)
    until(lambda: "containerInfo" in subtask_of(lote, "talk"), "the end of the subtask", WITHIN_S)
    other_container = subtask_of(lote, "talk")["containerInfo"]
    assert other_container["state"] == "exited"
    assert other_container["containerId"] != info["containerInfo"]["containerId"]


def test_what_the_containers_of_a_task_used_is_told_or_left_out(lote: Lote, image: str) -> None:
    burn = sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; times")
    lote.add_tasks({"busy": gang(image, burn, burn)})
    info = ended(lote, "busy")
    assert info["result"] == "success", info
    wait_until_nothing_is_left(lote)
    until(lambda: {one["state"] for one in lote.nodes()} == {"idle"}, "idle nodes", WITHIN_S)
    directory = "tasks/workitems/j/job-1/busy"
    outputs = [*lote.nodes_folder.glob(f"*/{directory}/*out.txt")]
    assert len(outputs) == 3
    said = sum(burned_s(output) for output in outputs)
    reply = lote.ask("GET", "/jobs/j/tasks/busy?$expand=stats")
    stats = msgspec.json.decode(reply.body)["stats"]
    assert "wallClockTime" in stats
    assert not {"readIOps", "writeIOps", "readIOGiB", "writeIOGiB"} & stats.keys()
    if counts_use():
        used = [seconds(stats[name]) for name in ("userCPUTime", "kernelCPUTime")]
        assert sum(used) >= said > 0
    else:
        assert not {"userCPUTime", "kernelCPUTime"} & stats.keys()


def subtask_of(lote: Lote, task_id: str) -> dict[str, Any]:
    (found,) = lote.client.each("list_subtasks", {"job_id": "j", "task_id": task_id})
    return dict(found)


@pytest.mark.parametrize(
    ("retries", "how"), [(0, "by a signal"), (1, "from inside"), (0, "by removal")]
)
def test_the_death_of_a_container_that_waits_is_that_of_its_subtask(
    lote: Lote, image: str, retries: int, how: str
) -> None:
    name = how.replace(" ", "-")
    task = gang(image, "true", " ".join(SLEEP)) | {"constraints": {"maxTaskRetryCount": retries}}
    lote.add_tasks({name: task})
    dead: set[str] = set()
    for _ in range(retries + 1):
        (waiting,) = until(lambda: waiting_containers(lote, name) - dead, "a subtask", WITHIN_S)
        dead.add(waiting)
        end_container(waiting, how)
    info = ended(lote, name)
    assert (info["exitCode"], info["retryCount"]) == (128 + signal.SIGKILL, retries)
    assert info["failureInfo"]["code"] == "FailureExitCode"
    details = {one["name"]: one["value"] for one in info["failureInfo"]["details"]}
    subtask = subtask_of(lote, name)
    assert details["SubtaskId"] == "1"
    assert details["NodeId"] == subtask["nodeInfo"]["nodeId"]
    assert (subtask["exitCode"], subtask["result"]) == (128 + signal.SIGKILL, "failure")
    assert subtask["containerInfo"]["containerId"].startswith(waiting)
    assert subtask["containerInfo"]["state"] == "exited"
    wait_until_nothing_is_left(lote)


def end_container(container_id: str, how: str) -> None:
    """End a container, by a signal, by taking from it what it waits for (then its exit code is 0),
    or by removing it."""
    words = {
        "by a signal": ["kill", container_id],
        "from inside": ["exec", container_id, "/bin/sh", "-c", "kill -9 -1"],
        "by removal": ["rm", "--force", container_id],
    }
    subprocess.run(["podman", *words[how]], capture_output=True, check=False)


def waiting_containers(lote: Lote, task_id: str) -> set[str]:
    """The container of the subtask, once the primary's command is at work."""
    if [read_command(one.pid) for one in lote.task_processes()].count(SLEEP) != 1:
        return set()
    node_id = subtask_of(lote, task_id)["nodeInfo"]["nodeId"]
    return set(containers_of(lote.nodes_folder / node_id / "tasks"))


def test_a_terminated_task_leaves_no_container_on_any_node(lote: Lote, image: str) -> None:
    lote.add_tasks({"long": long(image)})
    until(lambda: are_at_work(lote), "all at work", WITHIN_S)
    lote.call("terminate_task", job_id="j", task_id="long")
    wait_until_nothing_is_left(lote)
    until(lambda: {one["state"] for one in lote.nodes()} == {"idle"}, "idle nodes", WITHIN_S)


def test_the_death_of_an_agent_ends_all_containers_and_begins_new_ones(
    lote: Lote, image: str
) -> None:
    lote.add_tasks({"hurt": long(image)})
    until(lambda: are_at_work(lote), "all at work", WITHIN_S)
    first = lote.task_processes()
    primary = lote.task("hurt")["nodeInfo"]["nodeId"]
    (other,) = [pid for node_id, pid in lote.agents().items() if node_id != primary]
    os.kill(other, signal.SIGKILL)
    until(lambda: gone(first), "the end of the first run", WITHIN_S)
    until(lambda: are_at_work(lote), "another run", WITHIN_S)
    lote.call("terminate_task", job_id="j", task_id="hurt")
    wait_until_nothing_is_left(lote)


def test_why_an_instance_failed_is_told(lote: Lote, image: str) -> None:
    only_primary = sh("test $AZ_BATCH_IS_CURRENT_NODE_MASTER = true || exit 127")
    lote.add_tasks({"failing": gang(image, only_primary, "true")})
    info = ended(lote, "failing")
    assert (info["exitCode"], info["failureInfo"]["code"]) == (127, "FailureExitCode")
    details = {one["name"]: one["value"] for one in info["failureInfo"]["details"]}
    assert details["SubtaskId"] == "1"
    assert "containerInfo" not in info
    lote.add_tasks({"unfound": gang(image, sh(LEAVE), "no-such-program")})
    info = ended(lote, "unfound")
    assert info["failureInfo"]["code"] == "CommandProgramNotFound"
    assert "exitCode" not in info
    assert info["containerInfo"]["state"] == "exited"
    wait_until_nothing_is_left(lote)
