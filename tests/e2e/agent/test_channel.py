"""The channel: who calls, reports that arrive once, broken connections, runs nobody wants."""

from __future__ import annotations

import shlex
from collections import Counter

import pytest
from channel import Agent, Channel

from conftest import survivors
from lote.agent.tree import children_of
from lote.wire import frames


def sh(script: str) -> dict[str, str]:
    return {"commandLine": f"/bin/sh -c {shlex.quote(script)}"}


def test_hello_says_who_calls(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        [hello] = channel.hellos
        assert channel.authorizations == ["Lote node-1 s3cr3t-word"]
        assert (hello.protocol, hello.node_id, hello.held) == (frames.PROTOCOL, "node-1", [])
        assert hello.cores >= 1
        assert hello.memory_bytes > 1 << 20
        assert hello.ip_address.count(".") == 3
        assert "Linux" in hello.operating_system

    node.drive(scenario)


def test_spawners_without_a_slot_are_sent_home(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        [ended] = await channel.ended(*await channel.run(sh("true")))
        assert ended.exit_code == 0
        await channel.until(lambda: len(children_of(agent.process.pid)) == 1)

    node.drive(scenario, slots=1)


def test_tasks_work_on_while_the_channel_is_broken(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        release = agent.root / "shared" / "go"
        long = sh(f"while ! test -e {release}; do sleep 0.01; done; exit 6")
        names = await channel.run(long, sh("exit 5"), sh("exit 4"))
        await channel.ended(*names[1:])
        channel.front.cut()
        await channel.until(lambda: len(channel.hellos) == 2)
        held = {(one.key, one.run): one.phase for one in channel.hellos[1].held}
        assert held == {names[0]: 1}
        release.touch()
        [ended] = await channel.ended(names[0])
        assert ended.exit_code == 6
        counted = Counter((one.key, one.run) for one in channel.of(frames.Ended))
        assert set(counted.values()) == {1}

    node.drive(scenario)


def test_unacknowledged_ends_are_told_again(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        channel.acknowledges = False
        names = await channel.run(*[sh(f"exit {code}") for code in range(1, 9)])
        await channel.until(lambda: bool(channel.reports))
        channel.front.cut()
        await channel.until(lambda: len(channel.hellos) >= 2)
        channel.acknowledges = True
        channel.front.cut()
        ends = await channel.ended(*names)
        assert [one.exit_code for one in ends] == list(range(1, 9))
        assert (
            Counter((one.key, one.run) for one in channel.of(frames.Ended)).most_common(1)[0][1]
            == 1
        )
        sequence = [report.seq for report in channel.reports]
        assert sequence == sorted(set(sequence))

    node.drive(scenario)


def test_a_restarted_agent_reports_what_the_server_never_heard(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        channel.acknowledges = False
        names = await channel.run(sh("exit 3"))
        await channel.until(lambda: bool(channel.reports))
        agent.process.terminate()
        assert await agent.exit() == 0
        channel.acknowledges = True
        agent.start()
        [ended] = await channel.ended(*names)
        assert ended.exit_code == 3
        assert ended.end_age_us > 30_000  # it ended in another life; a start takes longer
        assert [(one.key, one.run, one.phase) for one in channel.hellos[1].held] == [(*names[0], 2)]

    node.drive(scenario)


def test_held_runs_that_are_not_confirmed_are_dropped(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(sh("sleep 1000"), sh("sleep 1000"), sh("true"))
        await channel.started(*names[:2])
        channel.confirms_held = lambda held: held.key == names[1][0]
        channel.front.cut()
        await channel.until(lambda: len(channel.hellos) == 2)
        assert sorted(one.phase for one in channel.hellos[1].held) == [0, 1, 1]
        await channel.until(lambda: len(survivors(agent.root)) <= 2)
        await channel.send(frames.Kill([names[1]]))
        await channel.ended(names[1])
        assert [(one.key, one.run) for one in channel.of(frames.Ended)] == [names[1]]

    node.drive(scenario)


def test_a_refused_start_ends_the_stale_run(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        channel.refused = {(1, 1)}
        names = await channel.run(sh("sleep 1000"))
        await channel.started(*names)
        await channel.until(lambda: survivors(agent.root) == [])
        later = await channel.run(sh("true"))
        await channel.ended(*later)
        assert [(one.key, one.run) for one in channel.of(frames.Ended)] == later

    node.drive(scenario, slots=1)


def test_a_run_is_not_taken_twice(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        job = frames.JobFacts(7, "job", "workitems/job/job-1", [], 0)
        spec = b'{"id": "task-1", "commandLine": "/bin/sh -c \\"echo x >> ../count; sleep 0.1\\""}'
        twice = frames.Runs([frames.Run(1, 1, 7, 0, spec)])
        await channel.send(job, twice, twice)
        await channel.ended((1, 1))
        assert agent.task(1, "count").read_text() == "x\n"

    node.drive(scenario)


@pytest.mark.parametrize("status", [401, 403, 410])
def test_a_node_that_is_gone_leaves(node, status):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await channel.started(*await channel.run(sh("sleep 1000")))
        channel.refuse_status = status
        channel.front.cut()
        assert await agent.exit() == 0
        assert not agent.node_dir.exists()
        assert survivors(agent.root) == []

    node.drive(scenario)


def test_a_busy_server_is_dialled_again(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        channel.refuse_status = 503
        channel.front.cut()
        await channel.until(lambda: len(channel.authorizations) >= 4)
        assert agent.process.poll() is None
        channel.refuse_status = None
        await channel.until(lambda: len(channel.hellos) == 2)

    node.drive(scenario)


def test_a_frame_nobody_understands_breaks_only_the_channel(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(sh("sleep 1000"))
        await channel.started(*names)
        assert channel.connection is not None
        await channel.connection.send(b"\x91\x92\xa5what?\x01")
        await channel.until(lambda: len(channel.hellos) == 2)
        assert [(one.key, one.phase) for one in channel.hellos[1].held] == [(names[0][0], 1)]
        await channel.send(frames.Runs([frames.Run(50, 1, 99, 0, b"{}")]))  # no such job
        await channel.until(lambda: len(channel.hellos) == 3)
        await channel.send(frames.Kill(names))
        await channel.ended(*names)

    node.drive(scenario)


START_TASK = (
    b'{"commandLine": "/bin/sh -c \\"echo $AZ_BATCH_TASK_DIR:$AZ_BATCH_TASK_ID; %s\\"", %s}'
)


def test_start_task(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await channel.until(lambda: len(channel.of(frames.StartTaskReport)) == 2)
        running, completed = channel.of(frames.StartTaskReport)
        assert (running.state, running.end_age_us) == ("running", None)
        assert (completed.state, completed.exit_code, completed.failure) == ("completed", 0, None)
        assert completed.start_age_us >= completed.end_age_us
        startup = agent.root / "startup"
        assert (startup / "stdout.txt").read_text() == f"{startup}:\n"
        assert (startup / "wd" / "made").exists()
        channel.start_task_due = False
        channel.front.cut()
        await channel.until(lambda: len(channel.hellos) == 2)
        await channel.ended(*await channel.run(sh("true")))
        assert len(channel.of(frames.StartTaskReport)) == 2

    node.drive(scenario, start_task=START_TASK % (b"touch made", b'"maxTaskRetryCount": 0'))


def test_start_task_retries_and_fails(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        def last() -> frames.StartTaskReport:
            return channel.of(frames.StartTaskReport)[-1]

        await channel.until(
            lambda: bool(channel.of(frames.StartTaskReport)) and last().state == "completed"
        )
        assert (last().exit_code, last().retries) == (9, 2)
        assert last().last_retry_age_us is not None
        failure = last().failure
        assert failure is not None
        assert failure.code == "FailureExitCode"
        [ended] = await channel.ended(*await channel.run(sh("true")))  # the server's decision
        assert ended.exit_code == 0

    node.drive(scenario, start_task=START_TASK % (b"exit 9", b'"maxTaskRetryCount": 2'))


def test_a_start_task_and_tasks_that_see_certificates(node):
    look = "test -d $AZ_BATCH_CERTIFICATES_DIR && echo $AZ_BATCH_CERTIFICATES_DIR; false"

    async def scenario(channel: Channel, agent: Agent) -> None:
        await channel.until(lambda: len(channel.of(frames.StartTaskReport)) >= 3)
        startup = agent.root / "startup"
        assert f"{startup}/certs\n" in (startup / "stdout.txt").read_text()
        channel.certificates = ["task"]  # a pool that was changed: for nodes that boot
        channel.front.cut()
        await channel.until(lambda: len(channel.hellos) == 2)
        named = {"name": "AZ_BATCH_CERTIFICATES_DIR", "value": f"{agent.root}/shared/mine"}
        own = sh("test ! -e $AZ_BATCH_CERTIFICATES_DIR") | {"environmentSettings": [named]}
        [ended] = await channel.ended(*await channel.run(own))
        assert ended.exit_code == 0, "what a client names so is a variable and no more"

    start = START_TASK % (look.encode(), b'"maxTaskRetryCount": 1')
    node.drive(scenario, start_task=start, certificates=["starttask"])


def test_a_start_task_that_waits_to_be_retried(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        def reports() -> list[frames.StartTaskReport]:
            return channel.of(frames.StartTaskReport)

        await channel.until(lambda: any(one.state == "completed" for one in reports()))
        # The first retries come at once; the last one is waited for.
        (paused,) = [one for one in reports() if one.state == "running" and one.end_age_us]
        assert paused.start_age_us >= paused.end_age_us
        assert (paused.exit_code, paused.failure, paused.retries) == (None, None, 10)
        began, completed = reports()[-2:]
        assert (began.state, began.end_age_us, began.retries) == ("running", None, 11)
        assert began.last_retry_age_us == began.start_age_us
        assert (completed.exit_code, completed.retries) == (9, 11)

    node.drive(scenario, start_task=START_TASK % (b"exit 9", b'"maxTaskRetryCount": 11'))
