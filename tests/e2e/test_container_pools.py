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
OVER = {"terminateReason": "over"}
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


@pytest.fixture(scope="module")
def contained(client: BatchClient, image: str) -> str:
    """A pool whose tasks run in containers."""
    make_pool(client, "contained", image)
    return "contained"


def test_a_job_with_all_its_tasks_in_containers(client, contained, folder, image):
    settings = m.BatchTaskContainerSettings(image_name=image)
    where = "/bin/sh -c 'echo $MADE_BY; pwd; id -u'"
    client.create_job(
        m.BatchJobCreateOptions(
            id="job",
            pool_info=m.BatchPoolInfo(pool_id=contained),
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
        task = until(lambda name=task_id: completed(client, "job", name))
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


def completed(client: BatchClient, job_id: str, task_id: str) -> m.BatchTask | None:
    task = client.get_task(job_id, task_id)
    return task if task.state == "completed" else None


def add_prepared_job(
    client: BatchClient, pool_id: str, image: str, job_id: str, *lines: str
) -> None:
    """A job with a preparation and a release task of these command lines."""
    settings = m.BatchTaskContainerSettings(image_name=image)
    prepare, release = (f"/bin/sh -c '{line}'" for line in lines)
    client.create_job(
        m.BatchJobCreateOptions(
            id=job_id,
            pool_info=m.BatchPoolInfo(pool_id=pool_id),
            job_preparation_task=m.BatchJobPreparationTask(
                command_line=prepare, container_settings=settings
            ),
            job_release_task=m.BatchJobReleaseTask(
                command_line=release, container_settings=settings
            ),
        )
    )


def said_on_node(client: BatchClient, job_id: str, task_id: str) -> list[str]:
    (node,) = client.list_nodes("contained")
    path = f"workitems/{job_id}/job-1/{task_id}/stdout.txt"
    return b"".join(client.download_node_file("contained", node.id, path)).decode().split()


def test_a_job_is_prepared_and_released_in_containers(client, contained, image):
    made = "$AZ_BATCH_JOB_PREP_WORKING_DIR/made"
    add_prepared_job(
        client, contained, image, "prepared", "echo $MADE_BY > made; pwd", f"cat {made}; exit 3"
    )
    settings = m.BatchTaskContainerSettings(
        image_name=image,
        container_host_batch_bind_mounts=[
            m.ContainerHostBatchBindMountEntry(source=source) for source in ("Task", "JobPrep")
        ],
    )
    task = m.BatchTaskCreateOptions(
        id="t", command_line=f"/bin/sh -c 'cat {made}'", container_settings=settings
    )
    client.create_task("prepared", task)
    task = until(lambda: completed(client, "prepared", "t"))
    assert task.execution_info.exit_code == 0
    assert b"".join(client.download_task_file("prepared", "t", "stdout.txt")) == b"image\n"
    (told,) = said_on_node(client, "prepared", "jobpreparation")
    assert told.endswith("/workitems/prepared/job-1/jobpreparation/wd")
    client.begin_terminate_job("prepared", OVER, polling_interval=0.05).wait(WITHIN_S)
    assert client.get_job("prepared").state == "completed"
    (status,) = client.list_job_preparation_and_release_task_status("prepared")
    preparation = status.job_preparation_task_execution_info
    assert (preparation.result, preparation.exit_code) == ("success", 0)
    release = status.job_release_task_execution_info
    assert (release.result, release.exit_code) == ("failure", 3)
    assert release.container_info.state == preparation.container_info.state == "exited"
    assert release.container_info.container_id != preparation.container_info.container_id
    assert said_on_node(client, "prepared", "jobrelease") == ["image"]


def test_no_task_of_a_job_runs_whose_preparation_failed_in_its_container(client, contained, image):
    add_prepared_job(client, contained, image, "unprepared", "exit 4", "true")
    task = m.BatchTaskCreateOptions(
        id="t",
        command_line="true",
        container_settings=m.BatchTaskContainerSettings(image_name=image),
        constraints=m.BatchTaskConstraints(max_task_retry_count=0),
    )
    client.create_task("unprepared", task)

    def failed() -> m.JobPreparationTaskExecutionInfo | None:
        found = list(client.list_job_preparation_and_release_task_status("unprepared"))
        info = found[0].job_preparation_task_execution_info if found else None
        return info if info is not None and info.state == "completed" else None

    preparation = until(failed)
    assert (preparation.result, preparation.exit_code) == ("failure", 4)
    assert preparation.container_info.state == "exited"
    assert client.get_task("unprepared", "t").state != "completed"
    client.begin_terminate_job("unprepared", OVER, polling_interval=0.05).wait(WITHIN_S)
    assert client.get_job("unprepared").state == "completed"


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
