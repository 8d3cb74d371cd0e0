"""A pool's network, its inbound endpoints, and the file systems mounted on its nodes."""

from __future__ import annotations

from msgspec import field

from lote.wire.base import Given
from lote.wire.enums import (
    DynamicVNetAssignmentScope,
    InboundEndpointProtocol,
    Int32,
    IpAddressProvisioningType,
    IPFamily,
    NetworkSecurityGroupRuleAccess,
)
from lote.wire.shared import NodeIdentityReference


class NetworkSecurityGroupRule(Given, kw_only=True):
    priority: Int32
    access: NetworkSecurityGroupRuleAccess
    source_address_prefix: str
    source_port_ranges: list[str] | None = None


class InboundNatPool(Given, kw_only=True):
    name: str
    protocol: InboundEndpointProtocol
    backend_port: Int32
    frontend_port_range_start: Int32
    frontend_port_range_end: Int32
    network_security_group_rules: list[NetworkSecurityGroupRule] | None = None


class PoolEndpointConfiguration(Given, kw_only=True):
    inbound_nat_pools: list[InboundNatPool] = field(name="inboundNATPools")


class IPTag(Given, kw_only=True):
    ip_tag_type: str | None = None
    tag: str | None = None


class PublicIpAddressConfiguration(Given, kw_only=True):
    provision: IpAddressProvisioningType | None = None
    ip_families: list[IPFamily] | None = None
    ip_address_ids: list[str] | None = None
    ip_tags: list[IPTag] | None = None


class NetworkConfiguration(Given, kw_only=True):
    subnet_id: str | None = None
    dynamic_vnet_assignment_scope: DynamicVNetAssignmentScope | None = field(
        name="dynamicVNetAssignmentScope", default=None
    )
    endpoint_configuration: PoolEndpointConfiguration | None = None
    public_ip_address_configuration: PublicIpAddressConfiguration | None = field(
        name="publicIPAddressConfiguration", default=None
    )
    enable_accelerated_networking: bool | None = None


class AzureBlobFileSystemConfiguration(Given, kw_only=True):
    account_name: str
    container_name: str
    account_key: str | None = None
    sas_key: str | None = None
    blobfuse_options: str | None = None
    relative_mount_path: str
    identity_reference: NodeIdentityReference | None = None


class NfsMountConfiguration(Given, kw_only=True):
    source: str
    relative_mount_path: str
    mount_options: str | None = None


class CifsMountConfiguration(Given, kw_only=True):
    username: str
    source: str
    relative_mount_path: str
    mount_options: str | None = None
    password: str | None = None


class AzureFileShareConfiguration(Given, kw_only=True):
    account_name: str
    account_key: str | None = None
    azure_file_url: str
    relative_mount_path: str
    mount_options: str | None = None


class MountConfiguration(Given, kw_only=True):
    azure_blob_file_system_configuration: AzureBlobFileSystemConfiguration | None = None
    nfs_mount_configuration: NfsMountConfiguration | None = None
    cifs_mount_configuration: CifsMountConfiguration | None = None
    azure_file_share_configuration: AzureFileShareConfiguration | None = None
