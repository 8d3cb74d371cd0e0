"""How long does one no-op task take on an idle pool, from its request to `completed` readable?

200 tasks, one after another; the client asks for the task's state without pause.

    python benchmarks/latency.py [--count 200]
"""

from __future__ import annotations

import argparse
import statistics

from service import WORLD, client_of, make_job, make_pool, raw_spawn, running_service


def main() -> None:
    """Print median and tails in milliseconds, and the ratio to one bare process start."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args()
    with running_service() as (ready, _):
        client = client_of(ready)
        make_pool(client, "p", 1, 2)
        make_job(client, "j", "p")
        single_ms = 2000.0 / raw_spawn()
        took = []
        accepted = []
        for number in range(given.count):
            ids = {"job_id": "j", "task_id": f"t{number}"}
            began = WORLD.monotonic()
            client.call(
                "create_task",
                {"job_id": "j"},
                body={"id": f"t{number}", "commandLine": "/bin/true"},
            )
            accepted.append(1e3 * (WORLD.monotonic() - began))
            while client.get("get_task", ids, {"$select": "state"})["state"] != "completed":
                pass
            took.append(1e3 * (WORLD.monotonic() - began))
    took.sort()
    shown = {p: took[min(len(took) - 1, int(len(took) * p / 100))] for p in (50, 90, 99)}
    print(
        f"median {shown[50]:.2f} ms, p90 {shown[90]:.2f}, p99 {shown[99]:.2f}, max {took[-1]:.2f};"
        f" accepted after {statistics.median(accepted):.2f} ms;"
        f" {shown[50] / single_ms:.1f} times one bare process start ({single_ms:.2f} ms)"
    )


if __name__ == "__main__":
    main()
