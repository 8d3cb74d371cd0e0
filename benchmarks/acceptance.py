"""How many tasks a second does the server accept, durably, when nothing runs them?

100 a request, each request signed, several connections at once, to a pool without nodes: tasks as
programs send them (about 600 bytes) and as small as they get. Then with 5 ms added to each commit
(by a preloaded library, commits.py): requests must share commits. Then a job of a million tasks:
the rate of its last tenth against the first, the database's size, the server's memory.

    python benchmarks/acceptance.py [--tasks 100000] [--million 1000000] [--only PART]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from commits import watched_server
from figures import Figure, answer, from_runs, reference_count
from posting import CONNECTIONS, GROUP, TaskMaker, bare_task, post_tasks, usual_task
from processes import cpu_s, rss_bytes
from reference import Repeated, repeat
from service import make_job, make_pool

QUESTION = "acceptance"
WARM_TASKS = 2000
SLOW_US = 5000
MANY_CONNECTIONS = 16
TENTHS = 10


class Run(msgspec.Struct):
    """One run: seconds, the server's CPU a task in microseconds, commits, memory and file growth
    in bytes a task."""

    took_s: float
    cpu_us: float
    commits: int
    memory_bytes: float
    file_bytes: float


class Case(msgspec.Struct, frozen=True):
    """What is sent, and how."""

    what: str
    make: TaskMaker
    tasks: int
    connections: int = CONNECTIONS
    delay_us: int = 0
    must: float | None = None
    aim: float | None = None
    parts: int = 1


@contextmanager
def prepared(case: Case) -> Iterator[Callable[[], list[Run]]]:
    """A fresh service with a pool of no nodes; the run adds the tasks in parts of one length."""
    with watched_server(case.delay_us) as (server, commits):
        client = server.client()
        make_pool(client, "p", 0, 2)
        for job_id in ("warm", "j"):
            make_job(client, job_id, "p")
        client.close()
        post_tasks(server.ready, "warm", 0, WARM_TASKS, case.make, connections=case.connections)

        def add(first: int, count: int) -> Run:
            before = cpu_s([server.pid]), len(commits), rss_bytes(server.pid)
            file_bytes = server.database_bytes()
            took_s = post_tasks(
                server.ready, "j", first, count, case.make, connections=case.connections
            )
            return Run(
                took_s,
                1e6 * (cpu_s([server.pid]) - before[0]) / count,
                len(commits) - before[1],
                (rss_bytes(server.pid) - before[2]) / count,
                (server.database_bytes() - file_bytes) / count,
            )

        count = case.tasks // case.parts
        yield lambda: [add(first, count) for first in range(0, case.tasks, count)]


def acceptance(case: Case, given: argparse.Namespace) -> Iterator[Figure]:
    """Tasks a second, the server's CPU a task, and how many requests shared a commit."""
    kept = repeat(lambda: prepared(case), given.runs, **reference_count(given))
    runs = Repeated(
        [parts[0] for parts in kept.results], kept.references, kept.dropped, kept.is_quiet
    )
    requests = case.tasks / GROUP
    shared = [requests / max(one.commits, 1) for one in runs.results]
    cpu_us = [one.cpu_us for one in runs.results]
    yield from_runs(
        QUESTION,
        case.what,
        "tasks/s",
        [case.tasks / one.took_s for one in runs.results],
        runs,
        judged="ratio",
        must=case.must,
        aim=case.aim,
        note=f"server {sorted(cpu_us)[len(cpu_us) // 2]:.1f} µs of CPU a task",
    )
    what = f"requests in a commit, {case.what}"
    yield from_runs(QUESTION, what, "requests", shared, runs)


def million(given: argparse.Namespace) -> Iterator[Figure]:
    """A long job, once: does it stay flat, and what does it weigh?"""
    tasks = given.million or (20_000 if given.small else 1_000_000)
    case = Case("", usual_task, tasks, parts=TENTHS)
    kept = repeat(lambda: prepared(case), 1, **reference_count(given))
    tenths = kept.results[-1]
    rates = [tasks / TENTHS / one.took_s for one in tenths]
    one = Repeated([tenths], kept.references[-1:], kept.dropped, kept.is_quiet)
    shown = ", ".join(f"{rate:,.0f}" for rate in rates)
    whole = tasks / sum(part.took_s for part in tenths)
    name = f"{tasks:,} tasks in one job"
    yield from_runs(QUESTION, name, "tasks/s", [whole], one, note=f"by tenths: {shown}")
    flat = 100 * rates[-1] / rates[0]
    yield from_runs(
        QUESTION, f"{name}: rate of the last tenth to the first", "%", [flat], one, must=80.0
    )
    file_bytes = sum(part.file_bytes for part in tenths) / TENTHS
    memory_bytes = sum(part.memory_bytes for part in tenths) / TENTHS
    for what, value in (("database", file_bytes), ("server's memory", memory_bytes)):
        yield from_runs(
            QUESTION,
            f"{name}: the {what} grows by",
            "bytes a task",
            [value],
            one,
            better="less",
        )


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """All cases, or one."""
    tasks = given.tasks or (5000 if given.small else 100_000)
    many = f"{MANY_CONNECTIONS} connections"
    usual, small = "600-byte tasks, 4 connections", "smallest tasks, 4 connections"
    slow = f"{SLOW_US // 1000} ms a commit more"
    cases = {
        "usual": Case(usual, usual_task, tasks, must=7.0, aim=20.0),
        "smallest": Case(small, bare_task("/bin/true"), tasks, must=7.0, aim=20.0),
        "many": Case(f"600-byte tasks, {many}", usual_task, tasks, MANY_CONNECTIONS),
        "slow": Case(f"{usual}, {slow}", usual_task, tasks, delay_us=SLOW_US),
        "slow-many": Case(
            f"600-byte tasks, {many}, {slow}", usual_task, tasks, MANY_CONNECTIONS, SLOW_US
        ),
    }
    for name, case in cases.items():
        if given.only in (None, name):
            yield from acceptance(case, given)
    if given.only in (None, "million"):
        yield from million(given)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--million", type=int, help="tasks of the long job")
    parts = ["usual", "smallest", "many", "slow", "slow-many", "million"]
    parser.add_argument("--only", choices=parts)


if __name__ == "__main__":
    answer(__doc__, measure, add_options)
