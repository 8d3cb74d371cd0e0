"""Instances of multi-instance tasks on one real node, and the pause before a late retry, which they
share with other tasks. The other nodes are as the server says."""

from __future__ import annotations

import json
import os
import shlex
import signal

from channel import Agent, Channel
from told_times import burned_s

from lote.agent.runs import RETRIES_AT_ONCE, RETRY_PAUSE_S
from lote.agent.tree import read_process
from lote.wire import frames
from lote.world import World

NAME = (1, 1)
WITHIN_S = 60.0  # for some work of a process on a busy machine


LEAVE = (  # a process behind that ends with the coordination command, having worked more
    "(until test -e go; do sleep 0.05; done;"
    " i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; times > burned) &"
    "echo $$ $! > pids.new; mv pids.new pids; until test -e go; do sleep 0.05; done"
)


async def begin(
    channel: Channel, *after: frames.ServerFrame, retries: int = 0, coordination: str = "true"
) -> None:
    settings = {"numberOfInstances": 2, "coordinationCommandLine": coordination}
    task = {"id": "task-1", "commandLine": "true", "multiInstanceSettings": settings}
    run = frames.Run(*NAME, 7, retries, json.dumps(task).encode())
    job = frames.JobFacts(7, "job", "workitems/job/job-1", [], -1)
    instance = frames.Instance(run, 0, [("127.0.0.1", 1), ("127.0.0.2", 1)])
    await channel.send(job, instance, *after)


def test_one_that_failed_often_is_begun_after_a_pause(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        clock = World().monotonic
        asked_s = clock()
        await begin(channel, retries=RETRIES_AT_ONCE + 1)
        await channel.until(lambda: bool(channel.of(frames.Coordinated)))
        (started,) = channel.of(frames.Started)
        assert clock() - started.age_us / 1e6 - asked_s >= RETRY_PAUSE_S
        await channel.send(frames.Proceed([NAME]))
        (ended,) = await channel.ended(NAME)
        assert (ended.exit_code, ended.failure) == (0, None)

    node.drive(scenario)


def test_what_was_left_running_is_counted_if_it_ends_before_anybody_saw_the_coordination_end(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await begin(channel, coordination=f"/bin/sh -c {shlex.quote(LEAVE)}")
        pids = agent.task(1, "wd/pids")
        await channel.until(pids.exists)
        first, left = (int(pid) for pid in pids.read_text().split())
        process = read_process(first)
        assert process is not None
        os.kill(process.parent, signal.SIGSTOP)  # the spawner
        try:
            await channel.until(lambda: state_of(process.parent) == "T")
            agent.task(1, "wd/go").touch()
            await channel.until(lambda: state_of(first) == state_of(left) == "Z", WITHIN_S)
        finally:
            os.kill(process.parent, signal.SIGCONT)
        await channel.until(lambda: bool(channel.of(frames.Coordinated)))
        await channel.send(frames.Proceed([NAME]))
        (ended,) = await channel.ended(NAME)
        assert ended.user_cpu_us is not None
        assert ended.kernel_cpu_us is not None
        burned = burned_s(agent.task(1, "wd/burned"))
        assert (ended.user_cpu_us + ended.kernel_cpu_us) / 1e6 >= burned > 0

    node.drive(scenario)


def state_of(pid: int) -> str | None:
    process = read_process(pid)
    return None if process is None else process.state


def test_a_task_that_failed_often_is_tried_again_after_a_pause(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        clock = World().monotonic
        asked_s = clock()
        names = await channel.run({"commandLine": "/bin/false"}, retries=RETRIES_AT_ONCE)
        (ended,) = await channel.ended(*names)
        assert ended.retries == RETRIES_AT_ONCE + 1
        assert clock() - ended.end_age_us / 1e6 - asked_s >= RETRY_PAUSE_S

    node.drive(scenario, retries_max=RETRIES_AT_ONCE + 1)


def test_one_that_is_not_wanted_any_more_never_begins(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await begin(channel, frames.Kill([NAME]), retries=RETRIES_AT_ONCE + 1)
        (ended,) = await channel.ended(NAME)
        assert ended.failure is not None
        assert (ended.exit_code, ended.failure.code) == (None, "TaskEnded")
        assert not agent.task(1).exists()

    node.drive(scenario)
