"""What does a million queued tasks cost, and what still answers quickly?

A job of a million tasks that wait: the server's memory a task, pages and filters, taskcounts, a
restart (after SIGKILL and after SIGTERM) until it is ready and until the first task starts, and
the deletion of the job in the background while another client reads and writes.

    python benchmarks/million_queued.py [--tasks 1000000]
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from figures import SMALL_REFERENCE, Figure, answer, percentile
from posting import post_tasks, runnable_task
from processes import rss_bytes
from reference import DIFFERENCE_MAX, REFERENCE_COUNT, raw_spawn
from service import (
    Server,
    make_job,
    make_pool,
    running_server,
    task_counts,
    wait_completed,
    wait_until,
)

from lote.cli.client import BatchClient, BatchError
from lote.wire.filters import FILTERS
from lote.wire.formats import parse_timestamp

QUESTION = "a million queued"
LOOKS = 20
LOOKS_S_MAX = 10.0  # one slow filter does not hold up the others' figures
PROBE_S = 0.005
QUIET_PROBES = 200
DISPATCHED = 10  # tasks of the job that runs while the million wait

Yields = Iterator[Figure]


def filters(total: int) -> dict[str, str]:
    """A filter for each property that tasks can be filtered by: one that matches all of a waiting
    job, one that matches little, one that matches nothing."""
    middle = f"task-{total // 2:06d}"
    never = "DateTime'2999-01-01T00:00:00Z'"
    shown = {
        "id eq, one matches": f"id eq '{middle}'",
        "id startswith, a hundred match": f"startswith(id, '{middle[:-2]}')",
        "id gt, half match": f"id gt '{middle}'",
        "state eq active, all match": "state eq 'active'",
        "state ne active, none matches": "state ne 'active'",
        "state eq completed, none matches": "state eq 'completed'",
        "creationTime gt, none matches": f"creationTime gt {never}",
        "creationTime lt, all match": f"creationTime lt {never}",
        "lastModified gt, none matches": f"lastModified gt {never}",
        "stateTransitionTime gt, none matches": f"stateTransitionTime gt {never}",
        "startTime gt, none matches": "executionInfo/startTime gt DateTime'2000-01-01T00:00:00Z'",
        "endTime gt, none matches": "executionInfo/endTime gt DateTime'2000-01-01T00:00:00Z'",
        "exitCode ne 0, all match": "executionInfo/exitCode ne 0",
        "exitCode eq 1, none matches": "executionInfo/exitCode eq 1",
        "result eq failure, none matches": "executionInfo/result eq 'Failure'",
        "state and creationTime, none matches":
            f"state eq 'active' and creationTime gt {never}",
    }  # fmt: skip
    named = {name for name in FILTERS["tasks"] if any(name in text for text in shown.values())}
    missing = set(FILTERS["tasks"]) - named - {"lastModifiedTime"}
    if missing:
        raise RuntimeError(f"no filter for {', '.join(sorted(missing))}")
    return shown


def timed_ms(once: Callable[[], object], looks: int = LOOKS) -> list[float]:
    """Milliseconds of calls, one after another; fewer when they take long."""
    times: list[float] = []
    began = time.monotonic()
    while len(times) < looks and (not times or time.monotonic() - began < LOOKS_S_MAX):
        start = time.perf_counter()
        once()
        times.append(1e3 * (time.perf_counter() - start))
    return times


class Million:
    """A service with a job ``j`` of so many tasks that wait, and a pool ``p`` that has nodes.

    The job is disabled, so that nothing of it runs until it is enabled.
    """

    def __init__(self, server: Server, tasks: int) -> None:
        self.server = server
        self.tasks = tasks
        client = server.client()
        make_pool(client, "p", 1, 2)
        make_job(client, "other", "p")
        make_job(client, "j", "p")
        client.call("disable_job", {"job_id": "j"}, body={"disableTasks": "requeue"})
        self.before_bytes = rss_bytes(server.pid)
        self.took_s = post_tasks(server.ready, "j", 0, tasks, runnable_task)
        self.after_bytes = rss_bytes(server.pid)
        client.close()

    def memory(self) -> Yields:
        """Growth of the server's memory."""
        grown = (self.after_bytes - self.before_bytes) / self.tasks
        shown = one("the server's memory grows by", "bytes a task", [grown], 200.0, 20.0)
        shown.note = f"from {self.before_bytes >> 20} to {self.after_bytes >> 20} MiB"
        yield shown
        size = self.server.database_bytes() / self.tasks
        yield one("the database has", "bytes a task", [size])

    def reads(self) -> Yields:
        """Pages, filters, counts."""
        client = self.server.client()

        def page(query: Mapping[str, str]) -> dict[str, Any]:
            return client.get("list_tasks", {"job_id": "j"}, {"maxresults": "100", **query})

        yield one("first page of 100", "ms", timed_ms(lambda: page({})), 20.0, 5.0)
        selected = {"$select": "id,state"}
        yield one("the same, id and state only", "ms", timed_ms(lambda: page(selected)), 20.0, 5.0)
        middle = {"$filter": f"id gt 'task-{self.tasks // 2:06d}'"}
        yield one("a page from the middle", "ms", timed_ms(lambda: page(middle)), 20.0, 5.0)
        for name, text in filters(self.tasks).items():
            times = timed_ms(lambda text=text: page({"$filter": text}))
            yield one(f"page of 100 with filter {name}", "ms", times, 20.0, 5.0)
        looks = 10 * LOOKS
        counts = timed_ms(lambda: task_counts(client, "j"), looks)
        yield one("taskcounts", "ms", counts, 2.0, 1.0)
        client.close()

    def restarts(self, runs: int) -> Yields:
        """Until it is ready, and until the first of the waiting tasks starts."""
        for name, end in (("SIGKILL", self.server.kill), ("SIGTERM", self.server.stop)):
            ready: list[float] = []
            started: list[float] = []
            for _ in range(runs):
                end()
                self.server.start()
                ready.append(self.server.ready_s)
                started.append(self._first_start_s())
            yield one(f"restart after {name} to ready", "s", ready, 3.0, 1.0)
            yield one(f"restart after {name} to first task started", "s", started, 3.0, 1.0)

    def _first_start_s(self) -> float:
        """Enable the job, and see when the first task after the restart started."""
        client = self.server.client()
        done = task_counts(client, "j")["completed"]
        client.call("enable_job", {"job_id": "j"})
        wait_until(
            lambda: task_counts(client, "j")["completed"] > done, what="a task to run", poll_s=0.01
        )
        client.call("disable_job", {"job_id": "j"}, body={"disableTasks": "wait"})
        wait_until(
            lambda: client.get("get_job", {"job_id": "j"})["state"] == "disabled",
            what="the job to be disabled",
            poll_s=0.01,
        )
        began = f"DateTime'{utc(self.server.started_at)}'"
        query = {"$filter": f"executionInfo/startTime gt {began}", "$select": "executionInfo"}
        ran = client.get("list_tasks", {"job_id": "j"}, query)["value"]
        first_us = min(parse_timestamp(task["executionInfo"]["startTime"]) for task in ran)
        client.close()
        return first_us / 1e6 - self.server.started_at

    def deletion(self) -> Yields:
        """Delete the job; others read and write meanwhile."""
        client = self.server.client()
        quiet, busy = Probe(self.server), Probe(self.server)
        quiet.run_for(QUIET_PROBES)
        busy.begin()
        began = time.monotonic()
        client.call("delete_job", {"job_id": "j"})
        wait_until(lambda: is_gone(client), what="the job to be deleted", within_s=1800, poll_s=0.1)
        took_s = time.monotonic() - began
        busy.end()
        make_job(client, "after", "p")
        post_tasks(self.server.ready, "after", 0, DISPATCHED, runnable_task)
        wait_completed(client, "after", DISPATCHED, within_s=60)
        client.close()
        yield one("deletion of the job", "s", [took_s])
        for what, before, during in (
            ("reads", quiet.reads_ms, busy.reads_ms),
            ("writes", quiet.writes_ms, busy.writes_ms),
        ):
            shown = one(f"others' {what} during the deletion", "ms", during, 20.0)
            tails = ", ".join(f"p{p} {percentile(during, p):.1f}" for p in (90, 99))
            shown.note = f"{tails}; without it {statistics.median(before):.2f}"
            yield shown


class Probe:
    """Another client: a read and a write, a pause, and again."""

    def __init__(self, server: Server) -> None:
        self._client = server.client()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.reads_ms: list[float] = []
        self.writes_ms: list[float] = []

    def begin(self) -> None:
        """Go on until ``end``."""
        self._thread.start()

    def end(self) -> None:
        """Stop, and wait for it."""
        self._stop.set()
        self._thread.join()
        self._client.close()

    def run_for(self, count: int) -> None:
        """So many times, in this thread."""
        for _ in range(count):
            self._once()
        self._client.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._once()

    def _once(self) -> None:
        ids = {"job_id": "other"}
        priority = len(self.writes_ms) % 100
        self.reads_ms += timed_ms(lambda: task_counts(self._client, "other"), 1)
        change = {"priority": priority}
        self.writes_ms += timed_ms(lambda: self._client.call("update_job", ids, body=change), 1)
        self._stop.wait(PROBE_S)


def is_gone(client: BatchClient) -> bool:
    """Whether the job has been deleted."""
    try:
        client.get("get_job", {"job_id": "j"}, {"$select": "state"})
    except BatchError as error:
        return error.status == 404
    return False


def utc(seconds: float) -> str:
    """A moment of the wall clock, as the protocol writes it."""
    whole, fraction = divmod(int(seconds * 1e6), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{fraction:06d}Z"


def one(
    what: str, unit: str, values: list[float], must: float | None = None, aim: float | None = None
) -> Figure:
    """A figure of which less is better."""
    return Figure(QUESTION, what, unit, values, must=must, aim=aim, better="less")


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """All of it on one service, between two references."""
    tasks = given.tasks or (20_000 if given.small else 1_000_000)
    processes = SMALL_REFERENCE if given.small else REFERENCE_COUNT
    with running_server() as server:
        before = raw_spawn(processes)
        million = Million(server, tasks)
        figures = [
            *million.memory(),
            *million.reads(),
            *million.restarts(min(given.runs, 3)),
            *million.deletion(),
        ]
        after = raw_spawn(processes)
    for figure in figures:
        figure.what = f"{tasks:,} tasks: {figure.what}"
        figure.references = [(before + after) / 2]
        figure.is_quiet = abs(before - after) <= DIFFERENCE_MAX * max(before, after)
        yield figure


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--tasks", type=int)


if __name__ == "__main__":
    answer(__doc__, measure, add_options)
