"""A service to measure (nodes on a tmpfs, database on disk), and the reference beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lote.cli.client import Account, BatchClient
from lote.cli.ready import Ready
from lote.cli.service import temporary_service
from lote.world import World

REFERENCE_COUNT = 6000
WORLD = World()
POOL = {
    "vmSize": "standard_d2_v2",
    "virtualMachineConfiguration": {
        "imageReference": {
            "publisher": "canonical",
            "offer": "ubuntu-24_04-lts",
            "sku": "server",
        },
        "nodeAgentSKUId": "batch.node.ubuntu 24.04",
    },
}


@contextmanager
def running_service() -> Iterator[tuple[Ready, Path]]:
    """A fresh service; its ready file and its data folder."""
    folder = Path(tempfile.mkdtemp(prefix="lote-bench-"))
    nodes = Path(tempfile.mkdtemp(prefix="lote-nodes-", dir="/dev/shm"))
    nodes.chmod(0o755)
    try:
        with temporary_service(folder, ["--node-root", str(nodes)]) as ready:
            yield ready, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(nodes, ignore_errors=True)


def client_of(ready: Ready) -> BatchClient:
    """A lean client, one connection."""
    batch = ready.batch
    return BatchClient(Account(batch.account, batch.key, batch.endpoint), WORLD)


def make_pool(client: BatchClient, pool_id: str, nodes: int, slots: int) -> None:
    """A pool, and wait until all its nodes are idle."""
    body: dict[str, Any] = POOL | {"id": pool_id, "targetDedicatedNodes": nodes}
    client.call("create_pool", body=body | {"taskSlotsPerNode": slots})
    while True:
        found = list(client.each("list_nodes", {"pool_id": pool_id}))
        if len(found) == nodes and all(node["state"] == "idle" for node in found):
            return


def make_job(client: BatchClient, job_id: str, pool_id: str) -> None:
    """A job on a pool."""
    client.call("create_job", body={"id": job_id, "poolInfo": {"poolId": pool_id}})


def raw_spawn(workers: int = 2) -> float:
    """The reference: processes a second of bare /bin/true by two workers in C."""
    program = Path(tempfile.gettempdir()) / f"lote-raw-spawn-{os.getuid()}"
    if not program.exists():
        source = Path(__file__).with_name("raw_spawn.c")
        subprocess.run(["cc", "-O2", "-o", program, source], check=True)
    words = [str(program), str(REFERENCE_COUNT), str(workers)]
    return float(subprocess.run(words, check=True, capture_output=True).stdout)


def cpu_s(pids: list[int]) -> float:
    """Processor time of these processes, without their children, in seconds."""
    total_ns = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total_ns += int((thread / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def own_processes(server_pid: int) -> dict[str, list[int]]:
    """Pids of the server, its storage process, and of agents with their spawners."""
    found: dict[str, list[int]] = {"server": [server_pid], "storage": [], "agents": []}
    for child in children_of(server_pid):
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"lote.storage" in words:
            found["storage"].append(child)
        elif b"lote.agent" in words:
            found["agents"] += [child, *children_of(child)]
    return found


def children_of(pid: int) -> list[int]:
    """Pids of the direct children of a process."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return found
