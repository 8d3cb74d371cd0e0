"""How long does placement take, by what it decides? Prints microseconds; needs no server.

    python benchmarks/place.py

The budgets are those the scheduler was built to; some figures have none.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable

from lote.scheduler.place import Plan, place
from lote.scheduler.view import ReadyTask, View

POOL, JOB = 1, 1


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
    while plan := place(view, POOL, limit=1_000_000):
        view.apply(plan)


def median_us(run: Callable[[], object], repeats: int) -> float:
    """Median of single calls, in microseconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - start)
    return statistics.median(times) / 1000


def one(view: View, repeats: int) -> tuple[float, Plan]:
    """Median of ``place`` on a view that stays as it is, and its plan."""
    return median_us(lambda: place(view, POOL, limit=1_000_000), repeats), place(view, POOL)


def show(name: str, us: float, budget_us: float | None, note: str = "") -> None:
    """One line of the report."""
    budget = "" if budget_us is None else f"budget {budget_us:.0f}"
    verdict = "OVER" if budget_us is not None and us > budget_us else ""
    print(f"{name:<58}{us:>10.2f} us   {budget:<14}{verdict:<6}{note}")


def tiny() -> None:
    """Two nodes of one slot, the hot path of the smallest pool."""
    view = a_view(2, 1, 1000)
    us, plan = one(view, 5000)
    show("tiny pool: assigns 2 of 1,000", us, 15, f"{len(plan.assignments)} assigned")
    fill(view)
    us, plan = one(view, 5000)
    show("tiny pool: nothing to do", us, 3, f"{len(plan.assignments)} assigned")
    view = a_view(2, 1, 1000, mean_run_s=0.002)
    fill(view)
    us, plan = one(view, 5000)
    show("tiny pool, backlogs full: nothing to do", us, 3, f"{len(plan.assignments)} assigned")
    done = list(view.nodes[1].backlog)[:15]
    for key in done:
        view.release(1, JOB, key, 1)
    us, plan = one(view, 5000)
    show("tiny pool: refills one backlog", us, None, f"{len(plan.assignments)} assigned")


def round_trip() -> None:
    """All the scheduler costs a task on the hot path: reports, place, apply, refill."""
    total, batch = 20_000, 20
    view = a_view(2, 1, total, mean_run_s=0.0015)
    fill(view)
    start = time.perf_counter_ns()
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
    us = (time.perf_counter_ns() - start) / 1000 / count
    show("tiny pool: everything, a task of no-op work", us, None, f"{count} tasks")


def large() -> None:
    """A thousand nodes of 16 slots and 100,000 ready tasks."""
    view = a_view(1000, 16, 100_000)
    us, plan = one(view, 5)
    show("1,000 x 16: full plan", us, 50_000, f"{len(place(view, POOL, 10**6).assignments)}")
    gc.collect()
    plan = place(view, POOL, limit=1_000_000)
    us = median_us(lambda: view.apply(plan), 1)
    show("1,000 x 16: apply the full plan", us, None)
    held = {a.node_key: a.task_key for a in plan.assignments}
    us, _ = one(view, 2000)
    show("1,000 x 16: nothing to do", us, 500)
    view.release(500, JOB, held[500], 1)
    us, plan = one(view, 2000)
    show("1,000 x 16: one event", us, 500, f"{len(plan.assignments)} assigned")
    us = median_us(lambda: view.apply(plan), 1)
    show("1,000 x 16: apply one event", us, None)


def many_jobs() -> None:
    """Turns among 1,000 jobs."""
    view = a_view(1000, 16, 100_000, jobs=1000)
    plan = place(view, POOL, limit=1_000_000)
    us, _ = one(view, 3)
    show("1,000 x 16, 1,000 jobs: full plan", us, None, f"{len(plan.assignments)}")
    view.apply(plan)
    last = plan.assignments[-1]
    view.release(last.node_key, last.job_key, last.task_key, 1)
    us, plan = one(view, 1000)
    show("1,000 x 16, 1,000 jobs: one event", us, 500, f"{len(plan.assignments)} assigned")
    view = a_view(1000, 16, 200_000, mean_run_s=0.001, jobs=1000)
    fill(view)
    us, plan = one(view, 200)
    show("1,000 quick jobs, backlogs full: nothing to do", us, 500)


def nothing_fits() -> None:
    """The dear case: slots are open, and no task of any of the jobs fits them."""
    view = a_view(1000, 16, 0, jobs=1000)
    for key in list(view.nodes):
        view.occupy(key, JOB, key, 9)
    for key in view.jobs:
        view.push_ready(
            key, [ReadyTask(1_000_000 * key + n, slots=8) for n in range(5)], more=False
        )
    us, _ = one(view, 50)
    show("1,000 jobs, open slots that fit none: nothing to do", us, None)


if __name__ == "__main__":
    tiny()
    round_trip()
    large()
    many_jobs()
    nothing_fits()
