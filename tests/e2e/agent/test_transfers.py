"""Resource files and output files of real tasks, against a small server of blobs."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from blob_server import BlobServer
from channel import Agent, Channel

from lote.agent.tree import children_of
from lote.wire import frames


def sh(script: str) -> dict[str, Any]:
    return {"commandLine": f"/bin/sh -c {shlex.quote(script)}"}


@pytest.fixture
def blobs() -> Iterator[BlobServer]:
    server = BlobServer()
    server.put("in", one=b"first", two=b"second")
    server.blobs["in/folder/sub dir/three.txt"] = b"third"
    server.put("out")
    yield server
    server.close()


def with_files(script: str, *files: dict[str, Any]) -> dict[str, Any]:
    return {**sh(script), "resourceFiles": list(files)}


def output(pattern: str, url: str, path: str | None = None, condition: str = "taskcompletion"):
    container: dict[str, Any] = {"containerUrl": url}
    if path is not None:
        container["path"] = path
    return {
        "filePattern": pattern,
        "destination": {"container": container},
        "uploadOptions": {"uploadCondition": condition},
    }


# -- resource files ---------------------------------------------------------------------------


def test_files_of_all_three_sources(node, blobs):
    async def scenario(channel: Channel, agent: Agent) -> None:
        task = with_files(
            "find . -type f -printf '%P %m\n' | sort; cat here/x",
            {"httpUrl": f"{blobs.url}/in/one?sig=good", "filePath": "here/x", "fileMode": "0644"},
            {"storageContainerUrl": f"{blobs.url}/in?sig=good", "blobPrefix": "folder/"},
            {"autoStorageContainerName": "in", "filePath": "auto/", "blobPrefix": "t"},
        )
        [ended] = await channel.ended(*await channel.run(task))
        assert (ended.exit_code, ended.failure) == (0, None)
        assert ended.download_us > 0
        assert agent.task(1, "stdout.txt").read_text().splitlines() == [
            "auto/two 770", "folder/sub dir/three.txt 770", "here/x 644", "first",
        ]  # fmt: skip
        assert [(one.key, one.run) for one in channel.of(frames.Started)] == [(1, 1)] * len(
            channel.of(frames.Started)
        )

    node.drive(scenario, auto_storage=frames.AutoStorage(blobs.url, "sig=good"))


def test_one_download_serves_all_and_tasks_own_their_copies(node, blobs):
    async def scenario(channel: Channel, agent: Agent) -> None:
        file = {"httpUrl": f"{blobs.url}/in/one?sig=good", "filePath": "x"}
        script = "cat x; echo more >> x"
        names = await channel.run(*[with_files(script, file) for _ in range(6)])
        assert {one.exit_code for one in await channel.ended(*names)} == {0}
        assert {agent.task(n, "stdout.txt").read_text() for n in range(1, 7)} == {"first"}
        assert blobs.requests["GET in/one"] == 1
        # Another signature is not trusted without asking, but the content need not come again.
        other = {"httpUrl": f"{blobs.url}/in/one?sig=good&se=2030", "filePath": "x"}
        bad = {"httpUrl": f"{blobs.url}/in/one?sig=forged", "filePath": "x"}
        names = await channel.run(with_files(script, other), with_files(script, bad))
        good, refused = await channel.ended(*names)
        assert good.exit_code == 0
        assert blobs.requests["304"] == 1
        assert refused.failure is not None
        assert refused.failure.code == "BlobAccessDenied"

    node.drive(scenario, slots=4)


@pytest.mark.parametrize(
    ("file", "code", "category"),
    [
        ({"httpUrl": "{url}/in/missing?sig=good", "filePath": "x"}, "BlobNotFound", "usererror"),
        ({"httpUrl": "{url}/in/one?sig=bad", "filePath": "x"}, "BlobAccessDenied", "usererror"),
        ({"storageContainerUrl": "{url}/in?sig=bad"}, "ResourceContainerAccessDenied", "usererror"),
        ({"storageContainerUrl": "{url}/no?sig=good"}, "ResourceContainerNotFound", "usererror"),
        ({"autoStorageContainerName": "in"}, "ResourceContainerListMiscError", "usererror"),
        (
            {"httpUrl": "{url}/in/one?sig=good", "filePath": "../x"},
            "ResourceFileCreateFailed", "servererror",
        ),
        (
            {"httpUrl": "{url}/in/one?sig=good", "filePath": "/tmp/lote-x"},
            "ResourceFileCreateFailed", "servererror",
        ),
        (
            {"httpUrl": "{url}/in/one?sig=good", "filePath": "x", "fileMode": "rwx"},
            "ResourceFileCreateFailed", "servererror",
        ),
    ],
)  # fmt: skip
def test_inputs_that_fail(node, blobs, file, code, category):
    async def scenario(channel: Channel, agent: Agent) -> None:
        asked = {name: value.replace("{url}", blobs.url) for name, value in file.items()}
        task = {**with_files("true", asked), "constraints": {"maxTaskRetryCount": 3}}
        [ended] = await channel.ended(*await channel.run(task))
        assert ended.failure is not None
        assert (ended.failure.code, ended.failure.category) == (code, category)
        assert (ended.exit_code, ended.retries) == (None, 0)
        assert "sig=bad" not in str(ended)
        assert "sig=good" not in str(ended)
        if "httpUrl" in file:
            details = dict(ended.failure.details)
            assert details["FilePath"] == file["filePath"]
            if code.startswith("Blob"):
                assert details["BlobUrl"].startswith(blobs.url)
                assert details["HttpStatusCode"] in ("403", "404")
        [ended] = await channel.ended(*await channel.run(sh("true")))  # the slot is free again
        assert ended.exit_code == 0

    node.drive(scenario, slots=1)


IMPATIENT = {"transfer_silence_s": 0.3, "transfer_attempts": 2}


@pytest.mark.parametrize("name", ["slow", "silent"])
def test_a_source_that_falls_silent(node, blobs, name):
    """One never answers, one answers and then sends no more; no retry of the task follows."""
    blobs.put("in", slow=b"x" * 5000, silent=b"x")

    async def scenario(channel: Channel, agent: Agent) -> None:
        file = {"httpUrl": f"{blobs.url}/in/{name}?sig=good", "filePath": "x"}
        task = {**with_files("true", file), "constraints": {"maxTaskRetryCount": 3}}
        [ended] = await channel.ended(*await channel.run(task))
        assert ended.failure is not None
        code, category = ended.failure.code, ended.failure.category
        assert (code, category) == ("BlobDownloadTimedOut", "servererror")
        assert (ended.exit_code, ended.retries) == (None, 0)
        assert dict(ended.failure.details)["FilePath"] == "x"
        assert "sig=good" not in str(ended)
        await channel.until(lambda: blobs.requests[f"GET in/{name}"] == 2)
        assert not agent.task(1, "wd", "x").exists()

    node.drive(scenario, IMPATIENT)


def test_a_source_that_is_slow_but_not_silent_is_waited_for(node, blobs):
    blobs.put("in", slow=b"x" * 5000)

    async def scenario(channel: Channel, agent: Agent) -> None:
        file = {"httpUrl": f"{blobs.url}/in/slow?sig=good", "filePath": "x"}
        names = await channel.run(with_files("wc -c < x", file))
        await channel.until(lambda: blobs.requests["GET in/slow"] > 0)
        blobs.gate.set()
        [ended] = await channel.ended(*names)
        assert ended.exit_code == 0
        assert agent.task(1, "stdout.txt").read_text().strip() == "5000"

    node.drive(scenario)


def test_a_link_left_by_an_earlier_attempt_is_not_followed(node, blobs, tmp_path):
    async def scenario(channel: Channel, agent: Agent) -> None:
        target = tmp_path / "outside"
        target.mkdir()
        (target / "x").write_text("precious")
        file = {"httpUrl": f"{blobs.url}/in/one?sig=good", "filePath": "d/x"}
        script = f"rm -rf d; ln -s {target} d; exit 1"
        task = {**with_files(script, file), "constraints": {"maxTaskRetryCount": 1}}
        leaf = {"httpUrl": f"{blobs.url}/in/one?sig=good", "filePath": "x"}
        script = f"rm x; ln -s {target}/x x; exit 1"
        second = {**with_files(script, leaf), "constraints": {"maxTaskRetryCount": 1}}
        first_end, second_end = await channel.ended(*await channel.run(task, second))
        assert first_end.failure is not None
        assert first_end.failure.code == "ResourceDirectoryCreateFailed"
        assert second_end.exit_code == 1  # its link was replaced by the file
        assert (target / "x").read_text() == "precious"

    node.drive(scenario)


def test_kill_and_limit_stop_a_download(node, blobs):
    async def scenario(channel: Channel, agent: Agent) -> None:
        blobs.put("in", slow=b"x" * 600_000)
        blobs.blobs["in/very/slow"] = b"x" * 600_000
        first = {"httpUrl": f"{blobs.url}/in/slow?sig=good", "filePath": "x"}
        other = {"httpUrl": f"{blobs.url}/in/very/slow?sig=good", "filePath": "x"}
        limited = {**with_files("true", other), "constraints": {"maxWallClockTime": "PT0.2S"}}
        names = await channel.run(with_files("true", first), limited)
        await channel.started(*names)
        await channel.until(lambda: blobs.requests["GET in/very/slow"] > 0)
        await channel.send(frames.Kill([names[0]]))
        killed, over = await channel.ended(*names)  # while the server still holds both back
        for ended in (killed, over):
            assert ended.exit_code is None
            assert ended.failure is not None
            assert ended.failure.code == "TaskEnded"
        assert over.failure is not None
        assert "wall clock" in over.failure.message

    node.drive(scenario)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_inputs_belong_to_the_task_user(node, blobs):
    async def scenario(channel: Channel, agent: Agent) -> None:
        file = {"httpUrl": f"{blobs.url}/in/one?sig=good", "filePath": "d/x", "fileMode": "0600"}
        task = with_files("cat d/x && echo >> d/x && touch d/new", file)
        [ended] = await channel.ended(*await channel.run(task))
        assert ended.exit_code == 0
        assert agent.task(1, "wd/d/x").stat().st_uid == 64000
        assert agent.task(1, "wd/d").stat().st_uid == 64000

    node.drive(scenario, {"task_uid_base": 64000})


# -- output files -----------------------------------------------------------------------------


def test_outputs_go_where_they_shall(node, blobs):
    async def scenario(channel: Channel, agent: Agent) -> None:
        out = f"{blobs.url}/out?sig=good"
        typed = output("plain.bin", out, "named/blob.bin")
        typed["destination"]["container"]["uploadHeaders"] = [
            {"name": "Content-Type", "value": "text/x-own"},
            {"name": "x-ms-meta-origin", "value": "here"},
            {"name": "Authorization", "value": "no"},
        ]
        task = {
            **sh(
                "echo log; echo bin > plain.bin; mkdir -p r/s .hid; echo 1 > r/1.txt;"
                "echo 2 > r/s/2.txt; echo h > r/.dot.txt; ln -s /etc/passwd r/leak.txt; exit 3"
            ),
            "outputFiles": [
                output("../std*.txt", out, "logs"),
                typed,
                output("r/**/*.txt", out),
                output("plain.bin", out, "only-good", "tasksuccess"),
                output("plain.bin", out, "only-bad", "taskfailure"),
                output("$AZ_BATCH_TASK_WORKING_DIR/%OWN%/1.txt", out, "by-variable"),
                output("none/*", out),
                output("none.txt", out),
            ],
            "environmentSettings": [{"name": "OWN", "value": "r"}],
        }
        [ended] = await channel.ended(*await channel.run(task))
        assert ended.exit_code == 3
        assert ended.failure is not None
        assert ended.failure.code == "FailureExitCode"
        assert ended.upload_us > 0
        stored = {k.removeprefix("out/"): v for k, v in blobs.blobs.items() if k.startswith("out/")}
        assert stored == {
            "logs/stdout.txt": b"log\n", "logs/stderr.txt": b"", "named/blob.bin": b"bin\n",
            "1.txt": b"1\n", "s/2.txt": b"2\n", "only-bad": b"bin\n", "by-variable": b"1\n",
        }  # fmt: skip
        headers = blobs.headers["out/named/blob.bin"]
        assert headers["x-ms-blob-content-type"] == "text/x-own"
        assert headers["x-ms-meta-origin"] == "here"
        assert "authorization" not in headers
        assert "plain.bin" in agent.task(1, "fileuploadout.txt").read_text()
        assert "none.txt: no file matches" in agent.task(1, "fileuploadout.txt").read_text()
        assert "leak.txt" in agent.task(1, "fileuploaderr.txt").read_text()
        assert len(channel.of(frames.Confirm)) == 1

    node.drive(scenario)


@pytest.mark.parametrize(
    ("container", "pattern", "code"),
    [
        ("missing", "x", "FileUploadContainerNotFound"),
        ("denied", "x", "FileUploadAccessDenied"),
        ("out", "../../*", "FileUploadMiscError"),
        ("out", "/etc/passwd", "FileUploadMiscError"),
    ],
)
def test_outputs_that_fail(node, blobs, container, pattern, code):
    blobs.denied.add("denied")

    async def scenario(channel: Channel, agent: Agent) -> None:
        out = output(pattern, f"{blobs.url}/{container}?sig=good")
        task = {**sh("echo x > x"), "outputFiles": [out], "constraints": {"maxTaskRetryCount": 2}}
        [ended] = await channel.ended(*await channel.run(task))
        assert (ended.exit_code, ended.retries) == (0, 0)
        assert ended.failure is not None
        assert ended.failure.code == code
        assert "sig=good" not in str(ended)
        assert "sig=good" not in agent.task(1, "fileuploaderr.txt").read_text()

    node.drive(scenario)


def test_a_stale_run_uploads_nothing(node, blobs):
    async def scenario(channel: Channel, agent: Agent) -> None:
        channel.refused = {(1, 1)}
        task = {**sh("echo x"), "outputFiles": [output("../std*", f"{blobs.url}/out?sig=good")]}
        await channel.run(task)
        await channel.until(lambda: bool(channel.of(frames.Confirm)))
        await channel.ended(*await channel.run(sh("true")))
        assert not [path for path in blobs.blobs if path.startswith("out/")]
        assert len(channel.of(frames.Ended)) == 1
        assert not agent.task(1, "fileuploadout.txt").exists()

    node.drive(scenario, slots=1)


def test_a_target_that_falls_silent(node, blobs):
    """The task did its work; its outputs are lost, which is not tried again."""

    async def scenario(channel: Channel, agent: Agent) -> None:
        out = output("kept", f"{blobs.url}/out?sig=good", "slow")
        task = {**sh("echo kept > kept"), "outputFiles": [out]}
        task["constraints"] = {"maxTaskRetryCount": 3}
        [ended] = await channel.ended(*await channel.run(task))
        assert (ended.exit_code, ended.retries) == (0, 0)
        assert ended.failure is not None
        code, category = ended.failure.code, ended.failure.category
        assert (code, category) == ("FileUploadMiscError", "servererror")
        await channel.until(lambda: blobs.requests["PUT out/slow"] == 2)
        assert "sig=good" not in str(ended)

    node.drive(scenario, IMPATIENT)


def test_a_killed_task_uploads_nothing(node, blobs):
    async def scenario(channel: Channel, agent: Agent) -> None:
        out = output("../std*", f"{blobs.url}/out?sig=good")
        names = await channel.run({**sh("sleep 1000"), "outputFiles": [out]})
        await channel.started(*names)
        await channel.send(frames.Kill(names))
        [ended] = await channel.ended(*names)
        assert ended.exit_code == -9
        assert not channel.of(frames.Confirm)
        assert not [path for path in blobs.blobs if path.startswith("out/")]

    node.drive(scenario)


def test_of_instances_only_the_primary_has_outputs(node, blobs):
    """And only after its last attempt, as with any task."""

    async def scenario(channel: Channel, agent: Agent) -> None:
        out = output("../std*", f"{blobs.url}/out?sig=good", "kept")
        spec = {**sh("echo said"), "outputFiles": [out], "constraints": {"maxTaskRetryCount": 2}}
        job = frames.JobFacts(7, "job", "workitems/job/job-1", [], 0)
        await channel.send(job)

        async def fail(key: int, number: int, retries: int) -> frames.Ended:
            together = {"numberOfInstances": 2, "coordinationCommandLine": "/bin/false"}
            task = {**spec, "id": f"task-{key}", "multiInstanceSettings": together}
            run = frames.Run(key, 1, 7, retries, json.dumps(task).encode())
            hosts = [("127.0.0.1", 1), ("127.0.0.2", 1)]
            await channel.send(frames.Instance(run, number, hosts))
            [ended] = await channel.ended((key, 1))
            return ended

        for key, number, retries in ((1, 1, 2), (2, 0, 0), (3, 0, 1)):
            assert (await fail(key, number, retries)).exit_code == 1
        assert not channel.of(frames.Confirm)
        assert not [path for path in blobs.blobs if path.startswith("out/")]
        assert (await fail(4, 0, 2)).exit_code == 1
        assert [path for path in blobs.blobs if path.startswith("out/kept")]

    node.drive(scenario)


def test_a_primary_that_is_ended_with_its_task_stores_nothing(node, blobs):
    """As when a subtask fails, whatever the condition of its outputs."""

    async def scenario(channel: Channel, agent: Agent) -> None:
        wanted = [
            output("../*", f"{blobs.url}/out?sig=good", condition, condition)
            for condition in ("tasksuccess", "taskfailure", "taskcompletion")
        ]
        together = {"numberOfInstances": 2, "coordinationCommandLine": "/bin/true"}
        task = {**sh("sleep 1000"), "id": "task-1", "outputFiles": wanted}
        task["multiInstanceSettings"] = together
        run = frames.Run(1, 1, 7, 0, json.dumps(task).encode())
        job = frames.JobFacts(7, "job", "workitems/job/job-1", [], 0)
        hosts = [("127.0.0.1", 1), ("127.0.0.2", 1)]
        await channel.send(job, frames.Instance(run, 0, hosts))
        await channel.until(lambda: bool(channel.of(frames.Coordinated)))
        await channel.send(frames.Kill([(1, 1)]))
        [ended] = await channel.ended((1, 1))
        assert ended.failure is not None
        assert ended.failure.code == "TaskEnded"
        assert not channel.of(frames.Confirm)
        assert not [path for path in blobs.blobs if path.startswith("out/")]

    node.drive(scenario)


# -- outputs of an agent that was away ----------------------------------------------------------

LARGE = 12 << 20  # one Put Blob, and more than what sockets hold
BLOCKS = 20 << 20  # blocks and a list
SHORT_GRACE_S = 1.0  # so that the lease is half a second


async def stopped_while_uploading(channel: Channel, agent: Agent, blobs: BlobServer) -> None:
    """Stop the agent in the middle of a body, for longer than its lease lasts; let it go on."""
    await asyncio.to_thread(blobs.begun.wait, 20)
    agent.process.send_signal(signal.SIGSTOP)
    blobs.gate.set()  # all that is under way arrives
    assert channel.connection is not None
    channel.connection.transport.abort()  # a server that takes a node for lost hangs up
    await asyncio.sleep(SHORT_GRACE_S)
    agent.process.send_signal(signal.SIGCONT)


@pytest.mark.parametrize("size", [LARGE, BLOCKS])
@pytest.mark.parametrize("is_current", [True, False])
def test_an_output_needs_a_fresh_word_after_a_pause(node, blobs, size, is_current):
    async def scenario(channel: Channel, agent: Agent) -> None:
        task = sh(f"head -c {size} /dev/zero > big")
        task["outputFiles"] = [output("big", f"{blobs.url}/out?sig=good", path="slow")]
        [name] = await channel.run(task)
        await asyncio.to_thread(blobs.begun.wait, 20)
        confirms = len(channel.of(frames.Confirm))
        channel.confirms_held = lambda held: is_current
        await stopped_while_uploading(channel, agent, blobs)
        if is_current:
            [ended] = await channel.ended(name)
            assert (ended.exit_code, ended.failure) == (0, None)
            assert "out/slow" in blobs.blobs
            assert confirms == 1
            if size == LARGE:
                assert len(blobs.blobs["out/slow"]) == size
                assert len(channel.of(frames.Confirm)) == 2
        else:
            [after] = await channel.run(sh("true"))
            await channel.ended(after)
            assert "out/slow" not in blobs.blobs
            assert name not in {(one.key, one.run) for one in channel.of(frames.Ended)}
        if size == LARGE:
            assert blobs.requests["torn"] == 1

    node.drive(scenario, {"grace_s": SHORT_GRACE_S}, slots=2)


def test_an_upload_that_was_killed_while_it_asked_is_reported(node, blobs):
    """The server's refusal of a run that it has killed must not swallow its end."""

    async def scenario(channel: Channel, agent: Agent) -> None:
        task = sh(f"head -c {LARGE} /dev/zero > big")
        task["outputFiles"] = [output("big", f"{blobs.url}/out?sig=good", path="slow")]
        [name] = await channel.run(task)
        await asyncio.to_thread(blobs.begun.wait, 20)
        channel.refused.add(name)
        await channel.send(frames.Kill([name]))
        await channel.send(frames.Ack(channel.reports[-1].seq, [name]))
        blobs.gate.set()
        [ended] = await channel.ended(name)
        assert ended.failure.code == "TaskEnded"
        assert "out/slow" not in blobs.blobs

    node.drive(scenario)


def test_an_upload_is_not_reported_as_done_by_an_agent_that_ends(node, blobs):
    async def scenario(channel: Channel, agent: Agent) -> None:
        task = sh(f"head -c {LARGE} /dev/zero > big")
        task["outputFiles"] = [output("big", f"{blobs.url}/out?sig=good", path="slow")]
        [name] = await channel.run(task)
        await asyncio.to_thread(blobs.begun.wait, 20)
        [spawner] = children_of(agent.process.pid)[:1]
        os.kill(spawner, signal.SIGKILL)  # the agent begins anew, in place
        blobs.gate.set()
        await channel.until(lambda: len(channel.hellos) == 2)
        held = {(one.key, one.run) for one in channel.hellos[-1].held}
        if "out/slow" not in blobs.blobs:  # it may have been through before the end
            assert name not in held

    node.drive(scenario)
