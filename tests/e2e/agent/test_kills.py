"""Ending tasks: whole process trees, revoked runs, and what is left when an agent dies."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys

from channel import Agent, Channel

from conftest import survivors
from lote.agent.tree import children_of
from lote.wire import frames


def sh(script: str) -> dict[str, str]:
    return {"commandLine": f"/bin/sh -c {shlex.quote(script)}"}


DAEMON = """
import os, sys, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
REST = "import signal, time; signal.signal(15, 1); print(1, flush=True); time.sleep(1000)"
if "clean" in sys.argv: os.execve(sys.executable, [sys.executable, "-c", REST], {})
print(1, flush=True)
time.sleep(1000)
"""


def daemon(*words: str, then: str) -> dict[str, str]:
    script = f"{sys.executable} -c {shlex.quote(DAEMON)} {' '.join(words)}; "
    # Not before the grandchild is there.
    return sh(f"{script} while ! test -s ../stdout.txt; do :; done; {then}")


def processes(agent: Agent) -> list[int]:
    """Everything below the agent's spawners."""
    found = children_of(agent.process.pid)
    spawners = len(found)
    for pid in found:
        found.extend(children_of(pid))
    return found[spawners:]


def test_kill_ends_the_tree_and_reports(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(sh("trap '' TERM; sleep 1000 & sleep 1000 & wait"))
        await channel.started(*names)
        await channel.send(frames.Kill(names))
        [ended] = await channel.ended(*names)
        assert ended.exit_code == -9
        assert ended.failure is not None
        assert (ended.failure.category, ended.failure.code) == ("usererror", "TaskEnded")
        assert processes(agent) == []

    node.drive(scenario)


def test_daemons_end_with_their_task(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        long = await channel.run(sh("sleep 1000"))
        await channel.started(*long)
        names = await channel.run(daemon(then="exit 4"), daemon(then="exit 5"))
        ends = await channel.ended(*names)
        assert [one.exit_code for one in ends] == [4, 5]
        await channel.until(lambda: len(processes(agent)) <= 2)  # sh and its sleep
        assert len(survivors(agent.root)) <= 2

    node.drive(scenario, slots=4)


def test_a_daemon_without_any_mark_ends_when_it_can_be_nobody_elses(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        long = await channel.run(sh("sleep 1000"))
        await channel.started(*long)
        names = await channel.run(daemon("clean", then="exit 4"))
        await channel.ended(*names)
        await channel.send(frames.Kill(long))
        await channel.ended(*long)
        await channel.until(lambda: processes(agent) == [])

    node.drive(scenario, slots=4)


def test_a_killed_daemon_is_gone_before_the_end_is_told(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(daemon("clean", then="sleep 1000"))
        await channel.until(lambda: agent.task(1, "stdout.txt").exists())
        await channel.until(lambda: agent.task(1, "stdout.txt").read_text() != "")
        await channel.send(frames.Kill(names))
        await channel.ended(*names)
        assert processes(agent) == []

    node.drive(scenario, slots=1)


def test_a_fork_bomb_is_defused(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        bomb = "(setsid sh -c 'sleep 1000 & sleep 1000') &"
        script = f"i=0; while [ $i -lt 60 ]; do {bomb} i=$((i+1)); done; wait"
        names = await channel.run(sh(script))
        await channel.until(lambda: len(processes(agent)) > 60)
        await channel.send(frames.Kill(names))
        await channel.ended(*names)
        assert processes(agent) == []

    node.drive(scenario)


def test_kill_of_a_waiting_run(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(sh("sleep 1000"), sh("true"), sh("true"))
        await channel.started(names[0])
        await channel.send(frames.Kill([names[1]]))
        [ended] = await channel.ended(names[1])
        assert ended.exit_code is None
        assert ended.failure is not None
        assert ended.failure.code == "TaskEnded"
        await channel.send(frames.Kill([names[0]]))
        first, third = await channel.ended(names[0], names[2])
        assert first.exit_code == -9
        assert third.exit_code == 0
        assert not agent.task(2).exists()

    node.drive(scenario, slots=1)


def test_revoke_gives_back_only_what_has_not_begun(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        wide = {**sh("true"), "requiredSlots": 2}
        names = await channel.run(sh("sleep 1000"), sh("true"), sh("true"), wide, sh("true"))
        await channel.started(names[0])
        await channel.send(frames.Revoke([names[0], names[2], names[3], (99, 1)]))
        await channel.until(lambda: len(channel.of(frames.Returned)) == 2)
        returned = {(one.key, one.run) for one in channel.of(frames.Returned)}
        assert returned == {names[2], names[3]}
        await channel.send(frames.Kill([names[0]]))
        await channel.ended(names[0], names[1], names[4])
        assert not agent.task(3).exists()
        assert len(channel.of(frames.Ended)) == 3

    node.drive(scenario, slots=1)


def test_a_killed_agent_leaves_nothing(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(sh("sleep 1000 & sleep 1000"), daemon(then="sleep 1000"))
        await channel.started(*names)
        await channel.until(lambda: agent.task(2, "stdout.txt").read_text() != "")
        agent.process.kill()
        await agent.exit()
        await channel.until(lambda: survivors(agent.root) == [])

    node.drive(scenario)


def test_sigterm_ends_the_agent_and_its_tasks(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await channel.started(*await channel.run(sh("trap '' TERM; sleep 1000 & sleep 1000")))
        agent.process.terminate()
        assert await agent.exit() == 0
        assert survivors(agent.root) == []
        assert agent.node_dir.exists()

    node.drive(scenario)


def test_a_lost_spawner_begins_the_agent_anew(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(sh("sleep 1000"), sh("sleep 1000"))
        await channel.started(*names)
        spawners = children_of(agent.process.pid)
        os.kill(spawners[0], signal.SIGKILL)
        await channel.until(lambda: len(channel.hellos) == 2)
        assert channel.hellos[1].boot != channel.hellos[0].boot
        assert channel.hellos[1].held == []
        assert survivors(agent.root) == []
        assert agent.process.poll() is None
        [ended] = await channel.ended(*await channel.run(sh("true")))
        assert ended.exit_code == 0

    node.drive(scenario)


def test_a_restarted_agent_sweeps_first(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await channel.started(*await channel.run(sh("sleep 1000 & sleep 1000")))
        agent.process.send_signal(signal.SIGSTOP)  # nobody shall live on to clean up
        for pid in [*children_of(agent.process.pid), agent.process.pid]:
            os.kill(pid, signal.SIGKILL)
        await agent.exit()
        assert survivors(agent.root) != []
        agent.start()
        await channel.until(lambda: len(channel.hellos) == 2)
        assert survivors(agent.root) == []

    node.drive(scenario)


def test_one_directory_has_one_agent(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        second = Agent(channel, agent.node_dir)
        assert await second.exit() == 3
        [ended] = await channel.ended(*await channel.run(sh("true")))
        assert ended.exit_code == 0

    node.drive(scenario)


def test_leave_removes_everything(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await channel.started(*await channel.run(sh("sleep 1000")))
        await channel.send(frames.Leave("resize"))
        assert await agent.exit() == 0
        assert not agent.node_dir.exists()
        assert survivors(agent.root) == []

    node.drive(scenario)


def test_an_agent_whose_directory_vanished_ends(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        await channel.started(*await channel.run(sh("sleep 1000")))
        await asyncio.to_thread(os.rename, agent.node_dir, f"{agent.node_dir}-gone")
        assert await agent.exit() == 0
        assert survivors(agent.root) == []

    node.drive(scenario)


def test_directories_are_cleaned_and_free_at_once(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(sh("touch old"), sh("true"))
        await channel.ended(*names)
        await channel.send(
            frames.Clean(
                ["workitems/job/job-1/task-1", "../tasks/shared", "shared", "workitems/.."]
            )
        )
        await channel.until(lambda: not agent.task(1).exists())
        assert agent.task(2).exists()
        assert agent.root.joinpath("shared").exists()
        [ended] = await channel.ended(*await channel.run({**sh("ls"), "id": "task-1"}))
        assert ended.exit_code == 0
        assert agent.task(1, "stdout.txt").read_text() == ""

    node.drive(scenario)


def test_new_constraints_hold_for_what_runs(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        long = {**sh("sleep 1000"), "constraints": {"maxWallClockTime": "PT900S"}}
        names = await channel.run(long, sh("sleep 1000"), sh("exit 2"))  # waits for a slot
        await channel.started(*names[:2])
        limits = [b'{"maxWallClockTime":"PT0.1S"}', b'{"maxWallClockTime":"P1D"}']
        limits.append(b'{"maxTaskRetryCount":1,"retentionTime":"PT0.1S"}')
        amended = [
            (*name, b'{"constraints":%b}' % limit)
            for name, limit in zip(names, limits, strict=True)
        ]
        await channel.send(frames.Amend(amended))
        [ended] = await channel.ended(names[0])
        assert ended.failure is not None
        assert ended.failure.code == "TaskEnded"
        nobodys = (99, 1, amended[0][2])
        unreadable = (*names[1], b'{"constraints":{"maxWallClockTime":"soon"}}')
        await channel.send(frames.Amend([nobodys, unreadable, (*names[1], amended[0][2])]))
        [ended] = await channel.ended(names[1])
        assert ended.failure is not None
        assert ended.failure.code == "TaskEnded"
        [ended] = await channel.ended(names[2])
        assert (ended.exit_code, ended.retries) == (2, 1)
        await channel.until(lambda: not agent.task(3).exists())

    node.drive(scenario)


def test_the_directory_of_a_task_that_runs_again_stays(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        brief = {**sh("true"), "id": "again", "constraints": {"retentionTime": "PT0.5S"}}
        other = {**sh("true"), "constraints": {"retentionTime": "PT0.5S"}}
        await channel.ended(*await channel.run(brief))
        again = {**sh("echo > here; while ! test -e go; do sleep 0.05; done"), "id": "again"}
        names = await channel.run(again, run=2)
        await channel.ended(*await channel.run(other))
        # The other came to rest later, so the first's time is over when it has gone.
        await channel.until(lambda: not agent.task(3).exists())
        directory = agent.root / "workitems/job/job-1/again/wd"
        assert directory.joinpath("here").exists()
        directory.joinpath("go").touch()
        [ended] = await channel.ended(*names)
        assert ended.exit_code == 0

    node.drive(scenario)


def test_retention_removes_a_directory(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        short = {**sh("true"), "constraints": {"retentionTime": "PT0.2S"}}
        await channel.ended(*await channel.run(short, sh("true")))
        await channel.until(lambda: not agent.task(1).exists())
        assert agent.task(2).exists()

    node.drive(scenario)
