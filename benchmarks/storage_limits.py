"""The storage process at its own limit: a client that costs next to nothing, and one huge blob."""

from __future__ import annotations

import argparse
import os
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import msgspec
from blob_accounts import Served, own_account, scratch
from blob_pump import Done, Request, Signer, ask_once, pump
from figures import Figure, from_runs, percentile, reference_count
from processes import cpu_s, peak_rss_bytes, rss_bytes
from reference import Repeated, repeat

QUESTION = "storage"
MIB = 1 << 20
GIB = 1 << 30
BLOCK_BYTES = 8 * MIB
SMALL_BYTES = 10 * 1024
CONNECTIONS = 16
TRANSFERS = 4
READERS = 16
WARM = 64


class Load(msgspec.Struct):
    """What became of some requests: seconds in all and of each, the server's processor time."""

    spent_s: float
    cpu_s: float
    answers: list[Done]

    @property
    def median_ms(self) -> float:
        """Of a request."""
        return 1000 * percentile([one[0] for one in self.answers], 50)

    @property
    def tail_ms(self) -> float:
        """99 of 100 requests took no longer."""
        return 1000 * percentile([one[0] for one in self.answers], 99)

    @property
    def each_us(self) -> float:
        """Processor time of the server, a request."""
        return 1e6 * self.cpu_s / len(self.answers)


def load(served: Served, requests: Iterable[Request], connections: int) -> Load:
    """Send these requests and look what it costs."""
    before, began = cpu_s([served.pid]), time.monotonic()
    done = pump(served, requests, connections)
    return Load(time.monotonic() - began, cpu_s([served.pid]) - before, done)


def make_box(signer: Signer, served: Served, name: str = "box") -> None:
    """A container."""
    ask_once(served, signer.request("PUT", f"/{name}", {"restype": "container"}))


def block_puts(signer: Signer, path: str, block: bytes, count: int) -> Iterator[Request]:
    """Put Block, one after another; each is signed when it is its turn."""
    for number in range(count):
        query = {"comp": "block", "blockid": block_id(number)}
        yield signer.request("PUT", path, query, block)


def block_list(signer: Signer, path: str, count: int) -> Request:
    """Put Block List of those."""
    rows = "".join(f"<Latest>{block_id(number)}</Latest>" for number in range(count))
    body = f"<BlockList>{rows}</BlockList>".encode()
    return signer.request("PUT", path, {"comp": "blocklist"}, body)


def block_id(number: int) -> str:
    """All of one length."""
    return b64encode(f"{number:06}".encode()).decode()


def range_gets(signer: Signer, path: str, count: int) -> Iterator[Request]:
    """A blob of so many blocks, a block at a time."""
    for number in range(count):
        yield signer.get(path, number * BLOCK_BYTES, (number + 1) * BLOCK_BYTES - 1)


class Lean(msgspec.Struct):
    """One run."""

    small_up: Load
    small_over: Load
    small_down: Load
    up: float
    down: float
    readers: float


@contextmanager
def lean_prepared(given: argparse.Namespace) -> Iterator[Callable[[], Lean]]:
    """A fresh account."""
    count, blocks = (500, 4) if given.small else (8000, 32)
    whole = (8 if given.small else 64) * MIB
    with scratch() as folder, own_account(folder) as served:
        signer = Signer(served)
        make_box(signer, served)
        content, block = os.urandom(SMALL_BYTES), os.urandom(BLOCK_BYTES)
        ask_once(served, signer.put("/box/whole", block * (whole // BLOCK_BYTES)))

        def run() -> Lean:
            paths = [f"/box/small/{number:06}" for number in range(count)]
            pump(served, [signer.put(f"/box/warm/{n}", content) for n in range(WARM)], CONNECTIONS)
            up = load(served, [signer.put(path, content) for path in paths], CONNECTIONS)
            over = load(served, [signer.put(path, content) for path in paths], CONNECTIONS)
            down = load(served, [signer.get(path) for path in paths], CONNECTIONS)
            began = time.monotonic()
            pump(served, block_puts(signer, "/box/big", block, blocks), TRANSFERS)
            ask_once(served, block_list(signer, "/box/big", blocks))
            big_up = blocks * BLOCK_BYTES / MIB / (time.monotonic() - began)
            big_down = load(served, range_gets(signer, "/box/big", blocks), TRANSFERS)
            readers = load(served, [signer.get("/box/whole")] * READERS, READERS)
            return Lean(
                up, over, down, big_up, _mib(big_down) / big_down.spent_s,
                _mib(readers) / readers.spent_s,
            )  # fmt: skip

        yield run


def lean_figures(given: argparse.Namespace) -> Iterator[Figure]:
    """Rates of the server alone."""
    runs = repeat(lambda: lean_prepared(given), given.runs, **reference_count(given))
    rows = (
        ("small_up", "10 KiB blobs up, durable"),
        ("small_over", "10 KiB blobs up over older ones, durable"),
        ("small_down", "10 KiB blobs down"),
    )
    for name, what in rows:
        loads: list[Load] = [getattr(one, name) for one in runs.results]
        rates = [len(one.answers) / one.spent_s for one in loads]
        last = loads[-1]
        note = f"median {last.median_ms:.1f} ms, p99 {last.tail_ms:.1f}"
        label = f"{what}, lean client, {CONNECTIONS} connections"
        yield from_runs(QUESTION, label, "blobs/s", rates, runs, note=note)
        cost = [one.each_us for one in loads]
        yield _less(f"own CPU of a request: {what}", "us", cost, runs)
    size = "32 MiB" if given.small else "256 MiB"
    for name, what in (("up", f"{size} up"), ("down", f"{size} down")):
        rates = [getattr(one, name) for one in runs.results]
        label = f"{what}, lean client, {TRANSFERS} connections, 8 MiB blocks"
        yield from_runs(QUESTION, label, "MiB/s", rates, runs)
    whole = "8 MiB" if given.small else "64 MiB"
    rates = [one.readers for one in runs.results]
    yield from_runs(QUESTION, f"{READERS} readers of one blob of {whole}", "MiB/s", rates, runs)


class Large(msgspec.Struct):
    """MiB/s, and how much the server's memory grew at most, in MiB."""

    up: float
    down: float
    grown_up: float
    grown: float


@contextmanager
def large_prepared(given: argparse.Namespace) -> Iterator[Callable[[], Large]]:
    """A fresh account for one huge blob."""
    blocks = (64 * MIB if given.small else 4 * GIB) // BLOCK_BYTES
    with scratch() as folder, own_account(folder) as served:
        signer = Signer(served)
        make_box(signer, served)
        block = os.urandom(BLOCK_BYTES)
        pump(served, block_puts(signer, "/box/warm", block, TRANSFERS), TRANSFERS)

        def run() -> Large:
            before = rss_bytes(served.pid)
            began = time.monotonic()
            pump(served, block_puts(signer, "/box/huge", block, blocks), TRANSFERS)
            ask_once(served, block_list(signer, "/box/huge", blocks))
            up_s = time.monotonic() - began
            after_up = peak_rss_bytes(served.pid)
            down = load(served, [signer.get("/box/huge")], 1)
            peak = peak_rss_bytes(served.pid)
            mib = blocks * BLOCK_BYTES / MIB
            return Large(
                mib / up_s, mib / down.spent_s, (after_up - before) / MIB, (peak - before) / MIB
            )

        yield run


def large_figures(given: argparse.Namespace) -> Iterator[Figure]:
    """One huge blob, once: it must not show in the server's memory."""
    runs = repeat(lambda: large_prepared(given), 1, **reference_count(given))
    what = "64 MiB" if given.small else "4 GiB"
    last = runs.results[-1]
    yield from_runs(QUESTION, f"{what} up in 8 MiB blocks", "MiB/s", [last.up], runs)
    yield from_runs(QUESTION, f"{what} down in one request", "MiB/s", [last.down], runs)
    label = f"memory of the process: peak growth, {what} up and down"
    note = f"{last.grown_up:.0f} after the upload"
    yield _less(label, "MiB", [last.grown], runs, must=64.0, note=note)


def _mib(one: Load) -> float:
    return sum(size for _, size in one.answers) / MIB


def _less(what: str, unit: str, values: list[float], runs: Repeated, **more: object) -> Figure:
    return from_runs(QUESTION, what, unit, values, runs, better="less", **more)
