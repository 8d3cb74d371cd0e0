"""What belongs to the account: supported images, applications; and every operation answers."""

from __future__ import annotations

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceNotFoundError

from lote.wire.operations import OPERATIONS, Operation

from .conftest import MACHINE, create_pool, fresh, until
from .raw_http import check_error
from .success import check_headers


def test_images_on_the_wire(raw):
    reply = raw("GET", "/supportedimages")
    check_headers(reply)
    assert reply.json["odata.metadata"] == f"{raw.endpoint}/$metadata#supportedimages"
    for image in reply.json["value"]:
        assert image["osType"] in ("linux", "windows")
        assert image["verificationType"] in ("verified", "unverified")
        assert {"publisher", "offer", "sku", "version"} <= set(image["imageReference"])
        assert image["nodeAgentSKUId"].startswith("batch.node.")


@pytest.mark.parametrize(
    ("publisher", "offer", "sku"),
    [
        ("canonical", "ubuntuserver", "18.04-lts"),
        ("canonical", "ubuntuserver", "16.04-lts"),
        ("canonical", "0001-com-ubuntu-server-focal", "20_04-lts"),
        ("microsoftwindowsserver", "windowsserver", "2019-datacenter"),
        ("microsoftwindowsserver", "windowsserver", "2016-datacenter"),
    ],
)
def test_the_images_that_samples_look_for(batch, publisher, offer, sku):
    """As the samples do it: page through, compare in lower case, take the node agent."""
    found = [
        image
        for image in batch.list_supported_images(filter="verificationType eq 'verified'")
        if image.image_reference.publisher.lower() == publisher
        and image.image_reference.offer.lower() == offer
        and image.image_reference.sku.lower() == sku
    ]
    assert found
    assert found[0].verification_type == m.ImageVerificationType.VERIFIED
    pool_id = fresh("sampled")
    batch.create_pool(
        m.BatchPoolCreateOptions(
            id=pool_id,
            vm_size="standard_d2_v3",
            virtual_machine_configuration=m.VirtualMachineConfiguration(
                image_reference=found[0].image_reference,
                node_agent_sku_id=found[0].node_agent_sku_id,
            ),
        )
    )
    assert batch.get_pool(pool_id).allocation_state == "steady"


@pytest.mark.parametrize(
    "text",
    [
        "osType eq 'linux'",
        "osType eq 'Windows'",
        "osType ne 'windows' and verificationType eq 'verified'",
        "nodeAgentSKUId eq 'batch.node.ubuntu 24.04'",
        "nodeAgentSKUId ne 'batch.node.windows amd64' and verificationType ne 'unverified'",
    ],
)
def test_image_filters(batch, text):
    every = list(batch.list_supported_images())
    found = list(batch.list_supported_images(filter=text))
    assert 0 < len(found) < len(every)
    for image in found:
        if "linux" in text or "ne 'windows'" in text:
            assert image.os_type == m.OSType.LINUX
        if "'Windows'" in text:
            assert image.os_type == m.OSType.WINDOWS
        if "24.04" in text:
            assert image.node_agent_sku_id == "batch.node.ubuntu 24.04"


def test_wrong_image_filter(raw):
    reply = raw("GET", "/supportedimages?$filter=publisher%20eq%20'x'")
    check_error(reply, 400, "InvalidQueryParameterValue")


def test_any_image_will_do_on_local_nodes(raw):
    """A label is kept as it was sent: custom images and newer agents have labels of their own."""
    machine = {
        "imageReference": {"publisher": "p", "offer": "o", "sku": "s", "version": "1.2"},
        "nodeAgentSKUId": "batch.node.plan9",
    }
    pool_id = fresh("labelled")
    body = {
        "id": pool_id,
        "vmSize": "standard_d2_v2",
        "virtualMachineConfiguration": machine,
    }
    assert raw("POST", "/pools", body).status == 201
    assert raw("GET", f"/pools/{pool_id}").json["virtualMachineConfiguration"] == machine


def test_no_applications(raw, batch):
    reply = raw("GET", "/applications")
    check_headers(reply)
    assert reply.json == {
        "odata.metadata": f"{raw.endpoint}/$metadata#applications",
        "value": [],
    }
    assert list(batch.list_applications()) == []
    with pytest.raises(ResourceNotFoundError) as caught:
        batch.get_application("blender")
    assert caught.value.error.code == "ApplicationNotFound"


def path_of(operation: Operation) -> str:
    return operation.path.format(
        **dict.fromkeys(
            (
                "pool_id",
                "node_id",
                "job_id",
                "task_id",
                "job_schedule_id",
                "extension_name",
                "user_name",
                "file_path",
                "thumbprint",
                "thumbprint_algorithm",
                "application_id",
            ),
            "x",
        )
    )


def test_every_real_operation_is_answered(raw):
    """None of them is forgotten: on things that are not there, each says what is not there."""
    for operation in OPERATIONS:
        if not operation.real:
            continue
        body = {} if operation.takes is not None else None
        reply = raw(operation.method, path_of(operation), body)
        assert reply.status in (operation.status, 400, 404), (operation.name, reply.body)
        assert "request-id" in reply.headers


def test_the_image_is_a_label(batch, pool):
    node = next(iter(batch.list_nodes(pool)))
    reference = node.virtual_machine_info.image_reference
    assert reference.offer == MACHINE.image_reference.offer
    assert reference.exact_version  # says what the node really runs


def test_low_priority_nodes_are_counted_apart(batch):
    pool_id = fresh("spot")
    create_pool(batch, pool_id, 0, target_low_priority_nodes=1)
    until(lambda: batch.get_pool(pool_id).current_low_priority_nodes == 1)
    (counts,) = batch.list_pool_node_counts(filter=f"poolId eq '{pool_id}'")
    assert (counts.dedicated.total, counts.low_priority.total) == (0, 1)
    batch.begin_delete_pool(pool_id, polling_interval=5)
