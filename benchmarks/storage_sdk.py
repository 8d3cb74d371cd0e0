"""Ours, Azurite and a server that does nothing, asked for the same through the official SDK.

256 MiB up and down (blocks of 8 MiB up, the SDK's own pieces down, 4 connections), blobs of 10 KiB
up and down by 4 threads, by one, and by 4 processes: threads share one interpreter, whose lock
lets them do little more than one of them would; with processes the servers are what is measured.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

import msgspec
from azure.storage.blob import BlobServiceClient, ContainerClient
from blob_accounts import Served, azurite_account, null_account, own_account, scratch
from figures import Figure, from_runs, reference_count
from processes import rss_bytes
from reference import Repeated, repeat

QUESTION = "storage"
MIB = 1 << 20
BLOCK_BYTES = 8 * MIB
SINGLE_PUT_BYTES = 64 * MIB  # larger ones go up in blocks
SMALL_BYTES = 10 * 1024
TRANSFERS = 4
SETTLE_S = 1.0
STARTED_WITHIN_S = 60.0
ACCOUNTS = (own_account, azurite_account, null_account)
ROWS = (  # (field of Rates, what, unit, at least so many times Azurite's or no bound)
    ("up", "{big} up", "MiB/s", 5.0),
    ("down", "{big} down", "MiB/s", 2.0),
    ("small_up", "10 KiB blobs up", "blobs/s", 1.5),
    ("small_down", "10 KiB blobs down", "blobs/s", 1.5),
    ("alone_up", "10 KiB blobs up, 1 thread", "blobs/s", None),
    ("alone_down", "10 KiB blobs down, 1 thread", "blobs/s", None),
    ("apart_up", "10 KiB blobs up, 4 processes", "blobs/s", 1.5),
    ("apart_down", "10 KiB blobs down, 4 processes", "blobs/s", 1.5),
)


class Rates(msgspec.Struct):
    """What one account reached in a run."""

    up: float
    down: float
    small_up: float
    small_down: float
    alone_up: float
    alone_down: float
    apart_up: float
    apart_down: float
    start_s: float
    idle_mib: float


class Compared(msgspec.Struct):
    """One run: ours, Azurite's, the client's own limit, and the bare disk's MiB/s with fsync
    (cached and direct)."""

    ours: Rates
    azurite: Rates
    client: Rates
    disk: float
    disk_direct: float


def sizes(given: argparse.Namespace) -> tuple[int, int]:
    """(bytes of the large blob, number of small ones)."""
    return (80 * MIB, 100) if given.small else (256 * MIB, 1500)


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def measure_account(served: Served, large: bytes, count: int) -> Rates:
    """Everything that is asked of each, through the official SDK."""
    time.sleep(SETTLE_S)  # what a process does after its start is not idleness
    idle_mib = rss_bytes(served.pid) / MIB
    with BlobServiceClient.from_connection_string(
        served.connection_string,
        max_single_put_size=SINGLE_PUT_BYTES,
        max_block_size=BLOCK_BYTES,
    ) as service:
        box = service.create_container("box")
        content = large[:SMALL_BYTES]
        box.upload_blob("warm", content)
        up, down = measure_large(box, served, large)
        small = measure_small(box, content, count, TRANSFERS)
        alone = measure_small(box, content, count, 1)
        apart = measure_apart(served, content, count)
    return Rates(up, down, *small, *alone, *apart, served.start_s, idle_mib)


def measure_large(box: ContainerClient, served: Served, large: bytes) -> tuple[float, float]:
    """MiB/s, up and down."""
    mib = len(large) / MIB
    told = {"size": str(len(large))}  # for the account that does nothing
    up_s = timed(lambda: box.upload_blob("large", large, max_concurrency=TRANSFERS, metadata=told))
    found = b""

    def download() -> None:
        nonlocal found
        found = box.download_blob("large", max_concurrency=TRANSFERS).readall()

    down_s = timed(download)
    if found != large and not (served.is_null and found == bytes(len(large))):
        raise RuntimeError("what came down is not what went up")
    return mib / up_s, mib / down_s


def put(box: ContainerClient, name: str, content: bytes) -> None:
    """One small blob up."""
    box.upload_blob(name, content)


def fetch(box: ContainerClient, name: str, content: bytes) -> None:
    """One small blob down."""
    if len(box.download_blob(name).readall()) != len(content):
        raise RuntimeError("a small blob is not whole")


def measure_small(
    box: ContainerClient, content: bytes, count: int, width: int
) -> tuple[float, float]:
    """Blobs a second, up and down, by threads of one process."""
    names = [f"small{width}/{number:06}" for number in range(count)]
    rates = []
    with ThreadPoolExecutor(width) as threads:
        for work in (put, fetch):
            spent_s = timed(lambda do=work: list(threads.map(lambda n: do(box, n, content), names)))
            rates.append(count / spent_s)
    return rates[0], rates[1]


def measure_apart(served: Served, content: bytes, count: int) -> tuple[float, float]:
    """Blobs a second, up and down, by processes; all begin a direction together."""
    context = multiprocessing.get_context("spawn")
    together = context.Barrier(TRANSFERS + 1)
    share = count // TRANSFERS
    workers = [
        context.Process(
            target=work_apart, args=(served.connection_string, number, content, share, together)
        )
        for number in range(TRANSFERS)
    ]
    for worker in workers:
        worker.start()
    rates = []
    for _ in (put, fetch):
        together.wait(STARTED_WITHIN_S)
        rates.append(share * TRANSFERS / timed(together.wait))
    for worker in workers:
        worker.join()
    return rates[0], rates[1]


def work_apart(
    connection_string: str, number: int, content: bytes, count: int, together: Barrier
) -> None:
    """One client process: its share up, then the same down."""
    with BlobServiceClient.from_connection_string(connection_string) as service:
        box = service.get_container_client("box")
        put(box, f"warm/{number}", content)
        for work in (put, fetch):
            together.wait(STARTED_WITHIN_S)
            for part in range(count):
                work(box, f"apart/{number}/{part:06}", content)
            together.wait()


def disk_rate(folder: Path, size: int, *flags: str) -> float:
    """MiB/s of ``dd`` into a synced file."""
    target = folder / "dd"
    words = ["dd", "if=/dev/zero", f"of={target}", f"bs={BLOCK_BYTES}", "conv=fsync", *flags]
    words.append(f"count={size // BLOCK_BYTES}")
    spent_s = timed(lambda: subprocess.run(words, check=True, stderr=subprocess.DEVNULL))
    target.unlink()
    return size / MIB / spent_s


def prepared(given: argparse.Namespace) -> Callable[[], Iterator[Callable[[], Compared]]]:
    """Fresh accounts for each run; who goes first changes from run to run."""
    size, count = sizes(given)
    large = os.urandom(size)
    turn = 0

    def prepare() -> Iterator[Callable[[], Compared]]:
        nonlocal turn
        turn += 1
        with ExitStack() as stack:
            folders = [stack.enter_context(scratch()) for _ in range(4)]

            def run() -> Compared:
                found = {}
                for start in ACCOUNTS if turn % 2 else ACCOUNTS[::-1]:
                    with start(folders[ACCOUNTS.index(start)]) as served:
                        found[start] = measure_account(served, large, count)
                cached = disk_rate(folders[-1], size)
                direct = disk_rate(folders[-1], size, "oflag=direct")
                return Compared(*(found[start] for start in ACCOUNTS), cached, direct)

            yield run

    return prepare


def sdk_figures(given: argparse.Namespace) -> Iterator[Figure]:
    """Ours and Azurite's through the SDK, and what ours is to Azurite's."""
    size, _ = sizes(given)
    big = f"{size // MIB} MiB"
    runs = repeat(contextmanager(prepared(given)), given.runs, **reference_count(given))
    for name, pattern, unit, multiple in ROWS:
        what = pattern.format(big=big)
        yield from _both(runs, f"{what}, official SDK", name, unit)
        ratios = [getattr(one.ours, name) / getattr(one.azurite, name) for one in runs.results]
        yield from_runs(QUESTION, f"{what}: times Azurite", "x", ratios, runs, must=multiple)
        limits = [getattr(one.client, name) for one in runs.results]
        yield from_runs(
            QUESTION, f"{what}: official SDK against a server that does nothing", unit, limits, runs
        )
        shares = [getattr(one.ours, name) / getattr(one.client, name) for one in runs.results]
        yield from_runs(QUESTION, f"{what}: share of the client's limit", "x", shares, runs)
        limits = [getattr(one.client, name) / getattr(one.azurite, name) for one in runs.results]
        yield from_runs(
            QUESTION, f"{what}: server that does nothing, times Azurite", "x", limits, runs
        )
    yield from _both(runs, "start to listening", "start_s", "s", better="less")
    yield from _both(runs, "idle memory of the process", "idle_mib", "MiB", better="less")
    disk = [one.disk for one in runs.results]
    yield from_runs(QUESTION, f"reference: dd of {big}, fsync", "MiB/s", disk, runs)
    direct = [one.disk_direct for one in runs.results]
    yield from_runs(QUESTION, f"reference: dd of {big}, direct, fsync", "MiB/s", direct, runs)
    ratios = [one.ours.up / one.disk for one in runs.results]
    yield from_runs(QUESTION, f"{big} up, official SDK: times dd with fsync", "x", ratios, runs)


def _both(
    runs: Repeated[Compared], what: str, name: str, unit: str, **more: object
) -> Iterator[Figure]:
    ours = [getattr(one.ours, name) for one in runs.results]
    theirs = [getattr(one.azurite, name) for one in runs.results]
    yield from_runs(QUESTION, what, unit, ours, runs, **more)
    yield from_runs(QUESTION, f"{what}: Azurite", unit, theirs, runs, **more)
