"""A client that counts what was acknowledged, and says what of it is missing."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import threading
from copy import copy
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
from harness import Container, Json, Lote

from lote.cli.client import BatchClient, BatchError, Unreachable
from lote.cli.ready import account_of

TASKS = 5  # added together
BLOB_BYTES = (100, 40_000, 200_000)
INLINE_BYTES_MAX = 65_536  # of blobs that the storage keeps in rows


class Acknowledged(NamedTuple):
    """What the service has said yes to, so far."""

    jobs: dict[str, int]
    """With the priority of the last patch."""
    tasks: set[tuple[str, str]]
    completed: set[tuple[str, str]]
    blobs: dict[str, str]
    """Digests by name."""
    files: set[str]
    """Digests of those blobs that are too large for a row."""

    def __len__(self) -> int:
        return len(self.jobs) + len(self.tasks) + len(self.blobs)


class Witness(threading.Thread):
    """Adds jobs and tasks, patches jobs, looks for ended tasks, uploads blobs; until told to stop.

    What has no answer is asked again until it has one.
    """

    def __init__(self, lote: Lote, container: Container, seed: int, pool_id: str = "p") -> None:
        super().__init__()
        self._client = BatchClient(account_of(lote.ready), lote.world, timeout_s=10)
        self._container = container
        self._chance = random.Random(seed)
        self._pool_id = pool_id
        self._seen = Acknowledged({}, set(), set(), {}, set())
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.failures = 0

    def __enter__(self) -> Witness:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()
        self._client.close()

    def acknowledged(self) -> Acknowledged:
        """All that was acknowledged before this call."""
        with self._lock:
            return Acknowledged(*(copy(one) for one in self._seen))

    def run(self) -> None:
        """Work."""
        number = 0
        while not self._over.is_set():
            try:
                self._do_round(f"j{number:04}")
            except _Over:
                return
            number += 1

    def _do_round(self, job_id: str) -> None:
        pool = {"poolInfo": {"poolId": self._pool_id}}
        self._call("create_job", {}, {"id": job_id, "priority": 0} | pool, "JobExists")
        with self._lock:
            self._seen.jobs[job_id] = 0
        for batch in range(3):
            ids = [f"t{batch}-{one}" for one in range(TASKS)]
            entries = [{"id": one, "commandLine": "/bin/true"} for one in ids]
            self._call("create_task_collection", {"job_id": job_id}, {"value": entries})
            with self._lock:
                self._seen.tasks.update((job_id, one) for one in ids)
            self._call("update_job", {"job_id": job_id}, {"priority": batch + 1})
            with self._lock:
                self._seen.jobs[job_id] = batch + 1
            self._upload(f"{job_id}-{batch}")
        self._look(self._chance.choice(sorted(self._seen.jobs)))

    def _look(self, job_id: str) -> None:
        tasks = self._call("list_tasks", {"job_id": job_id})["value"]
        with self._lock:
            self._seen.completed.update(
                (job_id, one["id"]) for one in tasks if one["state"] == "completed"
            )

    def _upload(self, name: str) -> None:
        content = self._chance.randbytes(self._chance.choice(BLOB_BYTES))
        while not self._over.is_set():
            try:
                status = put_blob(self._container.blob(name), content)
            except (OSError, http.client.HTTPException):
                status = 0
            if status == 201:
                digest = hashlib.sha256(content).hexdigest()
                with self._lock:
                    self._seen.blobs[name] = digest
                    if len(content) > INLINE_BYTES_MAX:
                        self._seen.files.add(digest)
                return
            self.failures += 1
            self._over.wait(0.02)

    def _call(self, operation: str, ids: dict[str, str], body: object = None, *fine: str) -> Json:
        while not self._over.is_set():
            try:
                answer = self._client.call(operation, ids, body=body).body
                return msgspec.json.decode(answer) if answer else {}
            except BatchError as error:
                # It was done by the request whose answer was lost.
                if error.code in fine:
                    return {}
                if error.status != 503:
                    raise
            except Unreachable:
                self.failures += 1
            self._over.wait(0.02)
        raise _Over


class _Over(Exception):
    """Told to stop."""


def put_blob(url: str, content: bytes) -> int:
    """One upload, not repeated; gives the status."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=10)
    headers = {"x-ms-version": "2021-12-02", "x-ms-blob-type": "BlockBlob"}
    with contextlib.closing(connection):
        connection.request("PUT", f"{parts.path}?{parts.query}", content, headers)
        return connection.getresponse().status


def missing(lote: Lote, seen: Acknowledged, container: Container) -> list[str]:
    """What a running service does not have, or not whole, of what it once acknowledged."""
    found = []
    jobs = {job["id"]: job for job in lote.client.each("list_jobs")}
    for job_id, priority in seen.jobs.items():
        if job_id not in jobs:
            found.append(f"job {job_id}")
        elif jobs[job_id]["priority"] < priority:
            found.append(f"priority {priority} of {job_id}: {jobs[job_id]['priority']}")
    tasks = {
        (job_id, task["id"]): task
        for job_id in jobs
        for task in lote.client.each("list_tasks", {"job_id": job_id})
    }
    found += [f"task {one}" for one in sorted(seen.tasks) if one not in tasks]
    found += [
        f"end of {one}"
        for one in sorted(seen.completed)
        if one in tasks and tasks[one]["state"] != "completed"
    ]
    for name, digest in seen.blobs.items():
        reply = lote.fetch("GET", container.blob(name))
        if reply.status != 200 or hashlib.sha256(reply.body).hexdigest() != digest:
            found.append(f"blob {name}: {reply.status}, {len(reply.body)} bytes")
    return found
