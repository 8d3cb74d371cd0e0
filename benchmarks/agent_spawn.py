"""What does an agent cost per task, and how close does it come to bare process starts?

Drives one agent (talker and spawners, two slots) with no-op tasks from a server's side in this
process. The node directory is on a tmpfs. Own CPU is that of talker and spawners, without the
tasks.

    python benchmarks/agent_spawn.py [--tasks 10000] [--backlog 64] [--users]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from figures import Figure, answer, from_runs, reference_count
from processes import children_of, cpu_s, family_bytes
from reference import repeat
from websockets.asyncio.server import ServerConnection, serve

from lote.wire import frames

QUESTION = "agent alone"
SLOTS = 2
SINGLES = 50


class Run(msgspec.Struct):
    """One agent's life."""

    hello_s: float
    single_ms: float
    tasks_s: float
    talker_us: float
    spawners_us: float
    memory_bytes: int


class Side:
    """The server's side: hands out runs so that the agent holds a backlog."""

    def __init__(self, tasks: int, backlog: int) -> None:
        self.tasks = tasks
        self.backlog = backlog
        self.sent = self.ended = self.failed = 0
        self.ready: asyncio.Future[ServerConnection] = asyncio.get_running_loop().create_future()
        self.all_ended = asyncio.Event()
        self.one_ended = asyncio.Event()

    async def serve(self, connection: ServerConnection) -> None:
        async for message in connection:
            assert isinstance(message, bytes)
            for frame in frames.decode_agent_frames(message):
                if isinstance(frame, frames.Hello):
                    setup = frames.Setup(
                        "acct", "http://127.0.0.1", "pool", True, SLOTS, None, False, None, []
                    )
                    job = frames.JobFacts(1, "job", "workitems/job/job-1", [("COMMON", "1")], 0)
                    await connection.send(frames.encode_frames([setup, job]))
                    self.ready.set_result(connection)
                elif isinstance(frame, frames.Report):
                    await self.take(connection, frame)

    async def take(self, connection: ServerConnection, report: frames.Report) -> None:
        for entry in report.entries:
            if isinstance(entry, frames.Ended):
                self.ended += 1
                self.failed += entry.exit_code != 0
        await connection.send(frames.encode_frames([frames.Ack(report.seq, []), *self.more()]))
        self.one_ended.set()
        if self.ended >= self.tasks:
            self.all_ended.set()

    def more(self) -> list[frames.Runs]:
        count = min(self.tasks - self.sent, SLOTS + self.backlog - (self.sent - self.ended))
        if count <= 0:
            return []
        return [frames.Runs([self.next_run() for _ in range(count)])]

    def next_run(self) -> frames.Run:
        self.sent += 1
        spec = {"id": f"task-{self.sent}", "commandLine": "/bin/true",
                "environmentSettings": [{"name": "NUMBER", "value": str(self.sent)}]}  # fmt: skip
        return frames.Run(self.sent, 1, 1, 0, json.dumps(spec).encode())


def start_agent(port: int, node_dir: Path, users: bool) -> subprocess.Popen[bytes]:
    settings = {
        "node_id": "bench", "secret": "x", "server_url": f"http://127.0.0.1:{port}",
        "node_dir": str(node_dir), "task_uid_base": 64000 if users else None,
    }  # fmt: skip
    agent = subprocess.Popen([sys.executable, "-m", "lote.agent"], stdin=subprocess.PIPE)
    assert agent.stdin is not None
    agent.stdin.write(json.dumps(settings).encode() + b"\n")
    agent.stdin.close()
    return agent


async def drive(arguments: argparse.Namespace, tasks: int, folder: Path) -> Run:
    """Start an agent, run single tasks and then many, and end it."""
    side = Side(SINGLES, 0)
    async with serve(side.serve, "127.0.0.1", 0, compression=None, max_size=1 << 26) as server:
        port = server.sockets[0].getsockname()[1]
        begun = time.perf_counter()
        agent = start_agent(port, folder / "node", arguments.users)
        try:
            connection = await side.ready
            hello_s = time.perf_counter() - begun
            single_ms = await singles(side, connection)
            side.tasks += tasks
            side.backlog = arguments.backlog
            side.all_ended.clear()
            pids = [agent.pid, *children_of(agent.pid)]
            before = cpu_s(pids[:1]), cpu_s(pids[1:])
            begun = time.perf_counter()
            await connection.send(frames.encode_frames(side.more()))
            await side.all_ended.wait()
            took_s = time.perf_counter() - begun
            if side.failed:
                raise RuntimeError(f"{side.failed} tasks failed")
            used = cpu_s(pids[:1]) - before[0], cpu_s(pids[1:]) - before[1]
            own_us = [1e6 * one / tasks for one in used]
            return Run(hello_s, single_ms, took_s, own_us[0], own_us[1], family_bytes(pids))
        finally:
            agent.terminate()
            await asyncio.to_thread(agent.wait)


async def singles(side: Side, connection: ServerConnection) -> float:
    """Milliseconds of one task on an idle agent, the median."""
    times = []
    for _ in range(SINGLES):
        side.one_ended.clear()
        begun = time.perf_counter()
        await connection.send(frames.encode_frames([frames.Runs([side.next_run()])]))
        await side.one_ended.wait()
        times.append(time.perf_counter() - begun)
    return 1e3 * statistics.median(times)


@contextmanager
def prepared(arguments: argparse.Namespace, tasks: int) -> Iterator[Callable[[], Run]]:
    """A folder on a tmpfs."""
    folder = Path(tempfile.mkdtemp(prefix="lote-bench-", dir="/dev/shm"))
    folder.chmod(0o755)
    try:
        yield lambda: asyncio.run(drive(arguments, tasks, folder))
    finally:
        shutil.rmtree(folder)


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """What the agent reaches, and what it costs."""
    tasks = given.tasks or (500 if given.small else 10_000)
    runs = repeat(lambda: prepared(given, tasks), given.runs, **reference_count(given))
    found = runs.results
    rates = [tasks / one.tasks_s for one in found]
    yield from_runs(QUESTION, f"{tasks:,} x true on 2 slots", "tasks/s", rates, runs)
    own = [one.talker_us + one.spawners_us for one in found]
    talker = statistics.median(one.talker_us for one in found)
    note = f"talker {talker:.0f}"
    yield from_runs(QUESTION, "own CPU of a task", "µs", own, runs, better="less", note=note)
    for what, unit, values in (
        ("one task on an idle agent", "ms", [one.single_ms for one in found]),
        ("start to Hello", "s", [one.hello_s for one in found]),
        ("memory after the run", "MiB", [one.memory_bytes / (1 << 20) for one in found]),
    ):
        yield from_runs(QUESTION, what, unit, values, runs, better="less")


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--backlog", type=int, default=64)
    parser.add_argument("--users", action="store_true", help="tasks run as users of their own")


if __name__ == "__main__":
    answer(__doc__, measure, add_options)
