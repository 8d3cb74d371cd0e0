"""Tasks on a real node: command lines, environment, files, exit codes, retries, limits, order."""

from __future__ import annotations

import json
import os
import shlex
import sys

import pytest
from channel import Agent, Channel

from lote.wire import frames


def sh(script: str) -> dict[str, str]:
    return {"commandLine": f"/bin/sh -c {shlex.quote(script)}"}


def test_output_exit_code_and_directories(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(sh("echo out; echo err >&2; pwd; exit 3"))
        [ended] = await channel.ended(*names)
        assert ended.exit_code == 3
        assert ended.failure is not None
        assert (ended.failure.category, ended.failure.code) == ("usererror", "FailureExitCode")
        working = agent.task(1, "wd")
        assert agent.task(1, "stdout.txt").read_text() == f"out\n{working}\n"
        assert agent.task(1, "stderr.txt").read_text() == "err\n"
        assert ended.start_age_us >= ended.end_age_us >= 0
        assert ended.run_us > 0

    node.drive(scenario)


def test_words_of_a_command_line(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        script = "import sys, json; print(json.dumps(sys.argv[1:]))"
        line = f"""{sys.executable} -c '{script}' a "b c" d\\ e '$HOME' * ; | "" 'it''s'"""
        [ended] = await channel.ended(*await channel.run({"commandLine": line}))
        assert ended.exit_code == 0
        words = json.loads(agent.task(1, "stdout.txt").read_text())
        assert words == ["a", "b c", "d e", "$HOME", "*", ";", "|", "", "its"]

    node.drive(scenario)


def test_environment(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        settings = [
            {"name": "OWN", "value": "$NOT expanded"},
            {"name": "BOTH", "value": "task"},
            {"name": "TWICE", "value": "1"},
            {"name": "TWICE", "value": "2"},
            {"name": "EMPTY"},
            {"name": "AZ_BATCH_NODE_ID", "value": "liar"},
        ]
        names = await channel.run({"commandLine": "env -0", "environmentSettings": settings})
        await channel.ended(*names)
        text = agent.task(1, "stdout.txt").read_text()
        variables = dict(pair.split("=", 1) for pair in text.split("\0") if pair)
        directory = str(agent.task(1))
        user = variables.pop("USER")
        assert variables == {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": f"{directory}/wd",
            "LOGNAME": user,
            "JOBS": "yes",
            "BOTH": "task",
            "OWN": "$NOT expanded",
            "TWICE": "2",
            "EMPTY": "",
            "AZ_BATCH_ACCOUNT_NAME": "acct",
            "AZ_BATCH_ACCOUNT_URL": channel.url,
            "AZ_BATCH_POOL_ID": "pool",
            "AZ_BATCH_NODE_ID": "node-1",
            "AZ_BATCH_NODE_IS_DEDICATED": "true",
            "AZ_BATCH_NODE_ROOT_DIR": str(agent.root),
            "AZ_BATCH_NODE_SHARED_DIR": f"{agent.root}/shared",
            "AZ_BATCH_NODE_STARTUP_DIR": f"{agent.root}/startup",
            "AZ_BATCH_NODE_MOUNTS_DIR": f"{agent.root}/fsmounts",
            "AZ_BATCH_JOB_ID": "job",
            "AZ_BATCH_TASK_ID": "task-1",
            "AZ_BATCH_TASK_DIR": directory,
            "AZ_BATCH_TASK_WORKING_DIR": f"{directory}/wd",
            "AZ_BATCH_TASK_RESERVED_EPHEMERAL_DISK_SPACE_BYTES": "1000000",
        }

    node.drive(scenario, job_environment=[("JOBS", "yes"), ("BOTH", "job")])


def test_nothing_of_the_agent_reaches_a_task(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        script = "ls -l /proc/self/fd; cat; ps -o sid= -p $$; echo $$; trap; cat /proc/self/status"
        await channel.ended(*await channel.run(sh(script)))
        text = agent.task(1, "stdout.txt").read_text()
        links = [line.split(" -> ")[1] for line in text.splitlines() if " -> " in line]
        own = {"/dev/null", str(agent.task(1, "stdout.txt")), str(agent.task(1, "stderr.txt"))}
        assert {one for one in links if not one.startswith("/proc/")} == own
        status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
        assert int(status["SigBlk"], 16) == 0
        assert int(status["SigIgn"], 16) & 0x7FFFFFFF == 0  # glibc keeps 32 and 33 for itself
        assert "s3cr3t" not in text
        for path in agent.node_dir.rglob("*"):
            if path.is_file() and not path.is_symlink():
                assert b"s3cr3t" not in path.read_bytes(), path

    node.drive(scenario)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("no-such-program-here", "CommandProgramNotFound"),
        ("./missing", "CommandProgramNotFound"),
        ("/etc/passwd", "CommandLaunchFailed"),
        ("/bin/sh -c 'unclosed", "CommandLaunchFailed"),
        ("", "CommandLaunchFailed"),
    ],
)
def test_programs_that_cannot_be_started(node, line, code):
    async def scenario(channel: Channel, agent: Agent) -> None:
        task = {"commandLine": line, "constraints": {"maxTaskRetryCount": 3}}
        [ended] = await channel.ended(*await channel.run(task))
        assert ended.exit_code is None
        assert ended.failure is not None
        assert ended.failure.code == code
        assert ended.failure.details[0][0] == "Message"
        assert ended.retries == 0

    node.drive(scenario)


def test_an_exit_by_signal_is_explained(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        [ended] = await channel.ended(*await channel.run(sh("kill -9 $$")))
        assert ended.exit_code == -9
        assert ended.failure is not None
        assert "signal 9 (SIGKILL)" in dict(ended.failure.details)["Message"]

    node.drive(scenario)


def test_retries_share_a_directory_and_keep_outputs(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        script = "echo $(ls | wc -l); touch file-$(ls | wc -l); test $(ls | wc -l) = 3"
        task = {**sh(script), "constraints": {"maxTaskRetryCount": 5}}
        [ended] = await channel.ended(*await channel.run(task))
        assert (ended.exit_code, ended.failure, ended.retries) == (0, None, 2)
        assert ended.last_retry_age_us is not None
        outputs = [agent.task(1, name).read_text() for name in ("stdout.0.txt", "stdout.1.txt")]
        assert outputs == ["0\n", "1\n"]
        assert agent.task(1, "stdout.txt").read_text() == "2\n"

    node.drive(scenario)


def test_a_new_task_finds_nothing_of_another_of_its_name(node):
    """As when that was deleted while this node could not be told; a later run finds its own."""

    async def scenario(channel: Channel, agent: Agent) -> None:
        task = {**sh("ls; touch new"), "id": "same"}
        agent.root.joinpath("workitems/job/job-1/same/wd/old").mkdir(parents=True)
        agent.root.joinpath("workitems/job/job-1/same/stdout.txt").touch()
        await channel.ended(*await channel.run(task))
        directory = agent.root / "workitems/job/job-1/same"
        assert (directory / "stdout.txt").read_text() == ""
        assert not (directory / "stdout.0.txt").exists()
        await channel.ended(*await channel.run(task, run=2))
        assert (directory / "stdout.txt").read_text() == "new\n"
        assert (directory / "stdout.0.txt").exists()

    node.drive(scenario)


def test_a_job_is_prepared_in_a_directory_of_its_own(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        directory = agent.root / "workitems/job/job-1/jobpreparation"
        (directory / "wd/old").mkdir(parents=True)
        spec = {**sh("ls; touch new"), "id": "jobpreparation"}

        async def prepare(run: int) -> str:
            job = frames.JobFacts(7, "job", "workitems/job/job-1", [], 0, "jobpreparation")
            await channel.send(job, frames.Special(7, 0, run, json.dumps(spec).encode()))
            await channel.until(
                lambda: any(
                    one.run == run and one.state == "completed"
                    for one in channel.of(frames.SpecialReport)
                )
            )
            return (directory / "stdout.txt").read_text()

        assert await prepare(1) == ""
        assert await prepare(2) == "new\n"

    node.drive(scenario)


def test_retries_end(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        own = {**sh("exit 7"), "constraints": {"maxTaskRetryCount": 1}}
        first, second = await channel.ended(*await channel.run(own, sh("exit 8")))
        assert (first.exit_code, first.retries) == (7, 1)
        assert (second.exit_code, second.retries) == (8, 2)
        later, *_ = await channel.ended(*await channel.run(sh("exit 9"), retries=2))
        assert (later.exit_code, later.retries) == (9, 2)

    node.drive(scenario, retries_max=2)


def test_wall_clock_limit(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        task = {
            **sh("sleep 1000 & sleep 1000"),
            "constraints": {"maxWallClockTime": "PT0.3S", "maxTaskRetryCount": 3},
        }
        [ended] = await channel.ended(*await channel.run(task))
        assert ended.exit_code == -9
        assert ended.failure is not None
        assert (ended.failure.category, ended.failure.code) == ("usererror", "TaskEnded")
        assert "wall clock" in ended.failure.message
        assert ended.retries == 0

    node.drive(scenario)


def test_each_attempt_has_the_whole_time(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        limits = {"maxWallClockTime": "PT8.5S", "maxTaskRetryCount": 5}  # six times 1.5 s is more
        names = await channel.run({**sh("sleep 1.5; exit 3"), "constraints": limits})
        await channel.until(lambda: bool(channel.of(frames.Ended)), 60)
        [ended] = await channel.ended(*names)
        assert (ended.exit_code, ended.retries) == (3, 5)

    node.drive(scenario)


def test_slots_and_order(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        script = "mkdir ../../busy && sleep 0.02 && echo $AZ_BATCH_TASK_ID >> ../../../order && "
        tasks = [sh(f"{script} rmdir ../../busy") for _ in range(12)]
        ends = await channel.ended(*await channel.run(*tasks))
        assert [one.exit_code for one in ends] == [0] * 12  # never two at once
        order = agent.root.joinpath("workitems/job/order").read_text().split()
        assert order == [f"task-{number}" for number in range(1, 13)]

    node.drive(scenario, slots=1)


def test_wide_tasks_have_their_slots(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        lock = "flock -n {} ../../lock {}"
        narrow = sh(lock.format("-s", "sleep 0.05"))
        wide = {**sh(lock.format("-x", "sleep 0.05")), "requiredSlots": 3}
        names = await channel.run(narrow, narrow, narrow, wide, narrow, wide, narrow, narrow)
        assert [one.exit_code for one in await channel.ended(*names)] == [0] * 8

    node.drive(scenario, slots=3)


def test_a_large_environment_passes(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        settings = [{"name": f"V{number}", "value": "x" * 100_000} for number in range(5)]
        names = await channel.run(
            {**sh("echo ${#V4}"), "environmentSettings": settings}, sh("true")
        )
        assert [one.exit_code for one in await channel.ended(*names)] == [0, 0]
        assert agent.task(1, "stdout.txt").read_text() == "100000\n"

    node.drive(scenario)


def test_a_task_nobody_understands_fails_by_itself(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(
            {"commandLine": 5}, {"id": "../../x", "commandLine": "true"}, sh("true")
        )
        first, second, third = await channel.ended(*names)
        assert first.failure is not None
        assert second.failure is not None
        assert third.failure is None

    node.drive(scenario)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_tasks_run_as_their_users(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        script = (
            "id -u; id -g; id -G; whoami >/dev/null; echo $USER; touch own; cat /proc/self/status"
        )
        auto = {"autoUser": {"scope": "task", "elevationLevel": "nonadmin"}}
        admin = {"autoUser": {"scope": "pool", "elevationLevel": "admin"}}
        names = await channel.run(
            sh(script), {**sh(script), "userIdentity": auto}, {**sh(script), "userIdentity": auto},
            {**sh(script), "userIdentity": admin},
        )  # fmt: skip
        await channel.ended(*names)
        texts = [agent.task(number, "stdout.txt").read_text() for number in (1, 2, 3, 4)]
        heads = [text.splitlines()[:4] for text in texts]
        assert heads[0] == ["64000", "64000", "64000", "_azbatch"]
        assert {heads[1][0], heads[2][0]} == {"64001", "64002"}
        assert heads[3][:2] == ["0", "0"]
        for number, text in enumerate(texts[:3], 1):
            uid = int(text.splitlines()[0])
            status = dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)
            assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(uid)}
            assert all(int(status[f"Cap{kind}"], 16) == 0 for kind in ("Inh", "Prm", "Eff", "Amb"))
            for path in (".", "wd", "wd/own", "stdout.txt", "stderr.txt"):
                assert agent.task(number, path).stat().st_uid == uid

    node.drive(scenario, {"task_uid_base": 64000}, slots=4)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_task_user_reaches_nothing_of_the_agent(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        script = f"cat {agent.node_dir}/agent.log; ls {agent.node_dir}; ls {agent.node_dir}/cache"
        pid = agent.process.pid
        script += f"; cat /proc/{pid}/environ; ls -l /proc/{pid}/fd; kill {pid}"
        names = await channel.run(
            sh(script), {**sh("true"), "userIdentity": {"username": "nobody-here"}}
        )
        _, unknown = await channel.ended(*names)
        assert agent.task(1, "stdout.txt").read_text() == ""
        assert agent.process.poll() is None
        assert unknown.failure is not None
        assert unknown.exit_code is None

    node.drive(scenario, {"task_uid_base": 64000})


def test_frames_of_a_burst_come_in_few_batches(node):
    async def scenario(channel: Channel, agent: Agent) -> None:
        names = await channel.run(*[{"commandLine": "/bin/true"}] * 200)
        await channel.ended(*names)
        assert len(channel.of(frames.Ended)) == 200
        assert len(channel.reports) < 100
        for report in channel.reports:  # an end says the start too
            runs = [
                one.key for one in report.entries if isinstance(one, frames.Started | frames.Ended)
            ]
            assert len(runs) == len(set(runs))

    node.drive(scenario)
