"""Rules on a pool's network and on the file systems its nodes mount."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lote.wire.errors import invalid_property, missing_property
from lote.wire.network import (
    InboundNatPool,
    MountConfiguration,
    NetworkConfiguration,
    PublicIpAddressConfiguration,
)
from lote.wire.rules import (
    check_exactly_one,
    check_range,
    check_relative_path,
    check_text,
    refuse_reference,
)

# REST: inbound NAT pools and their security rules
NAT_POOLS_MAX = 5
FRONTEND_PORTS_MIN = 40
SECURITY_RULES_MAX = 25
SECURITY_PRIORITY_MIN, SECURITY_PRIORITY_MAX = 150, 4096
_BACKEND_PORTS_TAKEN = frozenset({29876, 29877})
_FRONTEND_TAKEN_FIRST, _FRONTEND_TAKEN_LAST = 50_000, 55_000
_PORT_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,75}[A-Za-z0-9_])?", re.ASCII)

# What says where a file system is; no part of it can be empty.
_MOUNT_TEXTS = {
    "account_name": "accountName",
    "container_name": "containerName",
    "source": "source",
    "username": "username",
    "azure_file_url": "azureFileUrl",
}
PORT_MAX = 65_535  # TCP and UDP
_PORT = re.compile(r"\d{1,5}", re.ASCII)

MOUNTS_MAX = 10  # REST: mountConfiguration


def check_network(name: str, network: NetworkConfiguration) -> None:
    """Check the inbound endpoints and the addresses; there are no subnets to be in."""
    if network.subnet_id is not None:
        check_text(name + ".subnetId", network.subnet_id)
        refuse_reference(name + ".subnetId", "virtual network")
    addresses = network.public_ip_address_configuration
    if addresses is not None:
        _check_addresses(name + ".publicIPAddressConfiguration", addresses)
    if network.endpoint_configuration is None:
        return
    prefix = name + ".endpointConfiguration.inboundNATPools"
    nat_pools = network.endpoint_configuration.inbound_nat_pools
    if len(nat_pools) > NAT_POOLS_MAX:
        raise invalid_property(prefix, len(nat_pools), f"At most {NAT_POOLS_MAX} are allowed.")
    for index, nat_pool in enumerate(nat_pools):
        _check_nat_pool(f"{prefix}[{index}]", nat_pool)
    _check_apart(prefix, nat_pools)
    _check_security_rules(prefix, nat_pools)


def check_mounts(name: str, mounts: Sequence[MountConfiguration]) -> None:
    """At most ten, each of one kind, each with a way in and a path inside the mounts folder."""
    if len(mounts) > MOUNTS_MAX:
        raise invalid_property(name, len(mounts), f"At most {MOUNTS_MAX} are allowed.")
    paths = set()
    for index, mount in enumerate(mounts):
        path_name, path = _check_mount(f"{name}[{index}].", mount)
        if path.strip("/") in paths:
            raise invalid_property(path_name, path, "Two file systems have one path.")
        paths.add(path.strip("/"))


def _check_addresses(name: str, addresses: PublicIpAddressConfiguration) -> None:
    if addresses.ip_address_ids:
        if addresses.provision != "usermanaged":
            reason = "Addresses are named only when provision is usermanaged."
            raise invalid_property(name + ".ipAddressIds", None, reason)
        refuse_reference(name + ".ipAddressIds[0]", "public IP address")
    if addresses.provision == "usermanaged":
        raise missing_property(name + ".ipAddressIds")


def _check_nat_pool(name: str, nat_pool: InboundNatPool) -> None:
    if not _PORT_NAME.fullmatch(nat_pool.name):
        reason = "A name has 1 to 77 letters, digits, dots, hyphens and underscores."
        raise invalid_property(name + ".name", nat_pool.name, reason)
    check_range(name + ".backendPort", nat_pool.backend_port, 1, 65_535)
    if nat_pool.backend_port in _BACKEND_PORTS_TAKEN:
        reason = "The port is taken by the service."
        raise invalid_property(name + ".backendPort", nat_pool.backend_port, reason)
    first, last = nat_pool.frontend_port_range_start, nat_pool.frontend_port_range_end
    check_range(name + ".frontendPortRangeStart", first, 1, 65_534)
    check_range(name + ".frontendPortRangeEnd", last, 1, 65_534)
    if last - first + 1 < FRONTEND_PORTS_MIN:
        reason = f"The range must hold at least {FRONTEND_PORTS_MIN} ports."
        raise invalid_property(name + ".frontendPortRangeEnd", last, reason)
    if first <= _FRONTEND_TAKEN_LAST and last >= _FRONTEND_TAKEN_FIRST:
        reason = f"Ports {_FRONTEND_TAKEN_FIRST} to {_FRONTEND_TAKEN_LAST} are taken."
        raise invalid_property(name + ".frontendPortRangeStart", first, reason)


def _check_apart(name: str, nat_pools: Sequence[InboundNatPool]) -> None:
    """No two with one name, one backend port, or a frontend port in common."""
    for index, nat_pool in enumerate(nat_pools):
        for other in nat_pools[:index]:
            if other.name.lower() == nat_pool.name.lower():
                raise invalid_property(f"{name}[{index}].name", nat_pool.name, "Already in use.")
            if other.backend_port == nat_pool.backend_port:
                port = nat_pool.backend_port
                raise invalid_property(f"{name}[{index}].backendPort", port, "Already in use.")
            if (
                nat_pool.frontend_port_range_start <= other.frontend_port_range_end
                and other.frontend_port_range_start <= nat_pool.frontend_port_range_end
            ):
                port = nat_pool.frontend_port_range_start
                reason = "Two ranges have ports in common."
                raise invalid_property(f"{name}[{index}].frontendPortRangeStart", port, reason)


def _check_security_rules(name: str, nat_pools: Sequence[InboundNatPool]) -> None:
    count = sum(len(nat_pool.network_security_group_rules or ()) for nat_pool in nat_pools)
    if count > SECURITY_RULES_MAX:
        raise invalid_property(name, count, f"A pool has at most {SECURITY_RULES_MAX} rules.")
    seen = set()
    for index, nat_pool in enumerate(nat_pools):
        for number, rule in enumerate(nat_pool.network_security_group_rules or ()):
            member = f"{name}[{index}].networkSecurityGroupRules[{number}]"
            low, high = SECURITY_PRIORITY_MIN, SECURITY_PRIORITY_MAX
            check_range(member + ".priority", rule.priority, low, high)
            if rule.priority in seen:
                reason = "Two rules have the same priority."
                raise invalid_property(member + ".priority", rule.priority, reason)
            seen.add(rule.priority)
            check_text(member + ".sourceAddressPrefix", rule.source_address_prefix)
            for place, ports in enumerate(rule.source_port_ranges or ()):
                _check_ports(f"{member}.sourcePortRanges[{place}]", ports)


def _check_ports(name: str, value: str) -> None:
    """``*``, one port, or two with a hyphen between them."""
    first, _, last = value.partition("-")
    ports = [text for text in (first, last or first) if _PORT.fullmatch(text)]
    if value == "*" or (
        len(ports) == 2 and int(ports[0]) <= int(ports[1]) <= PORT_MAX and value[-1] != "-"
    ):
        return
    raise invalid_property(name, value, "A port, a range such as 100-200, or * is expected.")


def _check_mount(prefix: str, mount: MountConfiguration) -> tuple[str, str]:
    """Where it is mounted: the name of that member and its value."""
    blob, share = mount.azure_blob_file_system_configuration, mount.azure_file_share_configuration
    nfs, cifs = mount.nfs_mount_configuration, mount.cifs_mount_configuration
    kinds = [
        ("azureBlobFileSystemConfiguration", blob),
        ("nfsMountConfiguration", nfs),
        ("cifsMountConfiguration", cifs),
        ("azureFileShareConfiguration", share),
    ]
    check_exactly_one(prefix, kinds)
    name = prefix + next(member for member, kind in kinds if kind is not None)
    found = blob or nfs or cifs or share
    if found is None:  # unreachable after the check above; tells the type checker so
        raise missing_property(name)
    check_relative_path(name + ".relativeMountPath", found.relative_mount_path)
    for member in _MOUNT_TEXTS:
        text = getattr(found, member, None)
        if text is not None:
            check_text(f"{name}.{_MOUNT_TEXTS[member]}", text)
    if blob is not None:
        ways_in = [
            ("accountKey", blob.account_key),
            ("sasKey", blob.sas_key),
            ("identityReference", blob.identity_reference),
        ]
        check_exactly_one(name + ".", ways_in)
        if blob.identity_reference is not None:
            refuse_reference(name + ".identityReference", "managed identity")
    if cifs is not None and cifs.password is None:
        raise missing_property(name + ".password")
    if share is not None and share.account_key is None:
        raise missing_property(name + ".accountKey")
    return name + ".relativeMountPath", found.relative_mount_path
