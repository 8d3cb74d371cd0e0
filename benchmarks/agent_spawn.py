"""What does an agent cost per task, and how close does it come to bare process starts?

Drives one agent (talker and spawners, two slots) with no-op tasks from a server's side in this
process, and measures the reference (raw_spawn.c) before and after. The node directory is on a
tmpfs. Own CPU is that of talker and spawners, without the tasks. Run it with nothing else going on:

    python benchmarks/agent_spawn.py [--tasks 10000] [--backlog 64] [--users]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve

from lote.agent.tree import children_of
from lote.wire import frames

SLOTS = 2
REFERENCE_COUNT = 6000
SINGLES = 50


def cpu_s(pid: int) -> float:
    """Processor time of one process, its children excluded; from the scheduler, so not in ticks."""
    total_ns = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        total_ns += int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0])
    return total_ns / 1e9


def memory_kib(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def raw_rate(folder: Path) -> float:
    program = folder / "raw_spawn"
    if not program.exists():
        source = Path(__file__).with_name("raw_spawn.c")
        subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    shown = subprocess.run(
        [program, str(REFERENCE_COUNT), str(SLOTS)], check=True, capture_output=True
    )
    return float(shown.stdout)


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


async def measure(arguments: argparse.Namespace, folder: Path) -> float:
    side = Side(SINGLES, 0)
    async with serve(side.serve, "127.0.0.1", 0, compression=None, max_size=1 << 26) as server:
        port = server.sockets[0].getsockname()[1]
        begun = time.perf_counter()
        agent = start_agent(port, folder / "node", arguments.users)
        try:
            connection = await side.ready
            print(f"start to Hello            {time.perf_counter() - begun:8.3f} s")
            pids = [agent.pid, *children_of(agent.pid)]
            print(f"idle RSS (PSS)            {shown_memory(pids)}")
            await singles(side, connection)
            side.tasks += arguments.tasks
            side.backlog = arguments.backlog
            side.all_ended.clear()
            rate = await throughput(side, connection, pids, arguments.tasks)
            print(f"RSS (PSS) after           {shown_memory(pids)}")
            return rate
        finally:
            agent.terminate()
            await asyncio.to_thread(agent.wait)


async def singles(side: Side, connection: ServerConnection) -> None:
    times = []
    for _ in range(SINGLES):
        side.one_ended.clear()
        begun = time.perf_counter()
        await connection.send(frames.encode_frames([frames.Runs([side.next_run()])]))
        await side.one_ended.wait()
        times.append(time.perf_counter() - begun)
    print(f"one task, idle (median)   {sorted(times)[len(times) // 2] * 1e3:8.2f} ms")


async def throughput(
    side: Side, connection: ServerConnection, pids: list[int], tasks: int
) -> float:
    cpu_before = [cpu_s(pid) for pid in pids]
    begun = time.perf_counter()
    await connection.send(frames.encode_frames(side.more()))
    await side.all_ended.wait()
    took_s = time.perf_counter() - begun
    used = [
        (cpu_s(pid) - before) / tasks * 1e6 for pid, before in zip(pids, cpu_before, strict=True)
    ]
    print(f"no-op tasks               {tasks / took_s:8.0f} tasks/s, {side.failed} failed")
    print(f"own CPU a task            {sum(used):8.1f} us (talker {used[0]:.1f}, "
          f"spawners {', '.join(f'{one:.1f}' for one in used[1:])})")  # fmt: skip
    return tasks / took_s


def shown_memory(pids: list[int]) -> str:
    each = ", ".join(f"{memory_kib(pid, 'Rss') / 1024:.1f}" for pid in pids)
    total = sum(memory_kib(pid, "Pss") for pid in pids) / 1024
    return f"{each} MiB ({total:.1f} MiB together)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--backlog", type=int, default=64)
    parser.add_argument("--users", action="store_true", help="tasks run as users of their own")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="lote-bench-", dir="/dev/shm"))
    folder.chmod(0o755)
    try:
        before = raw_rate(folder)
        rate = asyncio.run(measure(arguments, folder))
        after = raw_rate(folder)
        print(f"raw spawn before, after   {before:8.0f}, {after:.0f} processes/s")
        print(f"ratio to raw spawn        {rate / ((before + after) / 2):8.2f}")
        if abs(before - after) > 0.15 * max(before, after):
            print("the machine was not quiet: references differ by more than 15 %")
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
