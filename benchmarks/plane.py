"""How many requests a second does the data plane answer, and how many tasks a second does it list?

Each request is signed and its signature is checked. Single things are asked for on kept
connections, as official clients ask, and set against an application that does nothing on the same
stack (plane_null.py), which gets the very same bytes just before and just after. Then pages of
1,000 tasks, whole and of two members.

    python benchmarks/plane.py [--requests 10000] [--only PART]
"""

from __future__ import annotations

import argparse
import itertools
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from figures import Figure, answer
from posting import post_tasks, usual_task
from processes import cpu_s
from reference import DIFFERENCE_MAX
from service import Server, make_job, make_pool, running_server

from lote.cli.ready import Ready
from lote.cli.shared_key import authorization
from lote.wire.formats import format_http_date

QUESTION = "plane"
API_VERSION = "2025-06-01"  # what the official Python client 15.1 sends
CONNECTIONS = 4
PAGE = 1000
RECEIVE_BYTES = 1 << 20
# What the same client sends besides what is signed; the same number of headers as it has.
USUAL_HEADERS = (
    "accept: application/json\r\n"
    "client-request-id: 0e6e1e5c-c6a1-11f0-8de9-0242ac120002\r\n"
    "accept-encoding: gzip, deflate\r\n"
    "user-agent: azsdk-python-batch/15.1.0 Python/3.11 (Linux)\r\n"
    "connection: keep-alive\r\n"
)


class Rate(NamedTuple):
    """What one run gave: answers a second, the server's CPU for one in microseconds, its bytes."""

    rate: float
    cpu_us: float
    answer_bytes: float


class Case(NamedTuple):
    """What is asked for; ``tasks``: how many an answer lists (0: it is a single thing)."""

    what: str
    targets: Sequence[str]
    tasks: int = 0
    must: float | None = None
    aim: float | None = None


def signed(ready: Ready, target: str) -> bytes:
    """A whole GET."""
    batch = ready.batch
    headers = {"ocp-date": format_http_date(time.time_ns() // 1000)}
    value = authorization(batch.account, batch.key, "GET", target, headers)
    host = urlsplit(batch.endpoint).netloc
    return (
        f"GET {target} HTTP/1.1\r\nhost: {host}\r\n{USUAL_HEADERS}"
        f"ocp-date: {headers['ocp-date']}\r\nauthorization: {value}\r\n\r\n"
    ).encode()


def receive(connection: socket.socket) -> int:
    """Take one answer, which must be a success; the size of its body."""
    received = connection.recv(RECEIVE_BYTES)
    while (end := received.find(b"\r\n\r\n")) < 0:
        received += connection.recv(RECEIVE_BYTES) or _gone()
    if received[9:12] != b"200":
        raise RuntimeError(f"refused: {received[:500]!r}")
    begin = received.index(b"content-length: ") + 16
    size = int(received[begin : received.index(b"\r", begin)])
    left = end + 4 + size - len(received)
    while left > 0:
        left -= len(connection.recv(min(left, RECEIVE_BYTES)) or _gone())
    return size


def _gone() -> bytes:
    raise ConnectionError("the server closed the connection")


def drive(port: int, pid: int, requests: Sequence[bytes], count: int, connections: int) -> Rate:
    """Ask over some connections in turn, one request under way on each."""
    sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
    for one in sockets:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ask = itertools.cycle(requests)
    size = 0
    before = cpu_s([pid])
    began = time.perf_counter()
    for one in sockets:
        one.sendall(next(ask))
    for number in range(count):
        one = sockets[number % connections]
        size += receive(one)
        if number < count - connections:
            one.sendall(next(ask))
    took_s = time.perf_counter() - began
    spent_s = cpu_s([pid]) - before
    for one in sockets:
        one.close()
    return Rate(count / took_s, 1e6 * spent_s / count, size / count)


@contextmanager
def null_server() -> Iterator[tuple[int, int]]:
    """The port and the pid of an application that does nothing."""
    words = [sys.executable, str(Path(__file__).with_name("plane_null.py"))]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.communicate()


def against_null(server: Server, null: tuple[int, int], case: Case, count: int, runs: int):
    """Runs of one case, each between two of the empty application. Those whose two differ by more
    than 15 % are dropped, as long as others are left."""
    port = urlsplit(server.ready.batch.endpoint).port or 80
    kept: list[tuple[Rate, Rate]] = []
    dropped: list[tuple[Rate, Rate]] = []
    for _ in range(3 * runs):
        requests = [signed(server.ready, target) for target in case.targets]
        first = drive(*null, requests, count, CONNECTIONS)
        mine = drive(port, server.pid, requests, count, CONNECTIONS)
        last = drive(*null, requests, count, CONNECTIONS)
        empty = Rate(*((a + b) / 2 for a, b in zip(first, last, strict=True)))
        is_quiet = abs(first.rate - last.rate) <= DIFFERENCE_MAX * max(first.rate, last.rate)
        (kept if is_quiet else dropped).append((mine, empty))
        if len(kept) == runs:
            break
    return kept, dropped


def single(
    server: Server, null: tuple[int, int], case: Case, given: argparse.Namespace
) -> Iterator[Figure]:
    """Requests for one thing, as a ratio to the empty application."""
    count = given.requests or (500 if given.small else 10_000)
    kept, dropped = against_null(server, null, case, count, given.runs)
    used = kept or dropped
    cpu = statistics.median(mine.cpu_us for mine, _ in used)
    empty_cpu = statistics.median(empty.cpu_us for _, empty in used)
    rate, empty_rate = (statistics.median(pair[n].rate for pair in used) for n in (0, 1))
    yield Figure(
        QUESTION,
        f"{case.what}, to an empty application on the same stack",
        "of its requests/s",
        [mine.rate / empty.rate for mine, empty in used],
        must=case.must,
        aim=case.aim,
        dropped=len(dropped),
        is_quiet=bool(kept),
        note=f"{rate:,.0f} and {empty_rate:,.0f} requests/s, server's CPU"
        f" {cpu:.0f} and {empty_cpu:.0f} µs a request",
    )


def pages(server: Server, case: Case, given: argparse.Namespace) -> Iterator[Figure]:
    """Tasks a second in pages."""
    port = urlsplit(server.ready.batch.endpoint).port or 80
    count = 10 if given.small else 100
    runs = []
    for _ in range(given.runs):
        requests = [signed(server.ready, target) for target in case.targets]
        runs.append(drive(port, server.pid, requests, count, 2))
    cpu = statistics.median(one.cpu_us for one in runs) / case.tasks
    size = statistics.median(one.answer_bytes for one in runs) / case.tasks
    yield Figure(
        QUESTION,
        case.what,
        "tasks/s",
        [one.rate * case.tasks for one in runs],
        must=case.must,
        aim=case.aim,
        note=f"{size:,.0f} bytes and {cpu:.1f} µs of the server's CPU a task",
    )


def cases() -> Iterator[tuple[str, Case]]:
    """By name. The tasks asked for differ from one request to the next."""
    version = f"api-version={API_VERSION}"
    ids = [f"task-{number:06d}" for number in range(0, PAGE, 7)]
    tasks = [f"/jobs/j/tasks/{task_id}?{version}" for task_id in ids]
    yield "task", Case("one task", tasks, must=0.4)
    states = [f"{target}&$select=id,state" for target in tasks]
    yield "state", Case("one task, $select=id,state", states)
    yield "job", Case("one job", [f"/jobs/j?{version}"])
    yield "pool", Case("one pool", [f"/pools/p?{version}"])
    yield "counts", Case("taskcounts", [f"/jobs/j/taskcounts?{version}"])
    whole = f"/jobs/j/tasks?{version}&maxresults={PAGE}"
    yield "page", Case(f"pages of {PAGE:,} tasks", [whole], PAGE, 40_000, 80_000)
    selected = [f"{whole}&$select=id,state"]
    what = f"pages of {PAGE:,} tasks, $select=id,state"
    yield "selected", Case(what, selected, PAGE, 40_000, 160_000)


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """All cases, or one."""
    with running_server() as server, null_server() as null:
        client = server.client()
        make_pool(client, "p", 0, 2)
        make_job(client, "j", "p")
        client.close()
        post_tasks(server.ready, "j", 0, PAGE + 1, usual_task)
        for name, case in cases():
            if given.only not in (None, name):
                continue
            if case.tasks:
                yield from pages(server, case, given)
            else:
                yield from single(server, null, case, given)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--requests", type=int)
    parser.add_argument("--only", choices=[name for name, _ in cases()])


if __name__ == "__main__":
    answer(__doc__, measure, add_options)
