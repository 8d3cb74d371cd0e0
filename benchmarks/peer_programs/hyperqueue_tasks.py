"""HyperQueue as its Python package has it: server, worker and client in this process."""

from __future__ import annotations

import sys
import time
from typing import Any

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig
from told import obey

LOOK_S = 0.001  # the package's own wait looks once a second


class Looked(Exception):
    """The state of a job was seen."""


with LocalCluster() as cluster:
    cluster.start_worker(WorkerConfig(cores=2))
    client = cluster.client()

    def look(job_id: int) -> dict[str, Any]:
        """The job's counters; its wait shows them first, so that is left at once."""
        seen: dict[int, dict[str, Any]] = {}

        def show(jobs: dict[int, dict[str, Any]]) -> None:
            seen.update(jobs)
            raise Looked

        try:
            client.connection.wait_for_jobs([job_id], show)
        except Looked:
            return seen[job_id]
        return {"completed": True, "failed": 0}

    def run(tasks: int) -> None:
        job = Job(default_workdir=sys.argv[1])
        for _ in range(tasks):
            job.program(["/bin/true"], stdout=None, stderr=None)
        submitted = client.submit(job)
        while not (state := look(submitted.id))["completed"]:
            time.sleep(LOOK_S)
        if state["failed"]:
            raise SystemExit("a task failed")
        client.forget(submitted)

    obey(run)
