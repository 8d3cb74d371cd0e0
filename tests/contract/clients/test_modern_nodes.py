"""Nodes with every method of the official Python client 15.1, sync and async."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from data_plane.conftest import create_pool, fresh, until, wait_steady

from .modern import LONG_AGO, calls, now


@pytest.fixture(scope="module")
def own_pool(batch):
    """A pool of one node, on which anything may be done."""
    pool_id = fresh("own")
    create_pool(batch, pool_id, 1, start_task=m.BatchStartTask(command_line="/bin/true"))
    wait_steady(batch, pool_id)
    yield pool_id
    batch.begin_delete_pool(pool_id, polling_interval=0)


@pytest.fixture
def node_id(batch, own_pool) -> str:
    (node,) = wait_steady(batch, own_pool)
    return node.id


@calls("list_nodes", "get_node")
def test_nodes_are_listed_and_read(sdk, own_pool, node_id):
    (found,) = sdk.list_nodes(
        own_pool, filter="state eq 'idle'", select=["id", "state"], max_results=1
    )
    assert (found.id, found.state, found.vm_size) == (node_id, m.BatchNodeState.IDLE, None)
    assert sdk.list_nodes(own_pool, filter="state eq 'offline'") == []
    node = sdk.get_node(own_pool, node_id)
    assert node.url.endswith(f"/pools/{own_pool}/nodes/{node_id}")
    assert node.state is m.BatchNodeState.IDLE
    assert node.scheduling_state is m.SchedulingState.ENABLED
    assert node.allocation_time <= node.last_boot_time <= node.state_transition_time <= now()
    assert node.vm_size == "standard_d2_v2"
    assert (node.is_dedicated, node.running_tasks_count) == (True, 0)
    assert node.start_task.command_line == "/bin/true"
    assert node.start_task_info.state is m.BatchStartTaskState.COMPLETED
    assert node.start_task_info.exit_code == 0
    assert node.ip_address
    assert node.node_agent_info.version
    part = sdk.get_node(own_pool, node_id, select=["id", "vmSize"])
    assert (part.id, part.vm_size, part.state) == (node_id, "standard_d2_v2", None)
    sdk.refused(404, "NodeNotFound", "get_node", own_pool, "none")
    sdk.refused(404, "PoolNotFound", "list_nodes", fresh("none"))


@calls("begin_reboot_node", "begin_reimage_node")
def test_a_node_is_rebooted_and_reimaged(sdk, batch, own_pool, node_id):
    before = sdk.get_node(own_pool, node_id)
    reboot = {"nodeRebootOption": "requeue"}  # the client has no public model for it
    assert sdk.begin_reboot_node(own_pool, node_id, reboot) == "Succeeded"
    wait_steady(batch, own_pool)
    rebooted = sdk.get_node(own_pool, node_id)
    assert rebooted.last_boot_time > before.last_boot_time
    reimage = {"nodeReimageOption": "terminate"}
    assert sdk.begin_reimage_node(own_pool, node_id, reimage) == "Succeeded"
    wait_steady(batch, own_pool)
    assert sdk.get_node(own_pool, node_id).last_boot_time > rebooted.last_boot_time
    sdk.refused(404, "NodeNotFound", "begin_reboot_node", own_pool, "none", reboot)


@calls("begin_deallocate_node", "begin_start_node")
def test_a_node_is_deallocated_and_started(sdk, batch, own_pool, node_id):
    options = {"nodeDeallocateOption": "requeue"}
    assert sdk.begin_deallocate_node(own_pool, node_id, options) == "Succeeded"
    assert sdk.get_node(own_pool, node_id).state is m.BatchNodeState.DEALLOCATED
    assert sdk.begin_start_node(own_pool, node_id) == "Succeeded"
    wait_steady(batch, own_pool)
    sdk.refused(409, "OperationNotValidOnNode", "begin_start_node", own_pool, node_id)


@calls("disable_node_scheduling", "enable_node_scheduling")
def test_scheduling_is_disabled_and_enabled(sdk, batch, own_pool, node_id):
    option = m.BatchNodeDisableSchedulingOption.TASK_COMPLETION
    options = m.BatchNodeDisableSchedulingOptions(node_disable_scheduling_option=option)
    assert sdk.disable_node_scheduling(own_pool, node_id, options) is None
    until(lambda: sdk.get_node(own_pool, node_id).state == "offline")
    assert sdk.get_node(own_pool, node_id).scheduling_state is m.SchedulingState.DISABLED
    assert sdk.enable_node_scheduling(own_pool, node_id) is None
    wait_steady(batch, own_pool)
    code = "NodeAlreadyInTargetSchedulingState"
    sdk.refused(409, code, "enable_node_scheduling", own_pool, node_id)


@calls("create_node_user", "replace_node_user", "delete_node_user")
def test_users_of_a_node(sdk, own_pool, node_id):
    name = fresh("user")
    user = m.BatchNodeUserCreateOptions(
        name=name, is_admin=False, password="s3cret-Pass!", expiry_time=now() + timedelta(hours=1)
    )
    assert sdk.create_node_user(own_pool, node_id, user) is None
    sdk.refused(409, "NodeUserExists", "create_node_user", own_pool, node_id, user)
    changes = m.BatchNodeUserReplaceOptions(ssh_public_key="ssh-rsa AAAA x")
    assert sdk.replace_node_user(own_pool, node_id, name, changes) is None
    assert sdk.delete_node_user(own_pool, node_id, name) is None
    sdk.refused(404, "NodeUserNotFound", "delete_node_user", own_pool, node_id, name)


@calls("get_node_remote_login_settings", "list_node_extensions", "get_node_extension")
def test_login_and_extensions(sdk, own_pool, node_id):
    settings = sdk.get_node_remote_login_settings(own_pool, node_id)
    node = sdk.get_node(own_pool, node_id)
    assert settings.remote_login_ip_address == node.ip_address
    assert 0 < settings.remote_login_port < 65_536
    assert sdk.list_node_extensions(own_pool, node_id, select=["vmExtension"], max_results=5) == []
    code, name = "ResourceNotFound", "get_node_extension"
    sdk.refused(404, code, name, own_pool, node_id, "any", select=["vmExtension"])


@calls("upload_node_logs")
def test_logs_are_uploaded(sdk, service, own_pool, node_id):
    storage = BlobServiceClient.from_connection_string(service.storage.connection_string)
    with storage, storage.create_container(fresh("logs")) as container:
        sas = generate_container_sas(
            storage.account_name,
            container.container_name,
            account_key=storage.credential.account_key,
            permission=ContainerSasPermissions(write=True, create=True),
            expiry=now() + timedelta(hours=1),
        )
        options = m.UploadBatchServiceLogsOptions(
            container_url=f"{container.url}?{sas}", start_time=LONG_AGO, end_time=now()
        )
        result = sdk.upload_node_logs(own_pool, node_id, options)
        names = [blob.name for blob in container.list_blobs()]
    assert result.number_of_files_uploaded == len(names) >= 1
    assert all(name.startswith(f"{result.virtual_directory_name}/") for name in names)


@calls("list_node_files", "get_node_file_properties", "download_node_file", "delete_node_file")
def test_files_of_a_node(sdk, own_pool, node_id):
    job_id = fresh("job")
    info = m.BatchPoolInfo(pool_id=own_pool)
    sdk.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
    sdk.create_task(job_id, m.BatchTaskCreateOptions(id="t", command_line="printf 0123456789"))
    until(lambda: sdk.get_task(job_id, "t").state == "completed")
    root = sdk.get_task(job_id, "t").node_info.task_root_directory
    name = f"{root}/stdout.txt"
    found = sdk.list_node_files(
        own_pool, node_id, filter=f"startswith(name,'{root}/std')", recursive=True, max_results=1
    )
    assert [one.name for one in found] == [f"{root}/stderr.txt", name]
    assert found[1].properties.content_length == 10
    tops = {one.name for one in sdk.list_node_files(own_pool, node_id)}
    assert {"shared", "startup", "workitems"} <= tops
    later = now() + timedelta(hours=1)
    times = {"if_modified_since": LONG_AGO, "if_unmodified_since": later}
    shown = sdk.get_node_file_properties(own_pool, node_id, name, **times)
    assert shown.content_length == 10
    part = sdk.download_node_file(own_pool, node_id, name, ocp_range="bytes=2-5", **times)
    assert part == b"2345"
    for method in ("get_node_file_properties", "download_node_file"):
        sdk.unmet(304, method, own_pool, node_id, name, if_modified_since=later)
        sdk.unmet(412, method, own_pool, node_id, name, if_unmodified_since=LONG_AGO)
        sdk.refused(404, "FileNotFound", method, own_pool, node_id, f"{root}/none.txt")
    sdk.delete_node_file(own_pool, node_id, f"{root}/wd", recursive=True)
    rest = sdk.list_node_files(
        own_pool, node_id, filter=f"startswith(name,'{root}/wd')", recursive=True
    )
    assert rest == []
    assert sdk.begin_delete_job(job_id) == "Succeeded"
