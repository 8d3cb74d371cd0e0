"""How many no-op tasks a second go from request to record, against bare process starts?

10,000 tasks of /bin/true go through REST, from the first request until taskcounts says that all
succeeded: by a lean client (100 a request, 4 connections) and by the official SDK's create_tasks;
on pools of 1 node x 2 slots and 2 x 1; the same with `sh -c`; and 2,000 x `sleep 0.1` on 16 slots.
Own CPU is that of the server and of agents with their spawners, without the tasks themselves.

    python benchmarks/end_to_end.py [--only PART]
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import msgspec
from figures import Figure, answer, from_runs, reference_count
from posting import bare_task, post_tasks
from processes import cpu_s, own_processes
from reference import Repeated, repeat
from service import Server, make_job, make_pool, running_server, wait_completed

QUESTION = "end to end"
WARM_TASKS = 200
SLEEP_S = 0.1


class Run(msgspec.Struct):
    """One run: seconds, and own CPU a task in microseconds."""

    took_s: float
    accepted_s: float
    server_us: float
    agents_us: float


class Case(msgspec.Struct, frozen=True):
    """What is run, where, and what it must reach."""

    what: str
    tasks: int
    nodes: int
    slots: int
    command: str
    client: Callable[[Server, Case], AbstractContextManager[Callable[[], None]]]
    must: float | None = None
    aim: float | None = None


@contextmanager
def lean_client(server: Server, case: Case) -> Iterator[Callable[[], None]]:
    """The leanest client there is."""
    yield lambda: submit_lean(server, "j", case.tasks, case.command)


def submit_lean(server: Server, job_id: str, tasks: int, command: str) -> None:
    """Add tasks by hand-made requests over four connections."""
    post_tasks(server.ready, job_id, 0, tasks, bare_task(command))


@contextmanager
def sdk_client(server: Server, case: Case) -> Iterator[Callable[[], None]]:
    """The official SDK in a process of its own, imported and its tasks made beforehand."""
    batch = server.ready.batch
    words = [sys.executable, __file__, "--as-sdk", batch.endpoint, batch.account, str(case.tasks)]
    program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdin is not None
    assert program.stdout is not None
    told, heard = program.stdin, program.stdout

    def tell(text: str, wanted: str) -> None:
        told.write(f"{text}\n")
        told.flush()
        if heard.readline().strip() != wanted:
            raise RuntimeError("the SDK's client failed")

    try:
        tell(f"{batch.key}\n{case.command}", "ready")
        yield lambda: tell("go", "accepted")
    finally:
        told.close()
        program.wait()
        heard.close()


def be_sdk(endpoint: str, account: str, tasks: int) -> None:
    """The program of ``sdk_client``: makes the tasks, and adds them in one call when told to."""
    from azure.batch import BatchClient
    from azure.batch.models import BatchTaskCreateOptions
    from azure.core.credentials import AzureNamedKeyCredential

    key, command = sys.stdin.readline().strip(), sys.stdin.readline().strip()
    client = BatchClient(endpoint, AzureNamedKeyCredential(account, key))
    made = [BatchTaskCreateOptions(id=f"t{n}", command_line=command) for n in range(tasks)]
    print("ready", flush=True)
    if sys.stdin.readline().strip() != "go":
        return
    result = client.create_tasks("j", made, max_concurrency=4)
    accepted = sum(one.status == "success" for one in result.result_values or [])
    print("accepted" if accepted == tasks else f"{accepted} of {tasks} accepted", flush=True)


def run_once(server: Server, case: Case, submit: Callable[[], None]) -> Run:
    """Submit and wait; the service, its pool and a warm job are there."""
    client = server.client()
    own = own_processes(server.pid)
    before = cpu_s([own.server]), cpu_s(own.agent_pids)
    began = time.monotonic()
    submit()
    accepted_s = time.monotonic() - began
    wait_completed(client, "j", case.tasks, within_s=600)
    took_s = time.monotonic() - began
    spent = cpu_s([own.server]) - before[0], cpu_s(own.agent_pids) - before[1]
    client.close()
    return Run(took_s, accepted_s, *(1e6 * one / case.tasks for one in spent))


@contextmanager
def prepared(case: Case) -> Iterator[Callable[[], Run]]:
    """A fresh service that has run a few tasks."""
    with running_server() as server:
        client = server.client()
        make_pool(client, "p", case.nodes, case.slots)
        make_job(client, "warm", "p")
        submit_lean(server, "warm", WARM_TASKS, "/bin/true")
        wait_completed(client, "warm", WARM_TASKS, within_s=60)
        make_job(client, "j", "p")
        client.close()
        with case.client(server, case) as submit:
            yield lambda: run_once(server, case, submit)


def throughput(case: Case, given: argparse.Namespace) -> Iterator[Figure]:
    """Tasks a second, and the own CPU of a task."""
    runs = repeat(lambda: prepared(case), given.runs, **reference_count(given))
    accepted = sorted(one.accepted_s for one in runs.results)[len(runs.results) // 2]
    yield from_runs(
        QUESTION,
        case.what,
        "tasks/s",
        [case.tasks / one.took_s for one in runs.results],
        runs,
        judged="ratio",
        must=case.must,
        aim=case.aim,
        note=f"all accepted after {accepted:.2f} s",
    )
    gates = (300.0, 220.0) if case.must is not None else (None, None)
    yield cpu_figure(f"own CPU of a task, {case.what}", runs, gates)


def cpu_figure(what: str, runs: Repeated[Run], gates: tuple[float | None, float | None]) -> Figure:
    """Own CPU of server and agents together."""
    middle = sorted(runs.results, key=lambda one: one.server_us + one.agents_us)
    shown = middle[len(middle) // 2]
    return from_runs(
        QUESTION,
        what,
        "µs",
        [one.server_us + one.agents_us for one in runs.results],
        runs,
        better="less",
        must=gates[0],
        aim=gates[1],
        note=f"server {shown.server_us:.0f}, agents {shown.agents_us:.0f}",
    )


def sleepers(given: argparse.Namespace) -> Iterator[Figure]:
    """Efficiency: the time that the sleeps alone take, by the time that it took."""
    tasks = 160 if given.small else 2000
    case = Case("", tasks, 1, 16, f"/bin/sleep {SLEEP_S}", lean_client)
    runs = repeat(lambda: prepared(case), given.runs, **reference_count(given))
    least_s = SLEEP_S * math.ceil(tasks / case.slots)
    yield from_runs(
        QUESTION,
        f"efficiency of {tasks:,} x sleep {SLEEP_S} on 16 slots",
        "%",
        [100 * least_s / one.took_s for one in runs.results],
        runs,
        must=97.0,
    )


def cases(given: argparse.Namespace) -> dict[str, Case]:
    """What goes through, by the names that ``--only`` takes."""
    tasks = given.tasks or (500 if given.small else 10_000)
    shown = f"{tasks:,} x true"
    lean, gates = "lean client, 1 node x 2 slots", (0.45, 0.60)
    return {
        "lean": Case(f"{shown}, {lean}", tasks, 1, 2, "/bin/true", lean_client, *gates),
        "two-nodes": Case(
            f"{shown}, lean client, 2 nodes x 1 slot", tasks, 2, 1, "/bin/true", lean_client, *gates
        ),
        "sdk": Case(
            f"{shown}, official SDK, 1 node x 2 slots", tasks, 1, 2, "/bin/true", sdk_client
        ),
        "shell": Case(
            f"{tasks:,} x sh -c true, {lean}", tasks, 1, 2, "/bin/sh -c true", lean_client
        ),
    }


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """All cases, or one."""
    for name, case in cases(given).items():
        if given.only in (None, name):
            yield from throughput(case, given)
    if given.only in (None, "sleep"):
        yield from sleepers(given)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--tasks", type=int)
    parser.add_argument("--only", choices=["lean", "two-nodes", "sdk", "shell", "sleep"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--as-sdk"]:
        be_sdk(*sys.argv[2:4], int(sys.argv[4]))
    else:
        answer(__doc__, measure, add_options)
