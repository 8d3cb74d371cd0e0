"""Tasks in containers, by a real agent and podman."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from channel import Agent, Channel
from container_images import OPTIONS, busybox_image, containers_of, counts_use
from told_times import burned_s

from lote.agent.container_groups import MOUNT, Groups
from lote.wire import frames

WITHIN_S = 90.0  # podman takes half a second a step, and much more on a busy machine
POOL = frames.ContainerPool([], [])
SETTINGS = {"task_uid_base": 64000, "container_command": "podman", "container_options": OPTIONS}
IS_ROOT = os.geteuid() == 0
ADMIN = {"autoUser": {"scope": "pool", "elevationLevel": "admin"}}


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with busybox_image() as name:
        yield name


def inside(image: str, command: str, **settings: object) -> dict[str, Any]:
    line = f"/bin/sh -c '{command}'" if command else ""
    return {"commandLine": line, "containerSettings": {"imageName": image, **settings}}


async def ready(channel: Channel) -> None:
    await channel.until(lambda: bool(channel.of(frames.ContainersReady)), WITHIN_S)


def said(agent: Agent, number: int) -> list[str]:
    return agent.task(number, "stdout.txt").read_text().splitlines()


def has_ended(pid: int) -> bool:
    """Whether a process is over, within the time that anything may take."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], WITHIN_S)[0])
    finally:
        os.close(descriptor)


def test_tasks_run_in_containers(node, image):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await ready(channel)
        root = agent.root
        first = inside(image, 'id -u; id -g; pwd; echo "$MINE"; echo $MADE_BY; touch made; exit 3')
        first["environmentSettings"] = [{"name": "MINE", "value": "two\nlines = #1"}]
        mounts = [{"source": "Task"}, {"source": "Shared", "isReadOnly": True}]
        script = f"id -u; ls {root}; touch {root}/shared/x || echo read-only"
        names = await channel.run(
            first,
            inside(image, ""),
            inside(image, "pwd; echo $HOME", workingDirectory="containerImageDefault"),
            inside(image, script, containerHostBatchBindMounts=mounts) | {"userIdentity": ADMIN},
            inside(image, f"test -e {root} || pwd", containerHostBatchBindMounts=[]),
            inside(image, "pwd", containerRunOptions="--rm --workdir /bin"),
            inside(image, "", containerRunOptions="--entrypoint /bin/echo")
            | {"commandLine": "what 'the entry point' gets"},
            {"commandLine": "/bin/true"},
        )
        ended = await channel.ended(*names, within_s=WITHIN_S)
        assert [one.exit_code for one in ended] == [3, 0, 0, 0, 0, 0, 0, None]
        uid = "64000" if IS_ROOT else "0"
        wd = str(agent.task(1, "wd"))
        assert said(agent, 1) == [uid, uid, wd, "two", "lines = #1", "image"]
        made = agent.task(1, "wd/made").stat()
        assert made.st_uid == agent.task(1, "stdout.txt").stat().st_uid
        assert made.st_uid == (64000 if IS_ROOT else os.geteuid())
        assert said(agent, 2) == ["said by the image"]
        assert said(agent, 3) == ["/tmp", str(agent.task(3, "wd"))]
        assert said(agent, 4)[:3] == ["0", "shared", "workitems"]
        assert said(agent, 4)[3:] == ["read-only"]
        assert said(agent, 5) == ["/tmp"]
        assert said(agent, 6) == ["/bin"]
        assert said(agent, 7) == ["what the entry point gets"]
        for one in ended[:-1]:
            assert one.container is not None
            assert (one.container.state, one.container.error) == ("exited", "")
            assert len(one.container.container_id) == 64
        assert ended[-1].failure is not None  # a pool with containers runs nothing else
        assert ended[-1].failure.code == "TaskSchedulingConstraintFailed"
        assert containers_of(root) == []

    node.drive(scenario, SETTINGS, containers=POOL, slots=8)


def test_what_cannot_run_says_why(node, image):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await ready(channel)
        names = await channel.run(
            {"commandLine": "no-such-program", "containerSettings": {"imageName": image}},
            inside(image, "true", containerRunOptions="--no-such-option"),
            inside("Not/A/Valid/Name", "true"),
            inside(image, 'test "$AGAIN" || exit 1') | {"constraints": {"maxTaskRetryCount": 1}},
        )
        ended = await channel.ended(*names, within_s=WITHIN_S)
        failures = [one.failure for one in ended]
        assert [one and one.code for one in failures] == [
            "CommandProgramNotFound",
            "ContainerInvalidSettings",
            "ContainerInvalidImage",
            "FailureExitCode",
        ]
        assert [one.exit_code for one in ended] == [None, None, None, 1]
        assert failures[0] is not None
        assert "no-such-program" in dict(failures[0].details)["Message"]
        assert ended[0].container is not None
        assert failures[1] is not None
        assert "no-such-option" in dict(failures[1].details)["Message"]
        assert ended[3].retries == 1
        assert containers_of(agent.root) == []

    node.drive(scenario, SETTINGS, containers=POOL, slots=4)


def used_s(ended: frames.Ended) -> float:
    assert ended.user_cpu_us is not None
    assert ended.kernel_cpu_us is not None
    return (ended.user_cpu_us + ended.kernel_cpu_us) / 1e6


def test_what_containers_used_of_the_processor_is_counted(node, image):
    burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; times"
    top = Groups(str(node.node_dir.resolve() / "tasks")).name(0, 0, 0).split("/")[1]

    def groups() -> list[Path]:
        places = (f"{top}/*/", f"*/{top}/*/")
        return [found for place in places for found in Path(MOUNT).glob(place)]

    async def scenario(channel: Channel, agent: Agent) -> None:
        await ready(channel)
        names = await channel.run(
            inside(image, f"{burn}; exit 1") | {"constraints": {"maxTaskRetryCount": 1}},
            inside(image, f"({burn}) >&2 & sleep 1000 & {burn}; wait %1"),
            inside(image, "true", containerRunOptions="--cgroups no-conmon"),
            inside(image, "touch begun; sleep 1000"),
        )
        await channel.until(lambda: agent.task(4, "wd/begun").exists(), WITHIN_S)
        await channel.send(frames.Kill([names[3]]))
        twice, both, uncounted, killed = await channel.ended(*names, within_s=WITHIN_S)
        if counts_use():
            shells = [agent.task(1, f"stdout.{one}txt") for one in ("0.", "")]
            assert used_s(twice) >= sum(map(burned_s, shells)) > 0
            shells = [agent.task(2, name) for name in ("stdout.txt", "stderr.txt")]
            assert used_s(both) >= sum(map(burned_s, shells)) > 0
            assert used_s(killed) > 0
        else:
            assert {one.user_cpu_us for one in (twice, both, killed)} == {None}
        assert (uncounted.user_cpu_us, uncounted.kernel_cpu_us) == (None, None)
        for one in (twice, both, uncounted, killed):
            assert (one.read_blocks, one.write_blocks) == (None, None)
        assert groups() == []

    node.drive(scenario, SETTINGS, containers=POOL, slots=4)
    assert not [*Path(MOUNT).glob(top), *Path(MOUNT).glob(f"*/{top}")]


def test_killed_tasks_leave_no_container(node, image):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await ready(channel)
        forever = inside(image, "touch begun; sleep 1000 & sleep 1000")
        limited = forever | {"constraints": {"maxWallClockTime": "PT3S"}}
        names = await channel.run(forever, limited)
        await channel.until(lambda: agent.task(1, "wd/begun").exists(), WITHIN_S)
        await channel.send(frames.Kill([names[0]]))
        ended = await channel.ended(*names, within_s=WITHIN_S)
        assert [one.failure and one.failure.code for one in ended] == ["TaskEnded"] * 2
        assert ended[0].exit_code == 128 + signal.SIGKILL
        assert containers_of(agent.root) == []

    node.drive(scenario, SETTINGS, containers=POOL)


def test_a_container_that_somebody_removes_was_killed(node, image):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await ready(channel)
        names = await channel.run(inside(image, "touch begun; sleep 1000"))
        await channel.until(lambda: agent.task(1, "wd/begun").exists(), WITHIN_S)
        words = ["podman", "rm", "--force", *containers_of(agent.root)]
        await asyncio.to_thread(subprocess.run, words, check=True, capture_output=True)
        (ended,) = await channel.ended(*names, within_s=WITHIN_S)
        assert ended.exit_code == 128 + signal.SIGKILL
        assert ended.failure is not None
        assert ended.failure.code == "FailureExitCode"
        assert ended.container is not None
        assert ended.container.state == "exited"

    node.drive(scenario, SETTINGS, containers=POOL)


def test_containers_go_with_their_agent(node, image):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await ready(channel)
        forever = inside(image, "touch begun; sleep 1000")
        await channel.run(forever)
        await channel.until(lambda: agent.task(1, "wd/begun").exists(), WITHIN_S)
        agent.process.kill()
        agent.process.wait()
        await channel.until(lambda: containers_of(agent.root) == [], WITHIN_S)

    node.drive(scenario, SETTINGS, containers=POOL)


def test_containers_of_an_earlier_life_are_removed_first(node, image):
    root = node.node_dir.resolve() / "tasks"
    words = ["podman", "create", "--label", f"lote.node={root}", image]
    subprocess.run(words, check=True, capture_output=True)
    assert len(containers_of(root)) == 1

    async def scenario(channel: Channel, agent: Agent) -> None:
        await ready(channel)
        assert containers_of(root) == []
        task = inside(image, "true", containerRunOptions="--rm=false")
        (ended,) = await channel.ended(*await channel.run(task), within_s=WITHIN_S)
        assert ended.container is not None
        (kept,) = containers_of(root)  # with the image it goes
        assert ended.container.container_id.startswith(kept)

    node.drive(scenario, SETTINGS, containers=POOL)


def test_an_agent_that_goes_takes_the_pulls_of_its_images_along(node, tmp_path):
    asked = tmp_path / "asked"
    script = tmp_path / "slow"
    script.write_text(
        "#!/bin/sh\n"
        'case "$*" in *inspect*) exit 1 ;; '
        f"pull*) echo $$ >{asked}.new; mv {asked}.new {asked}; exec sleep 600 ;; esac\n"
    )
    script.chmod(0o755)

    async def scenario(channel: Channel, agent: Agent) -> None:
        await channel.until(asked.exists, WITHIN_S)

    settings = {"container_command": str(script)}
    node.drive(scenario, settings, containers=frames.ContainerPool(["image"], []))
    assert has_ended(int(asked.read_text()))


def test_a_start_task_runs_in_a_container_after_the_images_came(node, image):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await ready(channel)

        def completed() -> list[frames.StartTaskReport]:
            return [one for one in channel.of(frames.StartTaskReport) if one.state == "completed"]

        await channel.until(lambda: bool(completed()), WITHIN_S)
        (report,) = completed()
        assert (report.exit_code, report.failure) == (0, None)
        assert report.container is not None
        text = (agent.root / "startup/stdout.txt").read_text()
        assert text.split() == ["image", f"{agent.root}/startup/wd"]

    start = json.dumps(inside(image, "echo $MADE_BY; pwd")).encode()
    pool = frames.ContainerPool([image], [])
    node.drive(scenario, SETTINGS, containers=pool, start_task=start)


def test_an_image_that_cannot_be_had_is_a_trouble_of_the_node(node, image):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await channel.until(lambda: bool(channel.of(frames.NodeTrouble)), WITHIN_S)
        ((error,),) = [one.errors for one in channel.of(frames.NodeTrouble)]
        assert error.code == "ContainerInvalidImage"
        assert dict(error.details)["ImageName"] == "Not/A/Valid/Name"
        assert "Message" in dict(error.details)
        assert not channel.of(frames.ContainersReady)
        assert not channel.of(frames.StartTaskReport)

    pool = frames.ContainerPool([image, "Not/A/Valid/Name"], [])
    start = json.dumps({"commandLine": "/bin/true"}).encode()
    node.drive(scenario, SETTINGS, containers=pool, start_task=start)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-podman --flag", "no-such-podman is not on this machine. Install podman"),
        ("podman --flag 'unclosed", "The settings of the container command: No closing quotation"),
    ],
)
def test_a_node_without_a_container_command_says_what_is_missing(node, command, said):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await channel.until(lambda: bool(channel.of(frames.NodeTrouble)))
        ((error,),) = [one.errors for one in channel.of(frames.NodeTrouble)]
        assert error.code == "ContainerRuntimeUnavailable"
        assert dict(error.details)["Message"].startswith(said)

    node.drive(scenario, {"container_command": command}, containers=POOL)


def test_a_pool_without_containers_runs_no_task_that_asks_for_one(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        (ended,) = await channel.ended(*await channel.run(inside("any", "true")))
        assert ended.failure is not None
        assert ended.failure.code == "TaskSchedulingConstraintFailed"
        assert ended.exit_code is None

    node.drive(scenario)
