"""What belongs to the account, with the official Python client 15.1; and no method is forgotten."""

from __future__ import annotations

import importlib
from datetime import timedelta
from pathlib import Path

from azure.batch import BatchClient
from azure.batch import models as m
from azure.batch.aio import BatchClient as AsyncBatchClient
from azure.core.rest import HttpRequest

from lote.wire.operations import OPERATIONS

from . import covered
from .covered import ALSO, column
from .modern import COVERED, calls, now, public_methods


@calls("list_applications", "get_application")
def test_there_are_no_applications(sdk):
    assert sdk.list_applications(max_results=10) == []
    sdk.refused(404, "ApplicationNotFound", "get_application", "blender")


@calls("list_supported_images")
def test_images_are_listed(sdk):
    text = "osType eq 'linux' and verificationType eq 'verified'"
    found = sdk.list_supported_images(filter=text, max_results=3)
    assert len(found) > 3
    for image in found:
        assert image.os_type is m.OSType.LINUX
        assert image.verification_type is m.ImageVerificationType.VERIFIED
        assert image.node_agent_sku_id.startswith("batch.node.")
        assert image.image_reference.publisher
        assert image.image_reference.sku
    agents = {image.node_agent_sku_id for image in found}
    assert "batch.node.ubuntu 24.04" in agents


@calls("list_pool_node_counts", "list_pool_usage_metrics")
def test_nodes_and_core_hours_are_counted(sdk, pool):
    (counts,) = sdk.list_pool_node_counts(filter=f"poolId eq '{pool}'", max_results=10)
    assert counts.pool_id == pool
    assert (counts.dedicated.total, counts.low_priority.total) == (2, 0)
    assert counts.dedicated.idle + counts.dedicated.running == 2
    found = sdk.list_pool_usage_metrics(
        start_time=now() - timedelta(hours=2),
        end_time=now() + timedelta(minutes=1),
        filter=f"poolId eq '{pool}'",
        max_results=10,
    )
    assert found
    for one in found:
        assert (one.pool_id, one.vm_size) == (pool, "standard_d2_v2")
        assert one.end_time - one.start_time == timedelta(minutes=30)
        assert one.total_core_hours > 0


@calls("send_request")
def test_a_request_of_ones_own(sdk, pool):
    request = HttpRequest("GET", f"/pools/{pool}", params={"api-version": "2025-06-01"})
    response = sdk.send_request(request, stream=False)
    assert response.status_code == 200
    assert response.json()["id"] == pool
    assert response.headers["etag"] == response.json()["eTag"]


def test_every_method_has_a_test():
    """A method that a newer client adds fails here until it is called with all its options."""
    for path in Path(__file__).parent.glob("test_modern_*.py"):
        importlib.import_module(f"{__package__}.{path.stem}")
    assert set(COVERED) == public_methods(BatchClient) == public_methods(AsyncBatchClient)
    assert set(COVERED) == {*column("modern"), *ALSO["modern"]}


def test_the_table_names_operations_of_the_service():
    assert set(covered.COVERED) <= {row.name for row in OPERATIONS}
