"""How fast do a task's files come and go?

A service with one node: 10,000 files of 10 KiB from the linked built-in account into a task's
directory, and into the next task's; a file that the node has; a file of 4 GiB beside `cp` between
the same two file systems; 10,000 outputs. Storage is on the disk, nodes are on a tmpfs.

    python benchmarks/staging.py [--part files|large]...
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from figures import Figure, answer, from_runs, reference_count
from processes import cpu_s, own_processes, peak_rss_bytes
from reference import Repeated, repeat
from service import Server, make_job, make_pool, running_server, wait_until

from lote.blobs.accounts import StorageAccount
from lote.blobs.client import BlobClient
from lote.blobs.external import SdkAccount
from lote.blobs.urls import blob_url
from lote.cli.client import BatchClient

QUESTION = "staging"
RUNS = 3  # the whole takes some minutes
MIB = 1 << 20
HOUR_US = 3600 * 1_000_000
SMALL_BYTES = 10 * 1024
KNOWN_TASKS = 20
WRITERS = 8
WITHIN_S = 600.0
PARTS = ("files", "large")


class Files(msgspec.Struct):
    """Files a second in, again, and out; their cost; milliseconds for a file the node has."""

    first: float
    again: float
    out: float
    first_us: float
    out_us: float
    known_ms: float
    agent_mib: float


class Large(msgspec.Struct):
    """MiB/s of a task's file and of `cp`; the most memory the agent had."""

    staged: float
    copied: float
    agent_mib: float


class Rig:
    """A service with one node, its linked account, and what its processes cost."""

    def __init__(self, server: Server, client: BatchClient) -> None:
        assert server.ready.storage is not None
        text = server.ready.storage.connection_string
        self.account = StorageAccount.from_connection_string(text)
        self.client = client
        self.own = own_processes(server.pid)
        self.folder = server.folder
        self.nodes = server.nodes
        self._tasks = 0
        sdk = SdkAccount(self.account)
        for name in ("inputs", "outputs"):
            sdk.ensure_container(name)
        sdk.close()

    def url(self, container: str) -> str:
        """A container's URL, with every right."""
        return self.account.sas_url(container, "racwdl", int(time.time() * 1e6) + HOUR_US)

    @property
    def agent(self) -> int:
        """The talker, which moves files."""
        return self.own.agents[0][0]

    def cost_s(self) -> float:
        """Processor time of agent and storage so far."""
        return cpu_s([self.agent, *self.own.storage])

    def run(self, line: str = "/bin/true", **more: Any) -> Mapping[str, Any]:
        """A task's executionInfo, once it is completed."""
        self._tasks += 1
        ids = {"job_id": "j", "task_id": f"t{self._tasks}"}
        body = {"id": ids["task_id"], "commandLine": line} | more
        self.client.call("create_task", {"job_id": "j"}, body=body)
        found: dict[str, Any] = {}

        def is_over() -> bool:
            found.update(self.client.get("get_task", ids))
            return found["state"] == "completed"

        wait_until(is_over, what="a task", within_s=WITHIN_S, poll_s=0.002)
        info: dict[str, Any] = found["executionInfo"]
        if info["result"] != "success":
            raise RuntimeError(f"a task failed: {info}")
        return info


@contextmanager
def rig(slots: int = 2) -> Iterator[Rig]:
    """A fresh service with an idle node."""
    with running_server() as server:
        client = server.client()
        make_pool(client, "p", 1, slots)
        make_job(client, "j", "p")
        yield Rig(server, client)
        client.close()


def staged_s(info: Mapping[str, Any]) -> float:
    """What a task's inputs took on the node."""
    return float(info["lote"]["downloadSeconds"])


@contextmanager
def files_prepared(given: argparse.Namespace) -> Iterator[Callable[[], Files]]:
    """A service with an account full of small files."""
    count = 200 if given.small else 10_000
    with rig() as made:
        fill(made, count)
        yield lambda: measure_files(made, count)


def fill(made: Rig, count: int) -> None:
    """Small files in ten folders."""
    client, url, content = BlobClient(), made.url("inputs"), os.urandom(SMALL_BYTES)

    def put(number: int) -> None:
        client.upload_bytes(content, blob_url(url, f"d{number % 10}/f{number:05}"))

    with ThreadPoolExecutor(WRITERS) as threads:
        list(threads.map(put, range(count)))
    client.close()


def measure_files(made: Rig, count: int) -> Files:
    """In, again, one of them, and out."""
    inputs = [{"autoStorageContainerName": "inputs", "filePath": "in"}]
    before = made.cost_s()
    first_s = staged_s(made.run(resourceFiles=inputs))
    first_us = 1e6 * (made.cost_s() - before) / count
    again_s = staged_s(made.run(resourceFiles=inputs))
    url = blob_url(made.url("inputs"), "d0/f00000")
    one = [{"httpUrl": url, "filePath": "one"}]
    known = [staged_s(made.run(resourceFiles=one)) for _ in range(KNOWN_TASKS)]
    line = f"/bin/sh -c 'for i in $(seq {count}); do echo $i > o$i; done'"
    target = {"container": {"containerUrl": made.url("outputs"), "path": "run"}}
    outputs = {
        "filePattern": "**/o*",
        "destination": target,
        "uploadOptions": {"uploadCondition": "taskcompletion"},
    }
    before = made.cost_s()
    out_s = float(made.run(line, outputFiles=[outputs])["lote"]["uploadSeconds"])
    out_us = 1e6 * (made.cost_s() - before) / count
    memory = peak_rss_bytes(made.agent) / MIB
    return Files(
        count / first_s,
        count / again_s,
        count / out_s,
        first_us,
        out_us,
        1000 * statistics.median(known),
        memory,
    )


def files_figures(given: argparse.Namespace) -> Iterator[Figure]:
    """Many small ones."""
    runs = repeat(lambda: files_prepared(given), given.runs, **reference_count(given))
    rows = (
        ("first", "files of 10 KiB into a task's directory", "files/s", 3000.0, 4000.0),
        ("again", "the same into the next task's", "files/s", None, None),
        ("out", "small outputs of a task", "files/s", 1000.0, 2000.0),
    )
    for name, what, unit, must, aim in rows:
        rates = [getattr(one, name) for one in runs.results]
        yield from_runs(QUESTION, what, unit, rates, runs, must=must, aim=aim)
    less = (
        ("first_us", "own CPU of agent and storage, a file in", "us", None, None),
        ("out_us", "own CPU of agent and storage, a file out", "us", None, None),
        ("known_ms", "a file that the node has, to the next task", "ms", 5.0, 2.0),
        ("agent_mib", "most memory of the agent, without spawners", "MiB", 60.0, 45.0),
    )
    for name, what, unit, must, aim in less:
        yield _less(what, unit, [getattr(one, name) for one in runs.results], runs, must, aim)


@contextmanager
def large_prepared(given: argparse.Namespace) -> Iterator[Callable[[], Large]]:
    """A service with an account that has one large file, and the same file beside it."""
    size = 128 * MIB if given.small else 4096 * MIB
    with rig() as made:
        source = made.folder / "large"
        write_large(source, size)
        client, url = BlobClient(), blob_url(made.url("inputs"), "large")
        client.upload(source, url)
        client.close()
        yield lambda: measure_large(made, source, url, size)


def write_large(path: Path, size: int) -> None:
    """A file of bytes that do not repeat within 16 MiB."""
    block = os.urandom(16 * MIB)
    with path.open("wb") as file:
        for _ in range(size // len(block)):
            file.write(block)


def measure_large(made: Rig, source: Path, url: str, size: int) -> Large:
    """`cp` before and after, the task's file in between; both read from the disk."""
    copied = [copy_s(source, made.nodes / "copied")]
    inputs = [{"httpUrl": url, "filePath": "large"}]
    spent_s = staged_s(made.run("/bin/rm large", resourceFiles=inputs))
    copied.append(copy_s(source, made.nodes / "copied"))
    memory = peak_rss_bytes(made.agent) / MIB
    return Large(size / MIB / spent_s, size / MIB / statistics.mean(copied), memory)


def copy_s(source: Path, target: Path) -> float:
    """Seconds that `cp` takes, its source on the disk only: storage reads past the page cache."""
    with source.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    began = time.monotonic()
    subprocess.run(["cp", source, target], check=True)
    spent_s = time.monotonic() - began
    target.unlink()
    return spent_s


def large_figures(given: argparse.Namespace) -> Iterator[Figure]:
    """One large one."""
    runs = repeat(lambda: large_prepared(given), given.runs, **reference_count(given))
    size = "128 MiB" if given.small else "4 GiB"
    results = runs.results
    staged, copied = [one.staged for one in results], [one.copied for one in results]
    ratios = [one.staged / one.copied for one in results]
    yield from_runs(QUESTION, f"a file of {size} into a task's directory", "MiB/s", staged, runs)
    yield from_runs(
        QUESTION, f"the same by cp, its source on the disk too: {size}", "MiB/s", copied, runs
    )
    what = f"a file of {size}: rate to that of cp"
    yield from_runs(QUESTION, what, "ratio", ratios, runs, must=0.6, aim=0.8)
    memory = [one.agent_mib for one in results]
    yield _less(f"most memory of the agent: {size}", "MiB", memory, runs, 100.0, 50.0)


def _less(
    what: str,
    unit: str,
    values: list[float],
    runs: Repeated,
    must: float | None,
    aim: float | None,
) -> Figure:
    return from_runs(QUESTION, what, unit, values, runs, better="less", must=must, aim=aim)


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """The parts that were asked for."""
    parts = given.part or PARTS
    if "files" in parts:
        yield from files_figures(given)
    if "large" in parts:
        yield from large_figures(given)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--part", action="append", choices=PARTS)


if __name__ == "__main__":
    answer(__doc__, measure, add_options, runs=RUNS)
