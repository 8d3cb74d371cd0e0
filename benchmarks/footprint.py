"""How quickly does the service start, and what does it cost while it does nothing?

`lote serve` on a fresh folder and on one it knows, until the ready file is there; a pool of 2,
asked for until both nodes are idle; memory of the idle server and of one agent with its spawners;
processor time of an idle server and 4 idle agents.

    python benchmarks/footprint.py [--idle-s 60]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from figures import Figure, answer, from_runs, reference_count
from processes import cpu_s, family_bytes, own_processes, pss_bytes, rss_bytes
from reference import Repeated, repeat
from service import make_pool, running_server, stopped_server

QUESTION = "footprint"
SETTLE_S = 3.0
MIB = 1 << 20


class Start(msgspec.Struct):
    """Seconds of one service's life."""

    first_s: float
    pool_s: float
    stop_s: float
    again_s: float


class Memory(msgspec.Struct):
    """MiB of an idle service with one idle agent, and percent of a core with four."""

    server: float
    storage: float
    agent: float
    agent_pss: float
    idle: float
    idle_server: float
    idle_storage: float


@contextmanager
def start_prepared() -> Iterator[Callable[[], Start]]:
    """Folders, and nothing else."""
    with stopped_server() as server:

        def run() -> Start:
            server.start()
            first_s = server.ready_s
            client = server.client()
            began = time.monotonic()
            make_pool(client, "p", 2, 2)
            pool_s = time.monotonic() - began
            client.call("delete_pool", {"pool_id": "p"})
            client.close()
            stop_s = server.stop()
            server.start()
            return Start(first_s, pool_s, stop_s, server.ready_s)

        yield run


@contextmanager
def memory_prepared(idle_s: float) -> Iterator[Callable[[], Memory]]:
    """A service that was just started."""
    with running_server() as server:

        def run() -> Memory:
            time.sleep(SETTLE_S)  # what it does after its start is not idleness
            own = own_processes(server.pid)
            sizes = rss_bytes(own.server), sum(map(rss_bytes, own.storage))
            client = server.client()
            make_pool(client, "p", 1, 2)
            time.sleep(SETTLE_S)
            agent = own_processes(server.pid).agents[0]
            agent_sizes = family_bytes(agent), pss_bytes(agent)
            make_pool(client, "q", 3, 2)
            client.close()
            time.sleep(SETTLE_S)
            own = own_processes(server.pid)
            groups = [own.server], own.storage, own.agent_pids
            before = [cpu_s(pids) for pids in groups]
            began = time.monotonic()
            time.sleep(idle_s)
            length_s = time.monotonic() - began
            used = [
                100 * (cpu_s(pids) - spent) / length_s
                for pids, spent in zip(groups, before, strict=True)
            ]
            return Memory(
                sizes[0] / MIB, sizes[1] / MIB, *(size / MIB for size in agent_sizes),
                sum(used), used[0], used[1],
            )  # fmt: skip

        yield run


def starts(given: argparse.Namespace) -> Iterator[Figure]:
    """Times of starts."""
    runs = repeat(start_prepared, given.runs, **reference_count(given))

    def seconds(what: str, name: str, *gates: float | None) -> Figure:
        return _figure(what, "s", [getattr(one, name) for one in runs.results], runs, *gates)

    yield seconds("lote serve to ready, fresh folder", "first_s", 1.5, 0.7)
    yield seconds("lote serve to ready, known folder", "again_s", 1.5, 0.7)
    yield seconds("pool of 2 asked for to both idle", "pool_s", 2.0, 0.5)
    yield seconds("SIGTERM to ended", "stop_s")


def memory(given: argparse.Namespace) -> Iterator[Figure]:
    """Memory and idle CPU, over one service."""
    idle_s = given.idle_s or (3.0 if given.small else 60.0)
    runs = repeat(lambda: memory_prepared(idle_s), 1, **reference_count(given))

    def size(what: str, name: str, *gates: float | None) -> Figure:
        return _figure(what, "MiB", [getattr(one, name) for one in runs.results], runs, *gates)

    yield size("idle server", "server", 120.0, 70.0)
    yield size("idle storage process", "storage")
    yield size("one idle agent with its spawners", "agent", 60.0, 35.0)
    yield size("the same, shared pages by shares (PSS)", "agent_pss")
    idle = [one.idle for one in runs.results]
    shown = _figure("idle server, storage and 4 agents", "% of a core", idle, runs, 1.0)
    last = runs.results[-1]
    shown.note = f"server {last.idle_server:.2f}, storage {last.idle_storage:.2f}"
    yield shown


def _figure(
    what: str,
    unit: str,
    values: list[float],
    runs: Repeated,
    must: float | None = None,
    aim: float | None = None,
) -> Figure:
    return from_runs(QUESTION, what, unit, values, runs, better="less", must=must, aim=aim)


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """Starts, then memory."""
    yield from starts(given)
    yield from memory(given)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--idle-s", type=float, help="how long idleness is watched")


if __name__ == "__main__":
    answer(__doc__, measure, add_options)
