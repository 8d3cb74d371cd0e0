"""One real service for all tests of the data plane, and one pool of two nodes with two slots."""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential

from lote.cli.ready import Ready
from lote.cli.service import temporary_service
from lote.world import World

from .raw_http import Raw

T = TypeVar("T")
numbers = itertools.count(1)
IMAGE = m.BatchVmImageReference(publisher="canonical", offer="ubuntu-24_04-lts", sku="server")
MACHINE = m.VirtualMachineConfiguration(
    image_reference=IMAGE, node_agent_sku_id="batch.node.ubuntu 24.04"
)
VM_SIZE = "standard_d2_v2"


def fresh(word: str) -> str:
    """An id that no other test has."""
    return f"{word}-{next(numbers)}"


def until(look: Callable[[], T | None], within_s: float = 20.0) -> T:
    """What ``look`` finds, as soon as it finds anything true; fails after ``within_s``."""
    world, pause = World(), threading.Event()
    deadline = world.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        assert world.monotonic() < deadline, f"not within {within_s} s, at last: {found!r}"
        pause.wait(0.02)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    with temporary_service(tmp_path_factory.mktemp("data-plane")) as ready:
        yield ready


@pytest.fixture(scope="session")
def service_folder(service: Ready) -> Path:
    return Path(service.ca).parent if service.ca else Path()


def new_client(ready: Ready, **options: object) -> BatchClient:
    credential = AzureNamedKeyCredential(ready.batch.account, ready.batch.key)
    return BatchClient(ready.batch.endpoint, credential, retry_total=0, **options)


@pytest.fixture(scope="session")
def batch(service: Ready) -> Iterator[BatchClient]:
    with new_client(service) as client:
        yield client


@pytest.fixture(scope="session")
def raw(service: Ready) -> Raw:
    return Raw(service.batch.endpoint, service.batch.account, service.batch.key, service.ca)


def create_pool(batch: BatchClient, pool_id: str, nodes: int, **members: object) -> None:
    """A pool of this many nodes; does not wait for them."""
    batch.create_pool(
        m.BatchPoolCreateOptions(
            id=pool_id,
            vm_size=VM_SIZE,
            virtual_machine_configuration=MACHINE,
            target_dedicated_nodes=nodes,
            **members,
        )
    )


def wait_steady(batch: BatchClient, pool_id: str, state: str = "idle") -> list[m.BatchNode]:
    """The nodes of a pool, once it is steady and they are all in this state."""

    def look() -> list[m.BatchNode] | None:
        pool = batch.get_pool(pool_id)
        nodes = list(batch.list_nodes(pool_id))
        is_right = pool.allocation_state == "steady" and all(n.state == state for n in nodes)
        return nodes if is_right and len(nodes) == pool.target_dedicated_nodes else None

    return until(look)


@pytest.fixture(scope="session")
def pool(batch: BatchClient) -> str:
    """Two nodes with two slots each, kept for all tests."""
    pool_id = fresh("pool")
    create_pool(batch, pool_id, 2, task_slots_per_node=2)
    wait_steady(batch, pool_id)
    return pool_id


@pytest.fixture
def job(batch: BatchClient, pool: str) -> Iterator[str]:
    """A fresh job on the shared pool."""
    job_id = fresh("job")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool)))
    yield job_id
    batch.begin_delete_job(job_id, polling_interval=0)


@pytest.fixture
def lone_job(batch: BatchClient) -> str:
    """A fresh job whose pool does not exist, so that its tasks wait."""
    job_id = fresh("lone-job")
    info = m.BatchPoolInfo(pool_id=fresh("no-pool"))
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    return job_id


def shell(text: str) -> str:
    """A command line for a POSIX shell; ``text`` has no single quotes."""
    assert "'" not in text
    return f"/bin/sh -c '{text}'"


def add_task(
    batch: BatchClient, job_id: str, task_id: str, command: str = "/bin/true", **members: object
) -> None:
    batch.create_task(job_id, m.BatchTaskCreateOptions(id=task_id, command_line=command, **members))


def wait_task(
    batch: BatchClient, job_id: str, task_id: str, state: str = "completed", within_s: float = 20.0
) -> m.BatchTask:
    """The task, once it is in this state."""

    def look() -> m.BatchTask | None:
        task = batch.get_task(job_id, task_id)
        return task if task.state == state else None

    return until(look, within_s)


def wait_job(batch: BatchClient, job_id: str, state: str) -> m.BatchJob:
    """The job, once it is in this state."""

    def look() -> m.BatchJob | None:
        job = batch.get_job(job_id)
        return job if job.state == state else None

    return until(look)


def read_file(batch: BatchClient, job_id: str, task_id: str, path: str = "stdout.txt") -> str:
    return b"".join(batch.download_task_file(job_id, task_id, path)).decode()


class Gate:
    """Something tasks wait for until the test opens it."""

    def __init__(self, folder: Path) -> None:
        for parent in (folder, *list(folder.parents)[:3]):
            parent.chmod(parent.stat().st_mode | 0o011)  # tasks run as users of their own
        self._file = folder / "gate"

    @property
    def waits(self) -> str:
        """A command line that ends with 0 once the gate is open."""
        return shell(self.loop)

    @property
    def loop(self) -> str:
        """The same, as part of a shell command."""
        return f"while [ ! -e {self._file} ]; do sleep 0.02; done"

    def open(self) -> None:
        self._file.touch()


@contextmanager
def new_gate() -> Iterator[Gate]:
    """A gate that tasks can see: any pytest that starts closes pytest's own folder to others."""
    with tempfile.TemporaryDirectory() as folder:
        yield Gate(Path(folder))


@pytest.fixture
def gate() -> Iterator[Gate]:
    with new_gate() as made:
        yield made
