"""Which names are allowed. Source: REST "Naming and referencing containers, blobs, metadata"."""

from __future__ import annotations

import re
from collections.abc import Mapping

from lote.storage.errors import Refused

CONTAINER_NAME = re.compile(r"[a-z0-9](?:-?[a-z0-9])+|\$root|\$web|\$logs")
CONTAINER_NAME_MIN = 3
CONTAINER_NAME_MAX = 63
BLOB_NAME_MAX = 1024
LENGTH_TEXT = "The specified resource name length is not within the permissible limits."
METADATA_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
METADATA_MAX_BYTES = 8 * 1024


def check_container_name(name: str) -> None:
    """Refuses: OutOfRangeInput for the length, InvalidResourceName for the characters."""
    if not CONTAINER_NAME_MIN <= len(name) <= CONTAINER_NAME_MAX:
        raise Refused("OutOfRangeInput", LENGTH_TEXT)
    if CONTAINER_NAME.fullmatch(name) is None:
        raise Refused("InvalidResourceName")


def check_blob_name(name: str) -> None:
    """Any characters do. Refuses: OutOfRangeInput for the length."""
    if not 1 <= len(name) <= BLOB_NAME_MAX:
        raise Refused("OutOfRangeInput", LENGTH_TEXT)


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Refuses: InvalidMetadata for a name that is no identifier, MetadataTooLarge over 8 KiB."""
    for name in metadata:
        if METADATA_NAME.fullmatch(name) is None:
            raise Refused("InvalidMetadata")
    if sum(len(name) + len(value) for name, value in metadata.items()) > METADATA_MAX_BYTES:
        raise Refused("MetadataTooLarge")
