"""How long does placement take, by what it decides? Needs no server.

The scheduler alone, on views of pools and jobs that it is given: 1,000 nodes of 16 slots with
100,000 ready tasks, the smallest pools, many jobs, and tasks that fit nowhere. A plan is only made,
unless a figure says that it is applied too.

    python benchmarks/place.py [--runs 5]
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable, Iterator

from figures import Figure, answer

from lote.scheduler.place import Plan, place
from lote.scheduler.view import ReadyTask, View

QUESTION = "place"
POOL, JOB = 1, 1
NODES, SLOTS, READY = 1000, 16, 100_000
ALL = 1_000_000  # more than any plan here has
FULL_MS_MAX, EVENT_MS_MAX = 50.0, 0.5

Measured = tuple[str, float, str]
"""Of one run: what, milliseconds, and what to say of it."""


def a_view(
    nodes: int, slots: int, ready: int, *, mean_run_s: float | None = None, jobs: int = 1
) -> View:
    """A pool of empty nodes and jobs with ``ready`` one-slot tasks in all."""
    view = View()
    view.add_pool(POOL, slots_per_node=slots)
    for key in range(1, nodes + 1):
        view.add_node(key, POOL, slots)
    for key in range(JOB, JOB + jobs):
        view.add_job(key, POOL, created_us=key, mean_run_s=mean_run_s)
        first = 1_000_000 * key
        tasks = [ReadyTask(first + number) for number in range(ready // jobs)]
        view.push_ready(key, tasks, more=False)
    return view


def fill(view: View) -> None:
    """Place until nothing more can be."""
    while plan := place(view, POOL, ALL):
        view.apply(plan)


def median_ms(run: Callable[[], object], repeats: int) -> float:
    """Median of single calls."""
    gc.collect()
    taken = []
    for _ in range(repeats):
        began = time.perf_counter_ns()
        run()
        taken.append(time.perf_counter_ns() - began)
    return statistics.median(taken) / 1e6


def one(view: View, repeats: int) -> tuple[float, Plan]:
    """``place`` on a view that stays as it is, and its plan."""
    return median_ms(lambda: place(view, POOL, ALL), repeats), place(view, POOL, ALL)


def assigned(plan: Plan) -> str:
    """How many tasks a plan gives to nodes."""
    return f"{len(plan.assignments):,} placements"


def large() -> Iterator[Measured]:
    """A thousand nodes of 16 slots and 100,000 ready tasks: all of it, then one event at a time."""
    pool = f"{NODES:,} nodes x {SLOTS} slots, {READY:,} ready"
    view = a_view(NODES, SLOTS, READY)
    took_ms, plan = one(view, 5)
    yield f"{pool}: full plan", took_ms, assigned(plan)
    yield f"{pool}: the full plan applied", median_ms(lambda: view.apply(plan), 1), ""
    held = {a.node_key: a.task_key for a in plan.assignments}
    yield f"{pool}: nothing to do", one(view, 2000)[0], ""
    view.release(NODES // 2, JOB, held[NODES // 2], 1)
    took_ms, plan = one(view, 2000)
    yield f"{pool}: one event, a task's end", took_ms, assigned(plan)
    yield f"{pool}: its plan applied", median_ms(lambda: view.apply(plan), 1), ""
    view.add_node(NODES + 1, POOL, SLOTS)
    took_ms, plan = one(view, 500)
    yield f"{pool}: one event, a node's coming", took_ms, assigned(plan)


def many_jobs() -> Iterator[Measured]:
    """Turns among 1,000 jobs."""
    pool = f"{NODES:,} nodes x {SLOTS} slots, 1,000 jobs"
    view = a_view(NODES, SLOTS, READY, jobs=1000)
    took_ms, plan = one(view, 3)
    yield f"{pool}: full plan", took_ms, assigned(plan)
    view.apply(plan)
    last = plan.assignments[-1]
    view.release(last.node_key, last.job_key, last.task_key, 1)
    took_ms, plan = one(view, 1000)
    yield f"{pool}: one event, a task's end", took_ms, assigned(plan)
    view = a_view(NODES, SLOTS, 2 * READY, mean_run_s=0.001, jobs=1000)
    fill(view)
    yield f"{pool} of quick tasks, backlogs full: nothing to do", one(view, 200)[0], ""


def nothing_fits() -> Iterator[Measured]:
    """The dear case: slots are open, and no task of any of the jobs fits them."""
    view = a_view(NODES, SLOTS, 0, jobs=1000)
    for key in list(view.nodes):
        view.occupy(key, JOB, key, 9)
    for key in view.jobs:
        tasks = [ReadyTask(1_000_000 * key + n, slots=8) for n in range(5)]
        view.push_ready(key, tasks, more=False)
    what = f"{NODES:,} nodes, 1,000 jobs, open slots that fit none: nothing to do"
    yield what, one(view, 50)[0], ""


def tiny() -> Iterator[Measured]:
    """Two nodes of one slot, the hot path of the smallest pool."""
    view = a_view(2, 1, 1000)
    took_ms, plan = one(view, 5000)
    yield "2 nodes x 1 slot: full plan", took_ms, assigned(plan)
    fill(view)
    yield "2 nodes x 1 slot: nothing to do", one(view, 5000)[0], ""
    view = a_view(2, 1, 1000, mean_run_s=0.002)
    fill(view)
    yield "2 nodes x 1 slot, backlogs full: nothing to do", one(view, 5000)[0], ""
    for key in list(view.nodes[1].backlog)[:15]:
        view.release(1, JOB, key, 1)
    took_ms, plan = one(view, 5000)
    yield "2 nodes x 1 slot: one backlog refilled", took_ms, assigned(plan)
    yield "2 nodes x 1 slot: all that one task costs the scheduler", *round_trip()


def round_trip(total: int = 20_000, batch: int = 20) -> tuple[float, str]:
    """Milliseconds of one task on the hot path: report, place, apply, refill."""
    view = a_view(2, 1, total, mean_run_s=0.0015)
    fill(view)
    began = time.perf_counter_ns()
    count = 0
    while view.jobs[JOB].placed:
        for node_key in (1, 2):
            node = view.nodes[node_key]
            for task_key in list(node.backlog)[:batch] or [0]:
                if not node.running and not node.backlog:
                    break
                view.release(node_key, JOB, task_key, 1)
                view.observe_run(JOB, 0.0015)
                count += 1
            plan = place(view, POOL)
            if plan:
                view.apply(plan)
    return (time.perf_counter_ns() - began) / 1e6 / count, f"{count:,} tasks"


def bounded(what: str) -> float | None:
    """What must be reached: a full plan of one job's tasks, and one event, in the large pool."""
    if not what.startswith(f"{NODES:,} nodes x"):
        return None
    if ": one event" in what or what.endswith("nothing to do"):
        return EVENT_MS_MAX
    return FULL_MS_MAX if what.endswith("ready: full plan") else None


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """Every part in every run, each on a view of its own."""
    for part in (large, many_jobs, nothing_fits, tiny):
        found: dict[str, list[float]] = {}
        notes: dict[str, str] = {}
        for _ in range(given.runs):
            for what, took_ms, note in part():
                found.setdefault(what, []).append(took_ms)
                notes[what] = note
        for what, values in found.items():
            must, note = bounded(what), notes[what]
            yield Figure(QUESTION, what, "ms", values, must=must, better="less", note=note)


if __name__ == "__main__":
    answer(__doc__, measure)
