"""Inputs of all three kinds and outputs of tasks, over the built-in account and over Azurite."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import (
    BlobServiceClient,
    ContainerClient,
    generate_blob_sas,
    generate_container_sas,
)

from conformance.blob_rigs import azurite
from lote.cli.service import temporary_service
from lote.world import World

WITHIN_S = 30.0
FILES = {"one.txt": b"1\n", "deep/two.txt": b"2\n", "deep/three.dat": b"3\n"}


class Rig:
    """A service, its batch client, and its linked storage account by the official SDK."""

    def __init__(self, batch: BatchClient, blobs: BlobServiceClient) -> None:
        self.batch = batch
        self.blobs = blobs
        self.world = World()

    def container(self, name: str) -> ContainerClient:
        return self.blobs.create_container(name)

    def sas_url(self, container: ContainerClient, permission: str) -> str:
        sas = generate_container_sas(
            str(self.blobs.account_name),
            container.container_name,
            account_key=self.blobs.credential.account_key,
            permission=permission,
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        return f"{container.url}?{sas}"

    def blob_url(self, container: ContainerClient, name: str) -> str:
        sas = generate_blob_sas(
            str(self.blobs.account_name),
            container.container_name,
            name,
            account_key=self.blobs.credential.account_key,
            permission="r",
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        return f"{container.get_blob_client(name).url}?{sas}"

    def run(self, job: str, task: models.BatchTaskCreateOptions) -> models.BatchTask:
        """The task, once it is completed."""
        self.batch.create_task(job, task)
        deadline = self.world.monotonic() + WITHIN_S
        while True:
            found = self.batch.get_task(job, task.id)
            if found.state == models.BatchTaskState.COMPLETED:
                return found
            assert self.world.monotonic() < deadline, found.as_dict()
            threading.Event().wait(0.05)


@pytest.fixture(scope="module", params=["built-in", "azurite"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder: Path = tmp_path_factory.mktemp("linked")
    with ExitStack() as stack:
        flags: list[str] = []
        if request.param == "azurite":
            account = stack.enter_context(azurite(tmp_path_factory.mktemp("azurite")))
            flags = ["--storage-connection-string", account.connection_string]
        ready = stack.enter_context(temporary_service(folder, flags))
        credential = AzureNamedKeyCredential(ready.batch.account, ready.batch.key)
        batch = stack.enter_context(BatchClient(ready.batch.endpoint, credential))
        assert ready.storage is not None
        connection = ready.storage.connection_string
        blobs = stack.enter_context(BlobServiceClient.from_connection_string(connection))
        machine = models.VirtualMachineConfiguration(
            image_reference=models.BatchVmImageReference(
                publisher="canonical", offer="ubuntu-24_04-lts", sku="server"
            ),
            node_agent_sku_id="batch.node.ubuntu 24.04",
        )
        batch.create_pool(
            models.BatchPoolCreateOptions(
                id="pool",
                vm_size="standard_d2_v2",
                target_dedicated_nodes=1,
                task_slots_per_node=4,
                virtual_machine_configuration=machine,
            )
        )
        pool = models.BatchPoolInfo(pool_id="pool")
        batch.create_job(models.BatchJobCreateOptions(id="job", pool_info=pool))
        yield Rig(batch, blobs)


@pytest.fixture(scope="module")
def inputs(rig: Rig) -> ContainerClient:
    container = rig.container("inputs")
    for name, content in FILES.items():
        container.upload_blob(name, content)
    return container


def shell(text: str) -> str:
    return f"/bin/sh -c '{text}'"


def output(
    rig: Rig, container: ContainerClient, pattern: str, condition: str, path: str | None = None
) -> models.OutputFile:
    return models.OutputFile(
        file_pattern=pattern,
        destination=models.OutputFileDestination(
            container=models.OutputFileBlobContainerDestination(
                container_url=rig.sas_url(container, "rwc"), path=path
            )
        ),
        upload_options=models.OutputFileUploadConfiguration(upload_condition=condition),
    )


def content_of(container: ContainerClient) -> dict[str, bytes]:
    names = [blob.name for blob in container.list_blobs()]
    return {name: container.download_blob(name).readall() for name in names}


def test_inputs_of_all_three_kinds(rig: Rig, inputs: ContainerClient) -> None:
    task = models.BatchTaskCreateOptions(
        id="kinds",
        command_line=shell("cat link.txt auto/one.txt auto/deep/two.txt all/deep/three.dat; ls -l"),
        resource_files=[
            models.ResourceFile(http_url=rig.blob_url(inputs, "one.txt"), file_path="link.txt"),
            models.ResourceFile(auto_storage_container_name="inputs", file_path="auto"),
            models.ResourceFile(
                storage_container_url=rig.sas_url(inputs, "rl"),
                blob_prefix="deep/",
                file_path="all",
            ),
        ],
    )
    done = rig.run("job", task)
    assert done.execution_info is not None
    assert done.execution_info.exit_code == 0
    shown = b"".join(rig.batch.download_task_file("job", "kinds", "stdout.txt")).decode()
    assert shown.startswith("1\n1\n2\n3\n")
    assert "-rwxrwx---" in shown, "a resource file is executable by default"
    listed = {file.name for file in rig.batch.list_task_files("job", "kinds", recursive=True)}
    assert "wd/all/one.txt" not in listed, "the prefix leaves it out"


def test_outputs_by_pattern_condition_and_path(rig: Rig) -> None:
    container = rig.container("outputs")
    task = models.BatchTaskCreateOptions(
        id="patterns",
        command_line=shell(
            "mkdir -p a/b; echo x > a/x.txt; echo y > a/b/y.txt; echo z > z.dat; echo said; exit 0"
        ),
        output_files=[
            output(rig, container, "**/*.txt", "taskcompletion", "texts"),
            output(rig, container, "z.dat", "tasksuccess", "renamed.bin"),
            output(rig, container, "z.dat", "taskfailure", "never.bin"),
            output(rig, container, "../std*.txt", "taskcompletion", "logs"),
        ],
    )
    done = rig.run("job", task)
    assert done.execution_info is not None
    assert done.execution_info.result == models.BatchTaskExecutionResult.SUCCESS
    assert content_of(container) == {
        "texts/a/x.txt": b"x\n",
        "texts/a/b/y.txt": b"y\n",
        "renamed.bin": b"z\n",
        "logs/stdout.txt": b"said\n",
        "logs/stderr.txt": b"",
    }


def test_a_failed_task_uploads_what_it_says_for_failure(rig: Rig) -> None:
    container = rig.container("failed")
    task = models.BatchTaskCreateOptions(
        id="fails",
        command_line=shell("echo left > left.txt; exit 4"),
        output_files=[
            output(rig, container, "left.txt", "taskfailure"),
            output(rig, container, "left.txt", "tasksuccess", "never.txt"),
        ],
    )
    done = rig.run("job", task)
    assert done.execution_info is not None
    assert done.execution_info.exit_code == 4
    assert content_of(container) == {"left.txt": b"left\n"}


@pytest.mark.parametrize(
    ("name", "file", "code"),
    [
        ("missing", "nothing.txt", "BlobNotFound"),
        ("denied", "one.txt", "BlobAccessDenied"),
    ],
)
def test_an_input_that_cannot_be_had_fails_the_task(
    rig: Rig, inputs: ContainerClient, name: str, file: str, code: str
) -> None:
    url = rig.blob_url(inputs, file)
    if code == "BlobAccessDenied":
        url = url.replace("sig=", "sig=AAAA")
    task = models.BatchTaskCreateOptions(
        id=name,
        command_line="/bin/true",
        resource_files=[models.ResourceFile(http_url=url, file_path="in.txt")],
    )
    done = rig.run("job", task)
    info = done.execution_info
    assert info is not None
    assert info.failure_info is not None
    assert info.failure_info.code == code
    assert info.exit_code is None
    told = str(info.failure_info.as_dict())
    assert "sig=" not in told.replace("sig=REDACTED", "")


def test_an_output_container_that_is_not_there_fails_the_task(rig: Rig) -> None:
    container = rig.blobs.get_container_client("nowhere")
    task = models.BatchTaskCreateOptions(
        id="nowhere",
        command_line=shell("echo x > x.txt"),
        output_files=[output(rig, container, "x.txt", "taskcompletion")],
    )
    info = rig.run("job", task).execution_info
    assert info is not None
    assert info.exit_code == 0
    assert info.result == models.BatchTaskExecutionResult.FAILURE
    assert info.failure_info is not None
    assert info.failure_info.code == "FileUploadContainerNotFound"
