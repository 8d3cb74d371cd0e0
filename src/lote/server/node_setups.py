"""What the nodes of a pool are told of it: its accounts, who is to see certificates, and what it
needs to run containers."""

from __future__ import annotations

from typing import Any, get_args

from lote.server.memory import PoolState
from lote.wire.enums import CertificateVisibility
from lote.wire.frames import Account, ContainerPool, Registry

DEFAULT_REGISTRY = "docker.io"  # REST: ContainerRegistryReference, registryServer


def set_up_pool(pool: PoolState, spec: dict[str, Any]) -> None:
    """Take what nodes need out of the pool's spec, as it is now."""
    machine = spec.get("virtualMachineConfiguration") or {}
    pool.containers = _containers_of(machine.get("containerConfiguration"))
    pool.accounts = [_account(one) for one in spec.get("userAccounts") or []]
    pool.certificates = _viewers(spec.get("certificateReferences") or [])


def _viewers(references: list[dict[str, Any]]) -> list[str]:
    """Who is to see any of these certificates; a reference that does not say shows it to all."""
    everybody = get_args(CertificateVisibility)
    seen = {who for one in references for who in one.get("visibility") or everybody}
    return sorted(seen)


def _containers_of(configuration: dict[str, Any] | None) -> ContainerPool | None:
    if configuration is None:
        return None
    registries = [
        Registry(
            one.get("registryServer") or DEFAULT_REGISTRY,
            one.get("username") or "",
            one.get("password") or "",
        )
        for one in configuration.get("containerRegistries") or []
    ]
    return ContainerPool(configuration.get("containerImageNames") or [], registries)


def _account(account: dict[str, Any]) -> Account:
    """Without its password: nobody logs in here."""
    linux = account.get("linuxUserConfiguration") or {}
    is_admin = account.get("elevationLevel") == "admin"
    return Account(account["name"], is_admin, linux.get("uid"), linux.get("gid"))
