"""How many no-op tasks a second go from request to record, against bare process starts?

10,000 tasks of /bin/true through REST by a lean client (100 a request), from the first request
until taskcounts says that all succeeded. Own CPU is that of the server and of agents with their
spawners. The reference is measured before and after; runs where it moved by more than 15 % are
marked.

    python benchmarks/end_to_end.py [--tasks 10000] [--runs 3] [--nodes 1] [--slots 2] [--command …]
"""

from __future__ import annotations

import argparse
import statistics
import threading

from service import WORLD, client_of, cpu_s, make_job, make_pool, own_processes, raw_spawn
from service import running_service as running

CONNECTIONS = 4


def submit(ready, job_id: str, tasks: int, command: str) -> None:
    """Add the tasks over four connections, 100 a request."""
    starts = list(range(0, tasks, 100))

    def work(mine: list[int]) -> None:
        client = client_of(ready)
        for first in mine:
            value = [
                {"id": f"t{number}", "commandLine": command}
                for number in range(first, min(first + 100, tasks))
            ]
            client.call("create_task_collection", {"job_id": job_id}, body={"value": value})
        client.close()

    threads = [
        threading.Thread(target=work, args=(starts[n::CONNECTIONS],)) for n in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Print a line a run, and the medians."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--nodes", type=int, default=1)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--command", default="/bin/true")
    given = parser.parse_args()
    ratios, costs = [], []
    pause = threading.Event()
    for number in range(given.runs):
        with running() as (ready, _):
            client = client_of(ready)
            make_pool(client, "p", given.nodes, given.slots)
            make_job(client, "warm", "p")
            submit(ready, "warm", 200, given.command)
            make_job(client, "j", "p")
            pause.wait(0.5)
            before = raw_spawn()
            pids = own_processes(ready.pid)
            own = {name: cpu_s(pids[name]) for name in ("server", "agents")}
            began = WORLD.monotonic()
            submit(ready, "j", given.tasks, given.command)
            accepted_s = WORLD.monotonic() - began
            while True:
                counts = client.get("get_job_task_counts", {"job_id": "j"})["taskCounts"]
                if counts["completed"] == given.tasks:
                    break
                pause.wait(0.02)
            took_s = WORLD.monotonic() - began
            own = {name: cpu_s(pids[name]) - own[name] for name in own}
            after = raw_spawn()
        reference = (before + after) / 2
        per_task = {name: 1e6 * seconds / given.tasks for name, seconds in own.items()}
        rate = given.tasks / took_s
        ratios.append(rate / reference)
        costs.append(sum(per_task.values()))
        moved = " (reference moved)" if abs(before - after) > 0.15 * reference else ""
        print(
            f"run {number + 1}: {rate:7.0f} tasks/s, ratio {rate / reference:.2f} to raw spawn"
            f" {reference:.0f}/s{moved}; accepted in {accepted_s:.2f} s; own CPU a task:"
            f" server {per_task['server']:.0f} us, agents {per_task['agents']:.0f} us;"
            f" failed {counts['failed']}",
            flush=True,
        )
    ratio, cost = statistics.median(ratios), statistics.median(costs)
    print(f"median ratio {ratio:.2f}, own CPU {cost:.0f} us a task")


if __name__ == "__main__":
    main()
