"""Parsl's HighThroughputExecutor on this machine: two workers, each task a process."""

from __future__ import annotations

import sys

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider
from told import obey

executor = HighThroughputExecutor(
    label="two",
    max_workers_per_node=2,
    address="127.0.0.1",
    encrypted=False,
    prefetch_capacity=100,
    provider=LocalProvider(init_blocks=1, max_blocks=1),
)
parsl.load(
    Config(
        run_dir=sys.argv[1],
        executors=[executor],
        strategy="none",
        initialize_logging=False,
        usage_tracking=0,
    )
)


@python_app
def run_process() -> int:
    import subprocess

    return subprocess.run(["/bin/true"], check=False).returncode


def run(tasks: int) -> None:
    if any(future.result() for future in [run_process() for _ in range(tasks)]):
        raise SystemExit("a task failed")


obey(run)
parsl.dfk().cleanup()
