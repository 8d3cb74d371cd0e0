"""The images a pool may name and the node agents that go with them.

To a pool of local nodes an image is a label: it is shown again, and the nodes are what the
machine is. Samples of every client look one of these up before they create a pool.
"""

from __future__ import annotations

from lote.wire.account import SupportedImage
from lote.wire.enums import ImageVerificationType, OSType
from lote.wire.vm import VmImageReference

_ROWS: tuple[tuple[str, str, str, str, OSType, ImageVerificationType], ...] = (
    # agent, publisher, offer, sku, system, verified
    ("batch.node.ubuntu 24.04", "canonical", "ubuntu-24_04-lts", "server", "linux", "verified"),
    (
        "batch.node.ubuntu 22.04",
        "canonical",
        "0001-com-ubuntu-server-jammy",
        "22_04-lts",
        "linux",
        "verified",
    ),
    (
        "batch.node.ubuntu 20.04",
        "canonical",
        "0001-com-ubuntu-server-focal",
        "20_04-lts",
        "linux",
        "verified",
    ),
    ("batch.node.ubuntu 18.04", "canonical", "ubuntuserver", "18.04-lts", "linux", "verified"),
    ("batch.node.ubuntu 16.04", "canonical", "ubuntuserver", "16.04-lts", "linux", "verified"),
    ("batch.node.debian 12", "debian", "debian-12", "12", "linux", "verified"),
    ("batch.node.debian 11", "debian", "debian-11", "11", "linux", "verified"),
    ("batch.node.el 9", "almalinux", "almalinux-x86_64", "9-gen2", "linux", "verified"),
    ("batch.node.el 8", "almalinux", "almalinux", "8-gen2", "linux", "verified"),
    ("batch.node.el 9", "redhat", "rhel", "9-lvm", "linux", "unverified"),
    ("batch.node.centos 7", "openlogic", "centos", "7_9", "linux", "unverified"),
    ("batch.node.mariner 2.0", "microsoftcblmariner", "cbl-mariner", "2", "linux", "unverified"),
    *(
        (
            "batch.node.windows amd64",
            "microsoftwindowsserver",
            "windowsserver",
            sku,
            "windows",
            "verified",
        )
        for sku in (
            "2022-datacenter",
            "2022-datacenter-core",
            "2019-datacenter",
            "2019-datacenter-core",
            "2019-datacenter-smalldisk",
            "2016-datacenter",
            "2016-datacenter-smalldisk",
        )
    ),
)


def _image(
    agent: str,
    publisher: str,
    offer: str,
    sku: str,
    os_type: OSType,
    verification: ImageVerificationType,
) -> SupportedImage:
    reference = VmImageReference(publisher=publisher, offer=offer, sku=sku, version="latest")
    return SupportedImage(
        node_agent_sku_id=agent,
        image_reference=reference,
        os_type=os_type,
        verification_type=verification,
    )


SUPPORTED_IMAGES: tuple[SupportedImage, ...] = tuple(_image(*row) for row in _ROWS)
_OS_TYPES: dict[str, OSType] = {
    image.node_agent_sku_id.lower(): image.os_type for image in SUPPORTED_IMAGES
}


def os_type_of(node_agent_sku_id: str) -> OSType | None:
    """The system of a node agent, in any case; None for an agent nobody offers."""
    return _OS_TYPES.get(node_agent_sku_id.strip().lower())
