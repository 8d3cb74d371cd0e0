"""The machine behind a pool: image, disks, containers, encryption, extensions."""

from __future__ import annotations

from typing import Any

from msgspec import field

from lote.wire.base import Given
from lote.wire.enums import (
    CachingType,
    ContainerType,
    DiffDiskPlacement,
    DiskEncryptionTarget,
    HostEndpointSettingsModeTypes,
    Int32,
    NodePlacementPolicyType,
    SecurityEncryptionTypes,
    SecurityTypes,
    StorageAccountType,
)
from lote.wire.shared import ContainerRegistryReference


class VmImageReference(Given, kw_only=True):
    publisher: str | None = None
    offer: str | None = None
    sku: str | None = None
    version: str | None = None
    virtual_machine_image_id: str | None = None
    exact_version: str | None = None
    shared_gallery_image_id: str | None = None
    community_gallery_image_id: str | None = None


class WindowsConfiguration(Given, kw_only=True):
    enable_automatic_updates: bool | None = None


class DiskEncryptionSetParameters(Given, kw_only=True):
    id: str | None = None


class VmDiskSecurityProfile(Given, kw_only=True):
    security_encryption_type: SecurityEncryptionTypes | None = None


class ManagedDisk(Given, kw_only=True):
    disk_encryption_set: DiskEncryptionSetParameters | None = None
    storage_account_type: StorageAccountType | None = None
    security_profile: VmDiskSecurityProfile | None = None


class DataDisk(Given, kw_only=True):
    lun: Int32
    caching: CachingType | None = None
    disk_size_gb: Int32 = field(name="diskSizeGB")
    managed_disk: ManagedDisk | None = None
    # only in older api-versions
    storage_account_type: StorageAccountType | None = None


class DiffDiskSettings(Given, kw_only=True):
    placement: DiffDiskPlacement | None = None


class OsDisk(Given, kw_only=True):
    ephemeral_os_disk_settings: DiffDiskSettings | None = field(
        name="ephemeralOSDiskSettings", default=None
    )
    caching: CachingType | None = None
    disk_size_gb: Int32 | None = field(name="diskSizeGB", default=None)
    managed_disk: ManagedDisk | None = None
    write_accelerator_enabled: bool | None = None


class ContainerConfiguration(Given, kw_only=True):
    type: ContainerType
    container_image_names: list[str] | None = None
    container_registries: list[ContainerRegistryReference] | None = None


class PoolIdentityReference(Given, kw_only=True):
    resource_id: str | None = None


class DiskCustomerManagedKey(Given, kw_only=True):
    identity_reference: PoolIdentityReference | None = None
    key_url: str | None = None
    rotation_to_latest_key_version_enabled: bool | None = None


class DiskEncryptionConfiguration(Given, kw_only=True):
    customer_managed_key: DiskCustomerManagedKey | None = None
    targets: list[DiskEncryptionTarget] | None = None


class NodePlacementConfiguration(Given, kw_only=True):
    policy: NodePlacementPolicyType | None = None


class VMExtension(Given, kw_only=True):
    name: str
    publisher: str
    type: str
    type_handler_version: str | None = None
    auto_upgrade_minor_version: bool | None = None
    enable_automatic_upgrade: bool | None = None
    settings: dict[str, Any] | None = None
    protected_settings: dict[str, Any] | None = None
    provision_after_extensions: list[str] | None = None


class UefiSettings(Given, kw_only=True):
    secure_boot_enabled: bool | None = None
    vtpm_enabled: bool | None = field(name="vTpmEnabled", default=None)


class HostEndpointSettings(Given, kw_only=True):
    in_vm_access_control_profile_reference_id: str | None = field(
        name="inVMAccessControlProfileReferenceId", default=None
    )
    mode: HostEndpointSettingsModeTypes | None = None


class ProxyAgentSettings(Given, kw_only=True):
    enabled: bool | None = None
    imds: HostEndpointSettings | None = None
    wire_server: HostEndpointSettings | None = None


class SecurityProfile(Given, kw_only=True):
    encryption_at_host: bool | None = None
    proxy_agent_settings: ProxyAgentSettings | None = None
    security_type: SecurityTypes | None = None
    uefi_settings: UefiSettings | None = None


class ServiceArtifactReference(Given, kw_only=True):
    id: str


class VirtualMachineConfiguration(Given, kw_only=True):
    image_reference: VmImageReference
    node_agent_sku_id: str = field(name="nodeAgentSKUId")
    windows_configuration: WindowsConfiguration | None = None
    data_disks: list[DataDisk] | None = None
    license_type: str | None = None
    container_configuration: ContainerConfiguration | None = None
    disk_encryption_configuration: DiskEncryptionConfiguration | None = None
    node_placement_configuration: NodePlacementConfiguration | None = None
    extensions: list[VMExtension] | None = None
    os_disk: OsDisk | None = None
    security_profile: SecurityProfile | None = None
    service_artifact_reference: ServiceArtifactReference | None = None
