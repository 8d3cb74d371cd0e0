"""What is done to nodes, on real agents: they restart, files stay or go, logs are uploaded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from .conftest import add_task, create_pool, fresh, until, wait_steady, wait_task
from .raw_http import check_error
from .success import check_headers

OLD_VERSION = "2024-02-01.19.0"


@pytest.fixture(scope="module")
def small_pool(batch) -> str:
    pool_id = fresh("acted")
    create_pool(batch, pool_id, 1, start_task=m.BatchStartTask(command_line="/bin/true"))
    wait_steady(batch, pool_id)
    yield pool_id
    batch.begin_delete_pool(pool_id, polling_interval=0)


@pytest.fixture
def node(batch, small_pool) -> m.BatchNode:
    (found,) = wait_steady(batch, small_pool)
    return found


@pytest.fixture
def kept_task(batch, small_pool):
    """The job of a task that left a file on the node."""
    job_id = fresh("job")
    info = m.BatchPoolInfo(pool_id=small_pool)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    add_task(batch, job_id, "t", "/bin/sh -c 'echo kept > file.txt'")
    wait_task(batch, job_id, "t")
    yield job_id
    batch.begin_delete_job(job_id, polling_interval=0)


def text_of(batch, job_id: str) -> str:
    return b"".join(batch.download_task_file(job_id, "t", "wd/file.txt")).decode()


def test_a_reboot_restarts_the_agent_and_keeps_files(batch, small_pool, node, kept_task):
    options = {"nodeRebootOption": "requeue"}
    batch.begin_reboot_node(small_pool, node.id, options, polling_interval=0.05).wait()
    (again,) = wait_steady(batch, small_pool)
    assert again.id == node.id
    assert again.last_boot_time > node.last_boot_time
    assert again.allocation_time == node.allocation_time
    assert again.start_task_info.start_time > node.start_task_info.start_time
    assert text_of(batch, kept_task) == "kept\n"


def test_a_reimage_empties_the_disk(batch, small_pool, node, kept_task):
    assert text_of(batch, kept_task) == "kept\n"
    options = {"nodeReimageOption": "requeue"}
    batch.begin_reimage_node(small_pool, node.id, options, polling_interval=0.05).wait()
    (again,) = wait_steady(batch, small_pool)
    assert again.last_boot_time > node.last_boot_time
    with pytest.raises(HttpResponseError):
        text_of(batch, kept_task)


def test_deallocated_and_started(batch, small_pool, node, kept_task):
    options = {"nodeDeallocateOption": "requeue"}
    batch.begin_deallocate_node(small_pool, node.id, options, polling_interval=0.05).wait()
    assert batch.get_node(small_pool, node.id).state == m.BatchNodeState.DEALLOCATED
    counts = {one.pool_id: one for one in batch.list_pool_node_counts()}
    assert counts[small_pool].dedicated.deallocated == 1
    batch.begin_start_node(small_pool, node.id, polling_interval=0.05).wait()
    wait_steady(batch, small_pool)
    assert text_of(batch, kept_task) == "kept\n"


def test_scheduling_off_and_on(batch, small_pool, node):
    option = m.BatchNodeDisableSchedulingOption.REQUEUE
    options = m.BatchNodeDisableSchedulingOptions(node_disable_scheduling_option=option)
    batch.disable_node_scheduling(small_pool, node.id, options)
    shown = until(
        lambda: one if (one := batch.get_node(small_pool, node.id)).state == "offline" else None
    )
    assert shown.scheduling_state == m.SchedulingState.DISABLED
    with pytest.raises(HttpResponseError) as caught:
        batch.disable_node_scheduling(small_pool, node.id, options)
    assert caught.value.error.code == "NodeAlreadyInTargetSchedulingState"
    assert caught.value.status_code == 409
    batch.enable_node_scheduling(small_pool, node.id)
    wait_steady(batch, small_pool)


def test_without_a_body_as_older_clients_send_it(raw, batch, small_pool, node):
    path = f"/pools/{small_pool}/nodes/{node.id}"
    done = raw("POST", f"{path}/disablescheduling", version=OLD_VERSION)
    assert done.status == 200
    check_headers(done, service_id=f"{raw.endpoint}{path}/disablescheduling")
    assert raw("POST", f"{path}/enablescheduling", version=OLD_VERSION).status == 200
    wait_steady(batch, small_pool)
    assert raw("POST", f"{path}/reboot", version=OLD_VERSION).status == 202
    wait_steady(batch, small_pool)
    check_error(raw("POST", f"{path}/start"), 409, "OperationNotValidOnNode")
    check_error(raw("POST", f"/pools/{small_pool}/nodes/none/reboot"), 404, "NodeNotFound")


def test_a_wrong_option(raw, small_pool, node):
    path = f"/pools/{small_pool}/nodes/{node.id}/reboot"
    reply = check_error(
        raw("POST", path, {"nodeRebootOption": "hard"}), 400, "InvalidPropertyValue"
    )
    assert reply.values["PropertyName"] == "nodeRebootOption"


@pytest.fixture
def container(service):
    storage = BlobServiceClient.from_connection_string(service.storage.connection_string)
    made = storage.create_container(fresh("logs"))
    sas = generate_container_sas(
        storage.account_name,
        made.container_name,
        account_key=storage.credential.account_key,
        permission=ContainerSasPermissions(write=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return made, f"{made.url}?{sas}"


def test_logs_are_uploaded(batch, raw, small_pool, node, container):
    made, url = container
    options = m.UploadBatchServiceLogsOptions(
        container_url=url, start_time=datetime.now(UTC) - timedelta(hours=1)
    )
    result = batch.upload_node_logs(small_pool, node.id, options)
    names = [blob.name for blob in made.list_blobs()]
    assert result.number_of_files_uploaded == len(names) >= 1
    assert all(name.startswith(f"{result.virtual_directory_name}/") for name in names)
    assert f"/{small_pool}/{node.id}/" in result.virtual_directory_name
    log = made.download_blob(f"{result.virtual_directory_name}/agent.log").readall().decode()
    assert "event=agent_started" in log
    future = datetime.now(UTC) + timedelta(hours=1)
    options = m.UploadBatchServiceLogsOptions(container_url=url, start_time=future)
    assert batch.upload_node_logs(small_pool, node.id, options).number_of_files_uploaded == 0


def test_logs_for_a_container_that_refuses(raw, small_pool, node, container):
    made, url = container
    body = {"containerUrl": url[:-6] + "aaaaaa", "startTime": "2020-01-01T00:00:00Z"}
    path = f"/pools/{small_pool}/nodes/{node.id}/uploadbatchservicelogs"
    reply = check_error(raw("POST", path, body), 400, "InvalidPropertyValue")
    assert reply.values["PropertyName"] == "containerUrl"
    assert "sig=" not in reply.body.decode()
    assert list(made.list_blobs()) == []


def test_an_os_upgrade_for_the_oldest_clients(raw, small_pool):
    """upgrade_pool_os."""
    path = f"/pools/{small_pool}/upgradeos"
    reply = raw("POST", path, {"targetOSVersion": "*"}, version="2018-08-01.7.0")
    check_error(reply, 409, "PoolNotEligibleForOSVersionUpgrade")
