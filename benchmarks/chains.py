"""How quickly do tasks follow those that they depend on?

A chain: 1,000 no-op tasks, each of which waits for the one before, on a real agent through REST.
A fan: one task that 10,000 others wait for, by its id or by a range of ids. The time from the end
of its process until the record has all of them ready to be placed is looked up in the database,
and another client, which reads and writes all the while, notes how long its requests were held up.

    python benchmarks/chains.py [--only PART]
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial

import msgspec
from figures import Figure, answer, from_runs, percentile, reference_count
from posting import bare_task, post_tasks
from processes import cpu_s, own_processes
from reference import Repeated, repeat
from service import Server, make_job, make_pool, running_server, wait_completed, wait_until

from lote.cli.client import BatchClient
from lote.store.database import Connection, open_reader
from lote.store.records import BLOCKED, COMPLETED
from lote.wire.formats import parse_timestamp

QUESTION = "chains"
WARM_TASKS = 100
QUIET_S = 0.5
AROUND_S = 0.05  # before and after the release that others' requests are looked at
LINK_MS_MAX, LINK_MS_AIM = 8.0, 4.0
RELEASE_S_MAX = 0.5

TaskMaker = Callable[[int], bytes]


class ChainRun(msgspec.Struct):
    """Milliseconds and own CPU (µs) of a link, and how many bare process starts it is worth."""

    link_ms: float
    server_us: float
    agents_us: float


class FanRun(msgspec.Struct):
    """Seconds from the end of the task that all wait for; milliseconds of another's requests."""

    ready_s: float
    all_s: float
    accepted_s: float
    reads_ms: list[float]
    writes_ms: list[float]
    quiet_reads_ms: float
    quiet_writes_ms: float


def link(number: int) -> bytes:
    """Waits for the task before it."""
    waits = b',"dependsOn":{"taskIds":["t%d"]}' % (number - 1) if number else b""
    return b'{"id":"t%d","commandLine":"/bin/true"%b}' % (number, waits)


def child_by_id(number: int) -> bytes:
    """Waits for task 1, by its id."""
    return b'{"id":"c%d","commandLine":"/bin/true","dependsOn":{"taskIds":["1"]}}' % number


def child_by_range(number: int) -> bytes:
    """Waits for task 1, by a range of ids."""
    waits = b'{"taskIdRanges":[{"start":1,"end":1}]}'
    return b'{"id":"c%d","commandLine":"/bin/true","dependsOn":%b}' % (number, waits)


@contextmanager
def warm_server() -> Iterator[Server]:
    """A service with a node of two slots that has run a few tasks, and a disabled job ``j``."""
    with running_server() as server:
        client = server.client()
        make_pool(client, "p", 1, 2)
        make_job(client, "other", "p")
        post_tasks(server.ready, "other", 0, WARM_TASKS, bare_task("/bin/true"))
        wait_completed(client, "other", WARM_TASKS, within_s=60)
        body = {"id": "j", "poolInfo": {"poolId": "p"}, "usesTaskDependencies": True}
        client.call("create_job", body=body)
        client.call("disable_job", {"job_id": "j"}, body={"disableTasks": "requeue"})
        wait_until(lambda: job_state(client) == "disabled", what="the job to be disabled")
        client.close()
        yield server


def job_state(client: BatchClient) -> str:
    """Of the job ``j``."""
    return str(client.get("get_job", {"job_id": "j"}, {"$select": "state"})["state"])


# -- a chain --------------------------------------------------------------------------------


@contextmanager
def chained(tasks: int) -> Iterator[Callable[[], ChainRun]]:
    """A chain that waits for its job to be enabled."""
    with warm_server() as server:
        post_tasks(server.ready, "j", 0, tasks, link, connections=1)
        yield partial(run_chain, server, tasks)


def run_chain(server: Server, tasks: int) -> ChainRun:
    """Enable the job, and wait for the last link."""
    client = server.client()
    own = own_processes(server.pid)
    before = cpu_s([own.server]), cpu_s(own.agent_pids)
    began = time.monotonic()
    client.call("enable_job", {"job_id": "j"})
    wait_completed(client, "j", tasks, within_s=120)
    took_s = time.monotonic() - began
    spent = cpu_s([own.server]) - before[0], cpu_s(own.agent_pids) - before[1]
    check_order(client)
    client.close()
    return ChainRun(1e3 * took_s / tasks, *(1e6 * one / tasks for one in spent))


def check_order(client: BatchClient) -> None:
    """No link may have begun before the one it waits for had ended."""
    facts = {
        task["id"]: task["executionInfo"] for task in client.each("list_tasks", {"job_id": "j"})
    }
    for number in range(1, len(facts)):
        ended = parse_timestamp(facts[f"t{number - 1}"]["endTime"])
        if parse_timestamp(facts[f"t{number}"]["startTime"]) < ended:
            raise RuntimeError(f"task t{number} began before t{number - 1} had ended")


def chain(given: argparse.Namespace) -> Iterator[Figure]:
    """What a link takes."""
    tasks = given.tasks or (100 if given.small else 1000)
    runs = repeat(lambda: chained(tasks), min(given.runs, 3), **reference_count(given))
    starts = statistics.median(
        one.link_ms * reference / 2000
        for one, reference in zip(runs.results, runs.references, strict=True)
    )
    cpu = statistics.median(one.server_us for one in runs.results)
    agents = statistics.median(one.agents_us for one in runs.results)
    yield from_runs(
        QUESTION,
        f"a link of a chain of {tasks:,} tasks",
        "ms",
        [one.link_ms for one in runs.results],
        runs,
        better="less",
        must=LINK_MS_MAX,
        aim=LINK_MS_AIM,
        note=f"{starts:.1f} bare process starts; own CPU: server {cpu:.0f}, agent {agents:.0f} µs",
    )


# -- a fan ----------------------------------------------------------------------------------


class Onlooker:
    """Another client: a read and a write in turn, without pause; remembers when and how long."""

    def __init__(self, server: Server) -> None:
        self._client = server.client()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._failure: BaseException | None = None
        self._reads: list[tuple[float, float]] = []
        self._writes: list[tuple[float, float]] = []

    def begin(self) -> None:
        """Go on until ``end``."""
        self._thread.start()

    def end(self) -> None:
        """Stop, and wait for it."""
        self._stop.set()
        self._thread.join()
        self._client.close()
        if self._failure is not None:
            raise self._failure

    def between(self, first: float, last: float) -> tuple[list[float], list[float]]:
        """(reads, writes) under way between two moments of the wall clock, in milliseconds."""
        reads, writes = (
            [1e3 * (ended - began) for began, ended in found if ended >= first and began <= last]
            for found in (self._reads, self._writes)
        )
        return reads, writes

    def _run(self) -> None:
        ids = {"job_id": "other"}
        try:
            while not self._stop.is_set():
                first = time.time()
                self._client.get("get_job_task_counts", ids)
                middle = time.time()
                priority = len(self._writes) % 100
                self._client.call("update_job", ids, body={"priority": priority})
                self._reads.append((first, middle))
                self._writes.append((middle, time.time()))
        except BaseException as error:  # told by ``end``, in the thread that asked
            self._failure = error


@contextmanager
def fanned(tasks: int, child: TaskMaker) -> Iterator[Callable[[], FanRun]]:
    """A task and those that wait for it; their job waits to be enabled."""
    with warm_server() as server:
        client = server.client()
        client.call("create_task", {"job_id": "j"}, body={"id": "1", "commandLine": "/bin/true"})
        client.close()
        accepted_s = post_tasks(server.ready, "j", 0, tasks, child)
        yield partial(run_fan, server, tasks, accepted_s)


def run_fan(server: Server, tasks: int, accepted_s: float) -> FanRun:
    """Enable the job, and see when all are ready, and when all have run."""
    client, onlooker = server.client(), Onlooker(server)
    onlooker.begin()
    try:
        quiet = time.time()
        time.sleep(QUIET_S)
        enabled = time.time()
        client.call("enable_job", {"job_id": "j"})
        with closing(open_reader(server.database)) as db:
            wait_until(lambda: are_ready(db), what=f"{tasks} tasks to be ready")
        ready = time.time()
        wait_completed(client, "j", tasks + 1, within_s=120)
        over = time.time()
    finally:
        onlooker.end()
    facts = client.get("get_task", {"job_id": "j", "task_id": "1"})["executionInfo"]
    ended = parse_timestamp(facts["endTime"]) / 1e6
    client.close()
    quiet_reads, quiet_writes = onlooker.between(quiet, enabled)
    reads, writes = onlooker.between(ended - AROUND_S, ready + AROUND_S)
    return FanRun(
        ready - ended,
        over - ended,
        accepted_s,
        reads,
        writes,
        statistics.median(quiet_reads),
        statistics.median(quiet_writes),
    )


def are_ready(db: Connection) -> bool:
    """Whether the record has the end of task 1, and nothing that waits for it any more."""
    of_job = "(SELECT key FROM job WHERE id = 'j')"
    row = db.execute(f"SELECT phase FROM task WHERE job_key = {of_job} AND id = '1'").fetchone()
    waiting = f"SELECT 1 FROM task WHERE job_key = {of_job} AND phase = {BLOCKED} LIMIT 1"
    return row[0] == COMPLETED and db.execute(waiting).fetchone() is None


def fan(given: argparse.Namespace, shown: str, child: TaskMaker) -> Iterator[Figure]:
    """What the release of many takes, and what it costs others."""
    tasks = given.tasks or (500 if given.small else 10_000)
    what = f"{tasks:,} tasks that wait for one, by {shown}"
    runs = repeat(lambda: fanned(tasks, child), min(given.runs, 3), **reference_count(given))
    accepted = statistics.median(tasks / one.accepted_s for one in runs.results)
    yield _figure(
        f"{what}: from its end until all are ready",
        "s",
        [one.ready_s for one in runs.results],
        runs,
        must=RELEASE_S_MAX,
        note=f"accepted at {accepted:,.0f} tasks/s",
    )
    for name, during, quiet in (
        ("reads", [one.reads_ms for one in runs.results], "quiet_reads_ms"),
        ("writes", [one.writes_ms for one in runs.results], "quiet_writes_ms"),
    ):
        usual = statistics.median(getattr(one, quiet) for one in runs.results)
        every = [ms for found in during for ms in found]
        yield _figure(
            f"{what}: the longest that others' {name} were held up meanwhile",
            "ms",
            [max(found) for found in during],
            runs,
            note=f"median {statistics.median(every):.1f}, p90 {percentile(every, 90):.1f},"
            f" before it {usual:.2f}",
        )
    rates = [tasks / one.all_s for one in runs.results]
    yield from_runs(QUESTION, f"{what}: all of them run", "tasks/s", rates, runs)


def _figure(
    what: str, unit: str, values: list[float], runs: Repeated[FanRun], **more: object
) -> Figure:
    return from_runs(QUESTION, what, unit, values, runs, better="less", **more)


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """All parts, or one."""
    if given.only in (None, "chain"):
        yield from chain(given)
    if given.only in (None, "fan"):
        yield from fan(given, "its id", child_by_id)
    if given.only in (None, "range"):
        yield from fan(given, "a range of ids", child_by_range)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--only", choices=["chain", "fan", "range"])


if __name__ == "__main__":
    answer(__doc__, measure, add_options)
