"""A small server for agents under test: accepts the channel, hands out runs, records reports."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from streams_front import Answer, Front
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from lote.wire import frames

DEADLINE_S = 20.0


@dataclass
class Channel:
    """The server's side. ``slots``, ``start_task`` … are what the next Setup says."""

    slots: int = 2
    start_task: bytes | None = None
    auto_storage: frames.AutoStorage | None = None
    job_environment: list[tuple[str, str]] = field(default_factory=list)
    retries_max: int = 0
    port: int = 0
    refuse_status: int | None = None
    acknowledges: bool = True
    refused: set[tuple[int, int]] = field(default_factory=set)
    confirms_held: Callable[[frames.Held], bool] = lambda held: True
    hellos: list[frames.Hello] = field(default_factory=list)
    entries: list[Any] = field(default_factory=list)
    reports: list[frames.Report] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    connection: ServerConnection | None = None
    start_task_due: bool = True
    accounts: list[frames.Account] = field(default_factory=list)
    containers: frames.ContainerPool | None = None
    certificates: list[str] = field(default_factory=list)
    front: Front = field(default_factory=lambda: Front(0))
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _last_run: int = 0
    _last_stream: int = 0

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[Channel]:
        """Accept agents at 127.0.0.1 while the context lasts."""
        async with serve(
            self._serve,
            "127.0.0.1",
            0,
            compression=None,
            max_size=1 << 26,
            process_request=self._check,
        ) as server:
            self.front.channel_port = server.sockets[0].getsockname()[1]
            async with self.front.listening(self.port):
                self.port = self.front.port
                yield self

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        self.authorizations.append(request.headers.get("Authorization", ""))
        if self.refuse_status is not None:
            return connection.respond(HTTPStatus(self.refuse_status), "no\n")
        assert request.path == "/node/channel"
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        try:
            async for message in connection:
                assert isinstance(message, bytes)
                for frame in frames.decode_agent_frames(message):
                    await self._take(connection, frame)
        except ConnectionClosed:
            pass
        finally:
            if self.connection is connection:
                self.connection = None

    async def _take(self, connection: ServerConnection, frame: frames.AgentFrame) -> None:
        if isinstance(frame, frames.Hello):
            self.hellos.append(frame)
            await connection.send(frames.encode_frames([self.setup(frame)]))
            self.connection = connection
        elif isinstance(frame, frames.Report):
            if self.acknowledges:
                self.entries.extend(frame.entries)
                names = [(e.key, e.run) for e in frame.entries if hasattr(e, "key")]
                refused = [name for name in names if name in self.refused]
                await connection.send(frames.encode_frames([frames.Ack(frame.seq, refused)]))
            self.reports.append(frame)
        async with self._changed:
            self._changed.notify_all()

    def setup(self, hello: frames.Hello) -> frames.Setup:
        confirmed = [(held.key, held.run) for held in hello.held if self.confirms_held(held)]
        due = self.start_task is not None and self.start_task_due
        return frames.Setup(
            "acct", self.url, "pool", True, self.slots, self.start_task, due,
            self.auto_storage, confirmed, None, self.accounts, self.containers,
            self.certificates,
        )  # fmt: skip

    async def send(self, *sent: frames.ServerFrame) -> None:
        await self.until(lambda: self.connection is not None)
        assert self.connection is not None
        await self.connection.send(frames.encode_frames(list(sent)))

    async def run(
        self, *tasks: dict[str, Any], retries: int = 0, run: int = 1
    ) -> list[tuple[int, int]]:
        """Send tasks as new runs of one job, their ``run``-th; gives their names."""
        runs = []
        for task in tasks:
            self._last_run += 1
            spec = {"id": f"task-{self._last_run}", **task}
            runs.append(frames.Run(self._last_run, run, 7, retries, json.dumps(spec).encode()))
        job = frames.JobFacts(
            7, "job", "workitems/job/job-1", self.job_environment, self.retries_max
        )
        await self.send(job, frames.Runs(runs))
        return [(run.key, run.run) for run in runs]

    async def until(self, condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        """Wait for a condition that frames bring about."""
        async with asyncio.timeout(deadline_s), self._changed:
            while not condition():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.05)

    def of(self, kind: type[Any]) -> list[Any]:
        """The acknowledged entries of a kind."""
        return [entry for entry in self.entries if isinstance(entry, kind)]

    async def ended(
        self, *names: tuple[int, int], within_s: float = DEADLINE_S
    ) -> list[frames.Ended]:
        """Wait until these runs were reported as ended; gives the reports."""

        def found() -> dict[tuple[int, int], frames.Ended]:
            return {(one.key, one.run): one for one in self.of(frames.Ended)}

        await self.until(lambda: all(name in found() for name in names), within_s)
        return [found()[name] for name in names]

    async def open(self, verb: str, path: str, **selected: Any) -> Answer:
        """Ask for node files and wait for the answer."""
        self._last_stream += 1
        stream = f"stream-{self._last_stream}"
        await self.send(frames.Open(stream, verb, path, **selected))
        await self.until(lambda: stream in self.front.answers)
        return self.front.answers[stream]

    async def started(self, *names: tuple[int, int]) -> None:
        """Wait until these runs were reported as started."""
        await self.until(
            lambda: {*names} <= {(one.key, one.run) for one in self.of(frames.Started)}
        )


class Agent:
    """An agent's process under test."""

    def __init__(self, channel: Channel, node_dir: Path, **settings: Any) -> None:
        self.node_dir = node_dir
        self.root = node_dir / "tasks"
        self.settings = {
            "node_id": "node-1", "secret": "s3cr3t-word", "server_url": channel.url,
            "ca_file": None, "node_dir": str(node_dir), "grace_s": 60, "task_uid_base": None,
            **settings,
        }  # fmt: skip
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start the program (again)."""
        environment = {**os.environ, "AGENT_ONLY": "yes"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lote.agent"], stdin=subprocess.PIPE, env=environment
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(self.settings).encode() + b"\n")
        self.process.stdin.close()
        return self.process

    def task(self, number: int, *parts: str) -> Path:
        """A path in a task's directory."""
        return self.root.joinpath("workitems/job/job-1", f"task-{number}", *parts)

    async def exit(self, deadline_s: float = DEADLINE_S) -> int:
        """Wait for the process to end."""
        return await asyncio.to_thread(self.process.wait, deadline_s)

    def stop(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise
