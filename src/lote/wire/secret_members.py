"""Take out of a struct what the service stores for use but never shows again."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from lote.wire.network import (
    AzureBlobFileSystemConfiguration,
    AzureFileShareConfiguration,
    CifsMountConfiguration,
)
from lote.wire.node import NodeUserCreate, NodeUserReplace
from lote.wire.pool import LinuxUserConfiguration, UserAccount
from lote.wire.shared import ContainerRegistryReference
from lote.wire.vm import VMExtension

T = TypeVar("T", bound=msgspec.Struct)

# REST: members documented as never returned. Signatures inside URLs are blanked by the views.
SECRETS: dict[type[msgspec.Struct], tuple[str, ...]] = {
    AzureBlobFileSystemConfiguration: ("account_key", "sas_key"),
    AzureFileShareConfiguration: ("account_key",),
    CifsMountConfiguration: ("password",),
    ContainerRegistryReference: ("password",),
    LinuxUserConfiguration: ("ssh_private_key",),
    NodeUserCreate: ("password",),
    NodeUserReplace: ("password",),
    UserAccount: ("password",),
    VMExtension: ("protected_settings",),
}


def without_secrets(struct: T) -> T:
    """The struct without its secrets: a changed copy, or itself if it has none anywhere."""
    changes: dict[str, Any] = {}
    hidden = SECRETS.get(type(struct), ())
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if value is None:
            continue
        shown = None if name in hidden else _shown(value)
        if shown is not value:
            changes[name] = shown
    return msgspec.structs.replace(struct, **changes) if changes else struct


def _shown(value: object) -> object:
    if isinstance(value, msgspec.Struct):
        return without_secrets(value)
    if isinstance(value, list):
        items = [_shown(item) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else items
    return value
