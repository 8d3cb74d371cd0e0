"""How fast is the built-in blob storage: beside Azurite, beside the bare disk, and at its limit?

Each run starts our storage process and Azurite on fresh folders and asks both for the same, one
after the other, through the official SDK: 256 MiB up and down (8 MiB blocks, 4 connections), blobs
of 10 KiB up and down (4 threads). Beside them the same client meets a server that does nothing
(blob_null.py), which shows the client's own limit, and `dd` with fsync the disk's. Then ours alone
meets a client that costs next to nothing (blob_pump.py), a 4 GiB blob, and a million blobs.

    python benchmarks/storage.py [--part sdk|lean|large|million]...
"""

from __future__ import annotations

import argparse
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import storage_limits
import storage_million
from azure.storage.blob import BlobServiceClient, ContainerClient
from blob_accounts import Served, azurite_account, null_account, own_account, scratch
from figures import Figure, answer, from_runs, reference_count
from processes import rss_bytes
from reference import Repeated, repeat

QUESTION = "storage"
RUNS = 3  # the whole takes some minutes
MIB = 1 << 20
BLOCK_BYTES = 8 * MIB
SMALL_BYTES = 10 * 1024
TRANSFERS = 4
SETTLE_S = 1.0
CLIENT_SHARE = 0.75  # docs/decisions/020: shown beside the bounds, and none itself
ACCOUNTS = (own_account, azurite_account, null_account)
PARTS = ("sdk", "lean", "large", "million")


class Rates(msgspec.Struct):
    """What one account reached in a run."""

    up: float
    down: float
    small_up: float
    small_down: float
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
    return (32 * MIB, 100) if given.small else (256 * MIB, 1500)


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def measure_account(served: Served, large: bytes, count: int) -> Rates:
    """Everything that is asked of both, through the official SDK."""
    time.sleep(SETTLE_S)  # what a process does after its start is not idleness
    idle_mib = rss_bytes(served.pid) / MIB
    with BlobServiceClient.from_connection_string(
        served.connection_string,
        max_single_put_size=BLOCK_BYTES,
        max_block_size=BLOCK_BYTES,
        max_single_get_size=BLOCK_BYTES,
        max_chunk_get_size=BLOCK_BYTES,
    ) as service:
        box = service.create_container("box")
        box.upload_blob("warm", large[:SMALL_BYTES])
        mib = len(large) / MIB
        told = {"size": str(len(large))}  # for the account that does nothing
        up_s = timed(
            lambda: box.upload_blob("large", large, max_concurrency=TRANSFERS, metadata=told)
        )
        found = b""

        def download() -> None:
            nonlocal found
            found = box.download_blob("large", max_concurrency=TRANSFERS).readall()

        down_s = timed(download)
        if found != large and not (served.is_null and found == bytes(len(large))):
            raise RuntimeError("what came down is not what went up")
        small_up, small_down = measure_small(box, large[:SMALL_BYTES], count)
    return Rates(mib / up_s, mib / down_s, small_up, small_down, served.start_s, idle_mib)


def measure_small(box: ContainerClient, content: bytes, count: int) -> tuple[float, float]:
    """Blobs a second, up and down."""

    def down(number: int) -> None:
        if len(box.download_blob(f"small/{number:06}").readall()) != len(content):
            raise RuntimeError("a small blob is not whole")

    with ThreadPoolExecutor(TRANSFERS) as threads:
        up_s = timed(
            lambda: list(
                threads.map(lambda n: box.upload_blob(f"small/{n:06}", content), range(count))
            )
        )
        down_s = timed(lambda: list(threads.map(down, range(count))))
    return count / up_s, count / down_s


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
    runs = repeat(contextmanager(prepared(given)), given.runs, **reference_count(given))
    big = f"{size // MIB} MiB"
    rows = (
        ("up", f"{big} up", "MiB/s", 5.0),
        ("down", f"{big} down", "MiB/s", 2.0),
        ("small_up", "10 KiB blobs up", "blobs/s", 1.5),
        ("small_down", "10 KiB blobs down", "blobs/s", 1.5),
    )
    for name, what, unit, multiple in rows:
        yield from _both(runs, f"{what}, official SDK", name, unit)
        ratios = [getattr(one.ours, name) / getattr(one.azurite, name) for one in runs.results]
        yield from_runs(QUESTION, f"{what}: times Azurite", "x", ratios, runs, must=multiple)
        limits = [getattr(one.client, name) for one in runs.results]
        yield from_runs(
            QUESTION, f"{what}: official SDK against a server that does nothing", unit, limits, runs
        )
        shares = [getattr(one.ours, name) / getattr(one.client, name) for one in runs.results]
        yield from_runs(QUESTION, f"{what}: share of the client's limit", "x", shares, runs)
        asked = [
            min(multiple * getattr(one.azurite, name), CLIENT_SHARE * getattr(one.client, name))
            for one in runs.results
        ]
        reached = [
            getattr(one.ours, name) / least for one, least in zip(runs.results, asked, strict=True)
        ]
        told = f"{what}: to {multiple:g} x Azurite or {CLIENT_SHARE:g} of the client's limit"
        yield from_runs(QUESTION, told, "x", reached, runs)
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


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """All parts, or those that were asked for."""
    parts = given.part or PARTS
    if "sdk" in parts:
        yield from sdk_figures(given)
    if "lean" in parts:
        yield from storage_limits.lean_figures(given)
    if "large" in parts:
        yield from storage_limits.large_figures(given)
    if "million" in parts:
        yield from storage_million.million_figures(given)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--part", action="append", choices=PARTS, help="only these figures")


if __name__ == "__main__":
    answer(__doc__, measure, add_options, runs=RUNS)
