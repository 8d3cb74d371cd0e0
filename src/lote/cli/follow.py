"""Following a task: its two output files as they grow, and its state until it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from lote.cli.client import BatchClient, BatchError, Json, Unreachable
from lote.cli.interrupts import Interrupts
from lote.world import World

# Task and both files are asked for each time: often while something happens, else less so.
POLL_FIRST_S = 0.01
POLL_MAX_S = 0.1
POLL_GROWTH = 1.5
QUEUED_NOTICE_S = 10.0  # then a word on why nothing happens yet
AWAY_S = 60.0  # how long a service may be away, say for a restart; tasks run on meanwhile
CHUNK_BYTES = 1 << 20
NO_NEWS = {404, 409, 416}  # no file yet, node not ready for it, nothing beyond the offset
FOLLOWED = "state,executionInfo,nodeInfo"


class Tail:
    """One file of a task, read from where the last read ended, into a binary sink."""

    def __init__(
        self, client: BatchClient, task: dict[str, str], name: str, sink: BinaryIO
    ) -> None:
        self._client = client
        self._task = task
        self._name = name
        self._sink = sink
        self._offset = 0

    def pump(self) -> bool:
        """Copy all there is now; whether there was any.

        Raises ``BatchError`` other than for a file that is not there.
        """
        before = self._offset
        while chunk := self._read():
            self._sink.write(chunk)
            self._sink.flush()
            self._offset += len(chunk)
            if len(chunk) < CHUNK_BYTES:
                break
        return self._offset > before

    def _read(self) -> bytes:
        span = (self._offset, self._offset + CHUNK_BYTES - 1)
        try:
            file = {**self._task, "file_path": self._name}
            answer = self._client.call("download_task_file", file, byte_range=span)
        except BatchError as error:
            if error.status in NO_NEWS:
                return b""
            raise
        return answer.body


class Follower:
    """Waits for the end of one task and shows its output meanwhile."""

    def __init__(
        self,
        client: BatchClient,
        task: dict[str, str],
        sinks: tuple[BinaryIO, BinaryIO],
        world: World,
        notify: Callable[[str], None],
        interrupts: Interrupts,
    ) -> None:
        self._client = client
        self._task = task
        self._tails = [
            Tail(client, task, name, sink)
            for name, sink in zip(("stdout.txt", "stderr.txt"), sinks, strict=True)
        ]
        self._world = world
        self._notify = notify
        self._interrupts = interrupts
        self._away_since: float | None = None

    def until_end(self) -> Json:
        """The task once it is completed and all its output is shown.

        Raises ``BatchError`` when the task is gone, ``Unreachable`` when the service stays away,
        ``Interrupted``.
        """
        since, told, pause_s, state = self._world.monotonic(), False, POLL_FIRST_S, ""
        while True:
            news = False
            with self._patience():
                task = self._client.get("get_task", self._task, {"$select": FOLLOWED})
                news = task["state"] != state
                state = task["state"]
                if state != "active":
                    for tail in self._tails:
                        news = tail.pump() or news
                if state == "completed":
                    return task
                waited_s = self._world.monotonic() - since
                if state == "active" and not told and waited_s > QUEUED_NOTICE_S:
                    told = True
                    self._notify(self._why_queued())
            pause_s = POLL_FIRST_S if news else min(pause_s * POLL_GROWTH, POLL_MAX_S)
            self._interrupts.pause(pause_s)

    @contextmanager
    def _patience(self) -> Iterator[None]:
        """Bears with a service that is away for a while: it may be restarting."""
        try:
            yield
            self._away_since = None
        except Unreachable:
            now = self._world.monotonic()
            if self._away_since is None:
                self._away_since = now
                self._notify("the service does not answer; waiting for it")
            if now - self._away_since > AWAY_S:
                raise

    def _why_queued(self) -> str:
        job = self._client.get("get_job", {"job_id": self._task["job_id"]})
        pool_id = job["poolInfo"]["poolId"]
        try:
            pool = self._client.get("get_pool", {"pool_id": pool_id})
        except BatchError as error:  # the pool may be deleted; whoever waits may make it again
            return f"the task still waits for a slot in pool {pool_id} ({error})"
        errors = [f"{e.get('code')}: {e.get('message')}" for e in pool.get("resizeErrors") or ()]
        nodes = pool.get("currentDedicatedNodes", 0) + pool.get("currentLowPriorityNodes", 0)
        reason = "; ".join(errors) or f"{nodes} nodes, allocation {pool.get('allocationState')}"
        return f"the task still waits for a slot in pool {pool_id} ({reason})"
