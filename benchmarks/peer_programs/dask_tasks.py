"""Dask distributed on this machine: two workers of one thread, each task a process."""

from __future__ import annotations

import subprocess

from dask.distributed import Client, LocalCluster
from told import obey


def run_process(number: int) -> int:
    return subprocess.run(["/bin/true"], check=False).returncode


def main() -> None:
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    client = Client(cluster)

    def run(tasks: int) -> None:
        if any(client.gather(client.map(run_process, range(tasks), pure=False))):
            raise SystemExit("a task failed")

    obey(run)
    client.close()
    cluster.close()


if __name__ == "__main__":  # the workers import this file
    main()
