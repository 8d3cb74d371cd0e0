"""Cores by the name of a VM size, and the images."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.wire.errors import Refused
from lote.wire.images import SUPPORTED_IMAGES, os_type_of
from lote.wire.vm_sizes import CORES_MAX, cores_of


@pytest.mark.parametrize(
    ("size", "cores"),
    [
        ("Standard_D4s_v3", 4),
        ("STANDARD_F72s_v2", 72),
        ("standard_d1_v2", 1),
        ("standard_d2_v2", 2),
        ("standard_d5_v2", 16),
        ("standard_d15_v2", 20),
        ("Standard_DS3_v2_Promo", 4),
        ("standard_d2_v3", 2),
        ("standard_a1_v2", 1),
        ("standard_a2m_v2", 2),
        ("standard_a4", 8),
        ("basic_a0", 1),
        ("small", 1),
        ("ExtraLarge", 8),
        ("Standard_G3", 8),
        ("Standard_M8-2ms", 2),
        ("Standard_HB120-16rs_v3", 16),
        ("Standard_NC4as_T4_v3", 4),
        ("Standard_ND96asr_v4", 96),
        ("Standard_B1ls", 1),
        ("Standard_E96ias_v4", 96),
        ("Standard_M416s_8_v2", 416),
    ],
)
def test_cores_by_name(size: str, cores: int):
    assert cores_of(size) == cores


@pytest.mark.parametrize(
    "size", ["", "standard", "Standard_", "4", "Standard_D0_v5", "Standard_D9999_v5", "Standard_D7",
             "Standard_A99", "a b", "Standard_D4s v3", "Standard_D٤s_v3"]
)  # fmt: skip
def test_unknown_sizes_are_refused(size: str):
    with pytest.raises(Refused) as caught:
        cores_of(size)
    assert caught.value.code == "InvalidPropertyValue"
    assert ("PropertyName", "vmSize") in caught.value.values


@given(st.text())
def test_any_text_has_cores_or_is_refused(size: str):
    try:
        cores = cores_of(size)
    except Refused:
        return
    assert 1 <= cores <= CORES_MAX


def test_the_images_that_samples_look_for_are_there():
    seen = {
        (image.image_reference.publisher, image.image_reference.sku, image.node_agent_sku_id)
        for image in SUPPORTED_IMAGES
    }
    assert ("canonical", "22_04-lts", "batch.node.ubuntu 22.04") in seen
    assert ("canonical", "18.04-lts", "batch.node.ubuntu 18.04") in seen
    assert ("microsoftwindowsserver", "2016-datacenter", "batch.node.windows amd64") in seen
    assert len(seen) == len(SUPPORTED_IMAGES)


def test_the_system_of_an_agent():
    assert os_type_of("Batch.Node.Ubuntu 22.04") == "linux"
    assert os_type_of("batch.node.windows amd64") == "windows"
    assert os_type_of("batch.node.beos 5") is None
