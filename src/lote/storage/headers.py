"""Properties and metadata: from request headers, and as answer headers."""

from __future__ import annotations

from collections.abc import Mapping

from lote.storage.blob import Blob
from lote.storage.call import Call
from lote.storage.container import Container
from lote.storage.errors import Refused, invalid_header, unsupported_header
from lote.storage.incoming import parse_md5
from lote.storage.names import check_metadata
from lote.storage.times import etag_text, http_date

DEFAULT_CONTENT_TYPE = "application/octet-stream"
TIERS = ("Hot", "Cool", "Cold")  # kept as a label; Archive would have to make blobs unreadable

# property, answer header, and the request header that sets it
CONTENT_PROPERTIES = (
    ("content_type", "Content-Type", "x-ms-blob-content-type"),
    ("content_encoding", "Content-Encoding", "x-ms-blob-content-encoding"),
    ("content_language", "Content-Language", "x-ms-blob-content-language"),
    ("content_md5", "Content-MD5", "x-ms-blob-content-md5"),
    ("cache_control", "Cache-Control", "x-ms-blob-cache-control"),
    ("content_disposition", "Content-Disposition", "x-ms-blob-content-disposition"),
)
COPY_PROPERTIES = (
    ("copy_id", "x-ms-copy-id"),
    ("copy_source", "x-ms-copy-source"),
    ("copy_status", "x-ms-copy-status"),
    ("copy_progress", "x-ms-copy-progress"),
    ("copy_completion_time", "x-ms-copy-completion-time"),
)
UNSUPPORTED = (
    "x-ms-encryption-key",
    "x-ms-encryption-scope",
    "x-ms-if-tags",
    "x-ms-source-if-tags",
    "x-ms-tags",
    "x-ms-immutability-policy-until-date",
    "x-ms-legal-hold",
    "x-ms-expiry-option",
)


def check_supported(call: Call) -> None:
    """Refuses: UnsupportedHeader for what this endpoint does not have, a lease id as there are no
    leases, a body with a transfer encoding instead of a length."""
    for name in UNSUPPORTED:
        if name in call.headers:
            raise unsupported_header(name)
    for name in ("snapshot", "versionid"):
        if call.query.get(name):
            raise Refused("NotImplemented", "There are no snapshots and versions here.")
    if "x-ms-lease-id" in call.headers and call.level == "container":
        raise Refused("LeaseNotPresentWithContainerOperation")
    if "x-ms-lease-id" in call.headers:
        raise Refused("LeaseNotPresentWithBlobOperation")


def parse_metadata(call: Call) -> dict[str, str]:
    """The metadata a request sets. Refuses: InvalidMetadata, MetadataTooLarge."""
    check_metadata(call.metadata)
    return call.metadata


def parse_properties(call: Call, *, plain: bool = False) -> dict[str, str]:
    """The properties a request sets; with ``plain`` its own content headers count as well.

    Refuses: InvalidHeaderValue for a digest or a tier that is none.
    """
    properties = {}
    for name, header, setter in CONTENT_PROPERTIES:
        value = call.headers.get(setter)
        if value is None and plain and name != "content_md5":
            value = call.headers.get(header.lower())
        if value:
            properties[name] = value
    parse_md5(properties.get("content_md5"), "x-ms-blob-content-md5")
    tier = call.headers.get("x-ms-access-tier")
    if tier is not None:
        if tier not in TIERS:
            raise invalid_header("x-ms-access-tier", tier)
        properties["tier"] = tier
    return properties


def version_headers(etag: int | None, modified_us: int) -> dict[str, str]:
    """ETag and Last-Modified."""
    return {"ETag": f'"{etag_text(etag or 0)}"', "Last-Modified": http_date(modified_us)}


def written_headers(blob: Blob) -> dict[str, str]:
    """What a change of a blob answers."""
    return version_headers(blob.etag, blob.modified_us) | {"x-ms-request-server-encrypted": "true"}


def container_headers(container: Container) -> dict[str, str]:
    """What describes a container."""
    return {
        **version_headers(container.etag, container.modified_us),
        **metadata_headers(container.metadata),
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        "x-ms-has-immutability-policy": "false",
        "x-ms-has-legal-hold": "false",
        "x-ms-default-encryption-scope": "$account-encryption-key",
        "x-ms-deny-encryption-scope-override": "false",
    }


def blob_headers(blob: Blob, overrides: Mapping[str, str]) -> dict[str, str]:
    """What describes a blob, apart from the length of the answer."""
    properties = blob.properties
    headers = {
        header: properties[name] for name, header, _ in CONTENT_PROPERTIES if name in properties
    }
    headers.setdefault("Content-Type", DEFAULT_CONTENT_TYPE)
    headers |= {header: properties[name] for name, header in COPY_PROPERTIES if name in properties}
    headers |= overrides
    headers |= {
        **version_headers(blob.etag, blob.modified_us),
        **metadata_headers(blob.metadata),
        "Accept-Ranges": "bytes",
        "x-ms-creation-time": http_date(blob.created_us),
        "x-ms-blob-type": "BlockBlob",
        "x-ms-lease-status": "unlocked",
        "x-ms-lease-state": "available",
        "x-ms-server-encrypted": "true",
        "x-ms-access-tier": properties.get("tier", "Hot"),
    }
    if "tier" not in properties:
        headers["x-ms-access-tier-inferred"] = "true"
    return headers


def metadata_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata as headers."""
    return {f"x-ms-meta-{name}": value for name, value in metadata.items()}
