"""Rules on the machine behind a pool: image, disks, containers, extensions, upgrades.

An engine's nodes are not the provider's machines, so most of what is checked here is recorded and
shown again, and means nothing more. What refers to something that could only exist in the
provider's cloud is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

from lote.wire.errors import invalid_property, missing_property
from lote.wire.images import os_type_of
from lote.wire.pool import UpgradePolicy
from lote.wire.rules import (
    check_at_least,
    check_duration,
    check_exactly_one,
    check_range,
    check_registry,
    check_text,
    refuse_reference,
)
from lote.wire.vm import (
    ContainerConfiguration,
    DataDisk,
    ManagedDisk,
    SecurityProfile,
    VirtualMachineConfiguration,
    VMExtension,
    VmImageReference,
)

DATA_DISK_LUN_MAX = 63  # REST: dataDisks
BATCH_PERCENT_MIN = 5  # REST: rollingUpgradePolicy


def check_machine(name: str, machine: VirtualMachineConfiguration) -> None:
    """Source: REST, virtualMachineConfiguration of Add Pool."""
    check_text(name + ".nodeAgentSKUId", machine.node_agent_sku_id)
    _check_image(name + ".imageReference", machine.image_reference)
    is_linux = os_type_of(machine.node_agent_sku_id) == "linux"
    if machine.windows_configuration is not None and is_linux:
        reason = "The property is allowed only for Windows images."
        raise invalid_property(name + ".windowsConfiguration", None, reason)
    _check_data_disks(name + ".dataDisks", machine.data_disks or ())
    if machine.os_disk is not None:
        check_at_least(name + ".osDisk.diskSizeGB", machine.os_disk.disk_size_gb, 1)
        _check_managed_disk(name + ".osDisk.managedDisk", machine.os_disk.managed_disk)
    if machine.container_configuration is not None:
        _check_containers(name + ".containerConfiguration", machine.container_configuration)
    _check_extensions(name + ".extensions", machine.extensions or ())
    encryption = machine.disk_encryption_configuration
    if encryption is not None and encryption.customer_managed_key is not None:
        refuse_reference(name + ".diskEncryptionConfiguration.customerManagedKey", "key vault")
    if machine.security_profile is not None:
        _check_proxy_agent(name + ".securityProfile", machine.security_profile)
    if machine.service_artifact_reference is not None:
        refuse_reference(name + ".serviceArtifactReference.id", "image gallery")


def _check_data_disks(name: str, disks: Sequence[DataDisk]) -> None:
    luns = set()
    for index, disk in enumerate(disks):
        lun_name = f"{name}[{index}].lun"
        check_range(lun_name, disk.lun, 0, DATA_DISK_LUN_MAX)
        check_at_least(f"{name}[{index}].diskSizeGB", disk.disk_size_gb, 1)
        if disk.lun in luns:
            raise invalid_property(lun_name, disk.lun, "Two disks have the same number.")
        luns.add(disk.lun)
        _check_managed_disk(f"{name}[{index}].managedDisk", disk.managed_disk)


def _check_managed_disk(name: str, disk: ManagedDisk | None) -> None:
    encryption_set = disk.disk_encryption_set if disk is not None else None
    if encryption_set is not None and encryption_set.id is not None:
        refuse_reference(name + ".diskEncryptionSet.id", "disk encryption set")


def _check_containers(name: str, container: ContainerConfiguration) -> None:
    for index, image in enumerate(container.container_image_names or ()):
        check_text(f"{name}.containerImageNames[{index}]", image)
    for index, registry in enumerate(container.container_registries or ()):
        check_registry(f"{name}.containerRegistries[{index}]", registry)


def _check_extensions(name: str, extensions: Sequence[VMExtension]) -> None:
    names: set[str] = set()
    for index, extension in enumerate(extensions):
        prefix = f"{name}[{index}]"
        check_text(prefix + ".name", extension.name)
        check_text(prefix + ".publisher", extension.publisher)
        check_text(prefix + ".type", extension.type)
        if extension.name.lower() in names:
            reason = "Two extensions have this name."
            raise invalid_property(prefix + ".name", extension.name, reason)
        names.add(extension.name.lower())
    for index, extension in enumerate(extensions):
        for number, other in enumerate(extension.provision_after_extensions or ()):
            if other.lower() not in names or other.lower() == extension.name.lower():
                member = f"{name}[{index}].provisionAfterExtensions[{number}]"
                raise invalid_property(member, other, "There is no other extension of this name.")


def _check_proxy_agent(name: str, profile: SecurityProfile) -> None:
    agent = profile.proxy_agent_settings
    if agent is None:
        return
    for member, settings in (("imds", agent.imds), ("wireServer", agent.wire_server)):
        if settings is not None and settings.in_vm_access_control_profile_reference_id is not None:
            path = f"{name}.proxyAgentSettings.{member}.inVMAccessControlProfileReferenceId"
            refuse_reference(path, "image gallery")


def check_upgrade_policy(name: str, policy: UpgradePolicy) -> None:
    """Percentages of a rolling upgrade and its pause. Source: REST, upgradePolicy of Add Pool."""
    rolling = policy.rolling_upgrade_policy
    if rolling is None:
        return
    prefix = name + ".rollingUpgradePolicy"
    for member, value, low in (
        ("maxBatchInstancePercent", rolling.max_batch_instance_percent, BATCH_PERCENT_MIN),
        ("maxUnhealthyInstancePercent", rolling.max_unhealthy_instance_percent, BATCH_PERCENT_MIN),
        (
            "maxUnhealthyUpgradedInstancePercent",
            rolling.max_unhealthy_upgraded_instance_percent,
            0,
        ),
    ):
        check_range(f"{prefix}.{member}", value, low, 100)
    check_duration(prefix + ".pauseTimeBetweenBatches", rolling.pause_time_between_batches)


def _check_image(name: str, image: VmImageReference) -> None:
    market = [image.publisher, image.offer, image.sku]
    ids = [
        ("virtualMachineImageId", image.virtual_machine_image_id),
        ("sharedGalleryImageId", image.shared_gallery_image_id),
        ("communityGalleryImageId", image.community_gallery_image_id),
    ]
    given = [member for member, value in ids if value is not None]
    if given:
        check_exactly_one(name + ".", ids)
        if any(part is not None for part in market):
            reason = "An image id excludes publisher, offer and sku."
            raise invalid_property(f"{name}.{given[0]}", None, reason)
        refuse_reference(f"{name}.{given[0]}", "image gallery")
    for member, part in zip(("publisher", "offer", "sku"), market, strict=True):
        if part is None:
            raise missing_property(f"{name}.{member}")
        check_text(f"{name}.{member}", part)
