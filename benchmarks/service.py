"""A service to measure: nodes on a tmpfs, database on disk, started and stopped at will."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from lote.cli.client import Account, BatchClient
from lote.cli.ready import Ready
from lote.cli.service import tail
from lote.world import World

READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 60.0
WITHIN_S = 120.0
POLL_S = 0.001
LOOK_S_MIN, LOOK_S_MAX = 0.005, 0.25
VM_SIZE = "standard_d2_v2"  # 2 cores, as the machines have that figures are given for
VM_SIZE_LARGE = "standard_d4s_v3"  # takes the 16 slots that a node of 2 cores may not have
SLOTS_MAX = 8  # of VM_SIZE: four a core
POOL = {
    "virtualMachineConfiguration": {
        "imageReference": {
            "publisher": "canonical",
            "offer": "ubuntu-24_04-lts",
            "sku": "server",
        },
        "nodeAgentSKUId": "batch.node.ubuntu 24.04",
    },
}


class Server:
    """`lote serve` on one folder; may be stopped, killed and started again."""

    def __init__(self, folder: Path, nodes: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self.database = folder / "account.db"
        self.nodes = nodes
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self.ready: Ready
        self.ready_s = 0.0
        """From the start of the process until it said that every listener answers."""
        self.started_at = 0.0
        """When the process was started, on the wall clock."""

    def start(self, flags: Sequence[str] = ()) -> None:
        """Start, and wait until it is ready."""
        ready_file, log = self.folder / "started.json", self.folder / "service.log"
        ready_file.unlink(missing_ok=True)
        words = ["serve", "--data", str(self.folder), "--port", "0", "--ready-file"]
        words += [str(ready_file), "--node-root", str(self.nodes), *flags]
        self.started_at, began = time.time(), time.monotonic()
        with log.open("ab") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", "lote.main", *words],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self._environment},
            )
        self._process = process
        wait_until(
            lambda: ready_file.exists() or process.poll() is not None,
            within_s=READY_WITHIN_S,
            what="the service to be ready",
        )
        self.ready_s = time.monotonic() - began
        if process.poll() is not None:
            raise RuntimeError(f"the service ended with {process.returncode}:\n{tail(log)}")
        self.ready = msgspec.json.decode(ready_file.read_bytes(), type=Ready)

    @property
    def pid(self) -> int:
        """Of the server process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> float:
        """End it in good order; how long that took, in seconds."""
        assert self._process is not None
        began = time.monotonic()
        self._process.terminate()
        try:
            self._process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.monotonic() - began

    def kill(self) -> None:
        """End it at once; its agents live on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def client(self) -> BatchClient:
        """A lean client, one connection."""
        batch = self.ready.batch
        return BatchClient(Account(batch.account, batch.key, batch.endpoint), World())

    def database_bytes(self) -> int:
        """Size of the database's files."""
        return sum(path.stat().st_size for path in self.folder.glob("account.db*"))


@contextmanager
def running_server(
    flags: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """A fresh service; its folders are removed afterwards."""
    with stopped_server(environment) as server:
        server.start(flags)
        yield server


@contextmanager
def stopped_server(environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A service on fresh folders that is yet to be started; stopped afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lote-bench-"))
    nodes = Path(tempfile.mkdtemp(prefix="lote-nodes-", dir="/dev/shm"))
    nodes.chmod(0o755)
    server = Server(folder, nodes, environment or {})
    try:
        yield server
    finally:
        if server._process is not None and server._process.poll() is None:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(nodes, ignore_errors=True)


def wait_until(
    is_so: Callable[[], bool], *, what: str, within_s: float = WITHIN_S, poll_s: float = POLL_S
) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {within_s} s for {what}")
        time.sleep(poll_s)


def make_pool(client: BatchClient, pool_id: str, nodes: int, slots: int) -> None:
    """A pool, and wait until all its nodes are idle."""
    body: dict[str, Any] = POOL | {"id": pool_id, "targetDedicatedNodes": nodes}
    size = VM_SIZE if slots <= SLOTS_MAX else VM_SIZE_LARGE
    client.call("create_pool", body=body | {"vmSize": size, "taskSlotsPerNode": slots})
    wait_until(lambda: idle_nodes(client, pool_id) == nodes, what="idle nodes")


def idle_nodes(client: BatchClient, pool_id: str) -> int:
    """How many nodes of a pool are idle."""
    found = client.each("list_nodes", {"pool_id": pool_id})
    return sum(node["state"] == "idle" for node in found)


def make_job(client: BatchClient, job_id: str, pool_id: str) -> None:
    """A job on a pool."""
    client.call("create_job", body={"id": job_id, "poolInfo": {"poolId": pool_id}})


def task_counts(client: BatchClient, job_id: str) -> dict[str, int]:
    """The job's tasks by state."""
    return dict(client.get("get_job_task_counts", {"job_id": job_id})["taskCounts"])


def wait_completed(client: BatchClient, job_id: str, tasks: int, *, within_s: float) -> None:
    """Wait until so many tasks of the job have completed, all of them with success.

    Looks seldom while the end is far, because each look costs the server a quarter of a
    millisecond, and often when it is near.
    """
    began = time.monotonic()
    while (counts := task_counts(client, job_id))["completed"] < tasks:
        passed_s = time.monotonic() - began
        if passed_s > within_s:
            raise TimeoutError(f"waited {within_s} s for {tasks} tasks to complete: {counts}")
        done = max(counts["completed"], 1)
        left_s = passed_s * (tasks - done) / done
        time.sleep(min(max(left_s / 4, LOOK_S_MIN), LOOK_S_MAX))
    if counts["failed"]:
        raise RuntimeError(f"{counts['failed']} of {tasks} tasks failed")
