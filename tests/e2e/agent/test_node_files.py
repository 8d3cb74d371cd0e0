"""Node files over streams: list, read, look at, delete, and nothing outside the root."""

from __future__ import annotations

import json
import os
import shlex

import pytest
from channel import Agent, Channel

TASK = "workitems/job/job-1/task-1"


def sh(script: str) -> dict[str, str]:
    return {"commandLine": f"/bin/sh -c {shlex.quote(script)}"}


@pytest.fixture
def drive(node):
    """Plays a scenario on a node where one task left some files."""

    def play(scenario) -> None:
        async def with_files(channel: Channel, agent: Agent) -> None:
            script = (
                "printf 0123456789; mkdir -p a/b; echo deep > a/b/deep.json; ln -s /etc out;"
                "ln -s ../stdout.txt in; ln -s /etc/passwd passwd; mkfifo pipe"
            )
            [ended] = await channel.ended(*await channel.run(sh(script)))
            assert ended.exit_code == 0
            await scenario(channel, agent)

        node.drive(with_files)

    return play


def test_get_whole_and_parts(drive):
    async def scenario(channel: Channel, agent: Agent) -> None:
        answer = await channel.open("get", f"{TASK}/stdout.txt")
        assert answer.headers["authorization"] == "Lote node-1 s3cr3t-word"
        assert (answer.headers["x-lote-status"], answer.body) == ("200", b"0123456789")
        facts = json.loads(answer.headers["x-lote-file"])
        modified_us = facts.pop("modified_us")
        assert abs(modified_us / 1e6 - agent.task(1, "stdout.txt").stat().st_mtime) < 1
        assert facts == {
            "size": 10, "mode": "0o100644", "is_directory": False, "content_type": "text/plain",
            "start": 0, "length": 10,
        }  # fmt: skip
        for start, end, body in [
            (3, 5, b"345"),
            (8, None, b"89"),
            (None, 1, b"01"),
            (5, 99, b"56789"),
        ]:
            answer = await channel.open("get", f"{TASK}/stdout.txt", start=start, end=end)
            assert answer.body == body
            assert json.loads(answer.headers["x-lote-file"])["start"] == (start or 0)
        for start, end in [(10, None), (11, 12), (5, 4)]:
            answer = await channel.open("get", f"{TASK}/stdout.txt", start=start, end=end)
            assert (answer.headers["x-lote-status"], answer.headers["x-lote-code"]) == (
                "416", "InvalidRange",
            )  # fmt: skip
        empty = await channel.open("get", f"{TASK}/stderr.txt")
        assert (empty.headers["x-lote-status"], empty.body) == ("200", b"")

    drive(scenario)


def test_head_and_list(drive):
    async def scenario(channel: Channel, agent: Agent) -> None:
        answer = await channel.open("head", f"{TASK}/wd/a")
        assert json.loads(answer.headers["x-lote-file"])["is_directory"] is True
        assert answer.body == b""
        answer = await channel.open("list", TASK, recursive=False)
        names = [json.loads(line)["name"] for line in answer.body.splitlines()]
        assert names == ["stderr.txt", "stdout.txt", "wd"]
        answer = await channel.open("list", TASK, recursive=True)
        found = {one["name"]: one for one in map(json.loads, answer.body.splitlines())}
        assert list(found) == [
            "stderr.txt", "stdout.txt", "wd", "wd/a", "wd/a/b", "wd/a/b/deep.json", "wd/in",
            "wd/pipe",
        ]  # fmt: skip
        assert found["wd/a/b/deep.json"]["content_type"] == "application/json"
        assert found["wd/in"]["size"] == 10
        assert found["wd/a"]["is_directory"]

    drive(scenario)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../agent.log", "workitems/../../agent.log", f"{TASK}/wd/out/passwd",
     f"{TASK}/wd/passwd", f"{TASK}/wd/pipe", f"{TASK}/missing", f"{TASK}/stdout.txt/x"],
)  # fmt: skip
def test_what_cannot_be_read(drive, path):
    async def scenario(channel: Channel, agent: Agent) -> None:
        answer = await channel.open("get", path)
        expected = ("404", "FileNotFound") if path else ("409", "OperationInvalidForCurrentState")
        assert (answer.headers["x-lote-status"], answer.headers["x-lote-code"]) == expected
        assert answer.body == b""

    drive(scenario)


def test_delete(drive):
    async def scenario(channel: Channel, agent: Agent) -> None:
        async def status(path: str, *, recursive: bool = False) -> str:
            answer = await channel.open("delete", path, recursive=recursive)
            return answer.headers["x-lote-status"]

        assert await status(f"{TASK}/stdout.txt") == "200"
        assert not agent.task(1, "stdout.txt").exists()
        assert await status(f"{TASK}/stdout.txt") == "404"
        assert await status(f"{TASK}/wd/a") == "409"
        assert await status(f"{TASK}/wd/a", recursive=True) == "200"
        assert not agent.task(1, "wd/a").exists()
        assert await status(f"{TASK}/wd/out", recursive=True) == "200"  # the link, not /etc
        for path in ("", "workitems", "shared", "../cache", "startup/../.."):
            assert await status(path, recursive=True) in ("404", "409")
        assert (agent.root / "shared").exists()

    drive(scenario)


def test_a_large_file_streams(drive):
    async def scenario(channel: Channel, agent: Agent) -> None:
        content = os.urandom(3_000_000)
        (agent.root / "shared" / "big").write_bytes(content)
        assert (await channel.open("get", "shared/big")).body == content

    drive(scenario)
