"""Ray on this machine: two CPUs, each task a process."""

from __future__ import annotations

import os
import subprocess

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from told import obey

ray.init(
    num_cpus=2,
    include_dashboard=False,
    log_to_driver=False,
    logging_level="ERROR",
    object_store_memory=256 << 20,
)


@ray.remote(num_cpus=1)
def run_process() -> int:
    return subprocess.run(["/bin/true"], check=False).returncode


def run(tasks: int) -> None:
    if any(ray.get([run_process.remote() for _ in range(tasks)])):
        raise SystemExit("a task failed")


obey(run)
ray.shutdown()
