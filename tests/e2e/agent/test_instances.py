"""Instances of multi-instance tasks on one real node, and the pause before a late retry, which they
share with other tasks. The other nodes are as the server says."""

from __future__ import annotations

import json

from channel import Agent, Channel

from lote.agent.runs import RETRIES_AT_ONCE, RETRY_PAUSE_S
from lote.wire import frames
from lote.world import World

NAME = (1, 1)


async def begin(channel: Channel, *after: frames.ServerFrame, retries: int) -> None:
    settings = {"numberOfInstances": 2, "coordinationCommandLine": "true"}
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
