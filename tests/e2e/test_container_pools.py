"""A pool that runs containers, by the official client."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.credentials import AzureNamedKeyCredential

from e2e.container_images import OPTIONS, busybox_image
from lote.cli.ready import Ready
from lote.cli.service import temporary_service
from lote.world import World

T = TypeVar("T")
WITHIN_S = 90.0  # podman takes half a second a step, and much more on a busy machine
SIZE = "standard_d2_v2"
PASSWORD = "pa55-of-the-registry"


def until(look: Callable[[], T | None]) -> T:
    """What ``look`` finds, as soon as it finds anything true."""
    world, pause = World(), threading.Event()
    deadline_s = world.monotonic() + WITHIN_S
    while True:
        found = look()
        if found:
            return found
        assert world.monotonic() < deadline_s
        pause.wait(0.05)


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    with busybox_image() as name:
        yield name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("containers")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[BatchClient]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOTE_CONTAINER_COMMAND", "podman")
        patch.setenv("LOTE_CONTAINER_OPTIONS", OPTIONS)
        with temporary_service(folder) as ready, connect(ready) as made:
            yield made


def connect(ready: Ready) -> BatchClient:
    credential = AzureNamedKeyCredential(ready.batch.account, ready.batch.key)
    return BatchClient(ready.batch.endpoint, credential, retry_total=0)


def make_pool(client: BatchClient, pool_id: str, *images: str) -> None:
    registry = m.ContainerRegistryReference(
        registry_server="registry.invalid", username="me", password=PASSWORD
    )
    client.create_pool(
        m.BatchPoolCreateOptions(
            id=pool_id,
            vm_size=SIZE,
            target_dedicated_nodes=1,
            task_slots_per_node=4,
            virtual_machine_configuration=m.VirtualMachineConfiguration(
                image_reference=m.BatchVmImageReference(publisher="p", offer="o", sku="s"),
                node_agent_sku_id="batch.node.ubuntu 24.04",
                container_configuration=m.BatchContainerConfiguration(
                    type=m.ContainerType.DOCKER_COMPATIBLE,
                    container_image_names=list(images),
                    container_registries=[registry],
                ),
            ),
        )
    )


def test_a_job_with_all_its_tasks_in_containers(client, folder, image):
    make_pool(client, "contained", image)
    settings = m.BatchTaskContainerSettings(image_name=image)
    where = "/bin/sh -c 'echo $MADE_BY; pwd; id -u'"
    client.create_job(
        m.BatchJobCreateOptions(
            id="job",
            pool_info=m.BatchPoolInfo(pool_id="contained"),
            job_preparation_task=m.BatchJobPreparationTask(
                command_line=where, container_settings=settings
            ),
            job_manager_task=m.BatchJobManagerTask(
                id="manager",
                command_line=where,
                container_settings=settings,
                run_exclusive=False,
                kill_job_on_completion=False,
            ),
        )
    )
    own = m.BatchTaskContainerSettings(
        image_name=image,
        registry=m.ContainerRegistryReference(
            registry_server="registry.invalid", username="me", password=PASSWORD
        ),
    )
    client.create_task(
        "job", m.BatchTaskCreateOptions(id="task", command_line="", container_settings=own)
    )
    for task_id in ("manager", "task"):
        task = until(lambda name=task_id: completed(client, name))
        assert task.execution_info.exit_code == 0
        container = task.execution_info.container_info
        assert len(container.container_id) == 64
        assert (container.state, container.error) == ("exited", None)
    (status,) = client.list_job_preparation_and_release_task_status("job")
    assert status.job_preparation_task_execution_info.container_info.state == "exited"
    text = b"".join(client.download_task_file("job", "manager", "stdout.txt")).decode().split()
    assert text[0] == "image"
    assert text[1].endswith("/workitems/job/job-1/manager/wd")
    assert text[2] == ("64000" if os.geteuid() == 0 else "0")
    shown = client.get_task("job", "task")
    assert shown.container_settings.registry.username == "me"
    assert PASSWORD not in str(shown.as_dict())
    assert PASSWORD not in str(client.get_pool("contained").as_dict())
    logs = [path for path in folder.rglob("*.log") if path.is_file()]
    assert logs
    assert not [path for path in logs if PASSWORD.encode() in path.read_bytes()]


def completed(client: BatchClient, task_id: str) -> m.BatchTask | None:
    task = client.get_task("job", task_id)
    return task if task.state == "completed" else None


def test_a_node_that_cannot_have_an_image_is_unusable(client, image):
    make_pool(client, "broken", image, "Not/A/Valid/Name")

    def unusable() -> m.BatchNode | None:
        nodes = [node for node in client.list_nodes("broken") if node.state == "unusable"]
        return nodes[0] if nodes else None

    node = until(unusable)
    (error,) = node.errors
    assert error.code == "ContainerInvalidImage"
    details = {pair.name: pair.value for pair in error.error_details}
    assert details["ImageName"] == "Not/A/Valid/Name"
    assert details["Message"]
