"""How long does one no-op task take on an idle pool, from its request to `completed` readable?

200 tasks, one after another; the client asks for the task's state again and again. Where the time
goes is read off moments that exist anyway: the client's clock, the task's start and end times, and
the syncs of the database, which a preloaded library notes (commits.py). Placing happens in the
commit that accepts a task, so "committed" is "assigned" too, if a slot is free.

    python benchmarks/latency.py [--count 200] [--poll-us 0]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Iterator

import msgspec
from commits import Commit, Commits, watched_server
from figures import Figure, answer, percentile, reference_count
from reference import DIFFERENCE_MAX, REFERENCE_COUNT, raw_spawn
from service import make_job, make_pool

from lote.cli.client import BatchClient
from lote.wire.formats import parse_timestamp

QUESTION = "latency"
WARM_TASKS = 20
STAGES = (
    "request → its commit begins",
    "the commit (inserted, assigned, durable)",
    "committed → process started",
    "the process",
    "process ended → commit of its report begins",
    "the commit of the report",
    "reported → visible to the client",
)


class Moments(msgspec.Struct):
    """One task; microseconds since 1970."""

    requested_us: int
    answered_us: int
    visible_us: int
    started_us: int
    ended_us: int
    commits: list[Commit]

    @property
    def whole_ms(self) -> float:
        """From the request to `completed` readable."""
        return (self.visible_us - self.requested_us) / 1000

    def stages_ms(self) -> list[float] | None:
        """The stages, as STAGES names them; None if the commits cannot be told apart."""
        first = next((one for one in self.commits if one.began_us >= self.requested_us), None)
        reports = [one for one in self.commits if one.began_us >= self.ended_us]
        if first is None or not reports or first.ended_us > self.started_us:
            return None
        report = reports[0]
        path = [self.requested_us, *first, self.started_us, self.ended_us, *report, self.visible_us]
        return [(after - before) / 1000 for before, after in itertools.pairwise(path)]


def now_us() -> int:
    """The wall clock that the server dates with, too."""
    return time.time_ns() // 1000


def run_one(client: BatchClient, commits: Commits, task_id: str, poll_us: int) -> Moments:
    """Add a task and ask until it has completed."""
    ids, first = {"job_id": "j", "task_id": task_id}, len(commits)
    requested_us = now_us()
    client.call("create_task", {"job_id": "j"}, body={"id": task_id, "commandLine": "/bin/true"})
    answered_us = now_us()
    while client.get("get_task", ids, {"$select": "state"})["state"] != "completed":
        time.sleep(poll_us / 1e6)
    visible_us = now_us()
    facts = client.get("get_task", ids)["executionInfo"]
    return Moments(
        requested_us,
        answered_us,
        visible_us,
        parse_timestamp(facts["startTime"]),
        parse_timestamp(facts["endTime"]),
        commits.since(first),
    )


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """The whole, its tails, and its stages."""
    count = given.count or (20 if given.small else 200)
    processes = reference_count(given).get("reference_count", REFERENCE_COUNT)
    references = [raw_spawn(processes)]
    with watched_server() as (server, commits):
        client = server.client()
        make_pool(client, "p", 1, 2)
        make_job(client, "j", "p")
        found = [
            run_one(client, commits, f"t{number}", given.poll_us)
            for number in range(WARM_TASKS + count)
        ]
        client.close()
    references.append(raw_spawn(processes))
    yield from figures_of(found[WARM_TASKS:], references)


def figures_of(found: list[Moments], references: list[float]) -> Iterator[Figure]:
    """The whole with its tails, the answer, and the medians of the stages."""
    single_ms = 2000.0 / statistics.mean(references)  # one process on one of the two slots
    whole = [one.whole_ms for one in found]
    tails = ", ".join(f"p{p} {percentile(whole, p):.2f}" for p in (90, 99))
    shown = _figure("one task, request to completed readable", whole, references)
    shown.must, shown.aim = 10.0, 4.0
    shown.note = f"{tails}; {statistics.median(whole) / single_ms:.1f} bare process starts"
    yield shown
    answered = [(one.answered_us - one.requested_us) / 1000 for one in found]
    yield _figure("request to its answer", answered, references)
    stages = [one for one in (moments.stages_ms() for moments in found) if one is not None]
    if len(stages) < len(found) / 2:
        raise RuntimeError(f"the commits of {len(found) - len(stages)} tasks can't be told apart")
    for name, values in zip(STAGES, zip(*stages, strict=True), strict=True):
        yield _figure(f"stage: {name}", list(values), references)


def _figure(what: str, values: list[float], references: list[float]) -> Figure:
    is_quiet = abs(references[0] - references[1]) <= DIFFERENCE_MAX * max(references)
    return Figure(
        QUESTION, what, "ms", values, references=references, better="less", is_quiet=is_quiet
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--count", type=int)
    parser.add_argument(
        "--poll-us", type=int, default=0, help="pause between two looks of the client"
    )


if __name__ == "__main__":
    answer(__doc__, measure, add_options)
