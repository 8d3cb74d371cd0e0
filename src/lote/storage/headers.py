"""Properties and metadata: from request headers, and as answer headers."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote_plus

from lote.storage.append import SEALED, block_count
from lote.storage.blob import Blob
from lote.storage.call import Call
from lote.storage.container import Container
from lote.storage.errors import Refused, invalid_header, invalid_query, unsupported_header
from lote.storage.lease import INFINITE_S, Lease, is_locked, state_of
from lote.storage.names import check_metadata
from lote.storage.operations import Operation
from lote.storage.tag import NO_TAGS, check_tags
from lote.storage.times import etag_text, http_date
from lote.storage.xml import element

DEFAULT_CONTENT_TYPE = "application/octet-stream"
TIERS = ("Hot", "Cool", "Cold", "Archive")
REHYDRATE_PRIORITIES = ("Standard", "High")

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
    ("copy_status_description", "x-ms-copy-status-description"),
    ("copy_progress", "x-ms-copy-progress"),
    ("copy_completion_time", "x-ms-copy-completion-time"),
)
PUBLIC_ACCESS = "x-ms-blob-public-access"
UNSUPPORTED = (
    "x-ms-encryption-key",
    "x-ms-encryption-scope",
    "x-ms-immutability-policy-until-date",
    "x-ms-legal-hold",
    "x-ms-expiry-option",
)


def check_supported(call: Call, operation: Operation) -> None:
    """Refuses: UnsupportedHeader for what this endpoint does not have,
    InvalidQueryParameterValue for a snapshot where only a blob itself will do."""
    for name in UNSUPPORTED:
        if name in call.headers:
            raise unsupported_header(name)
    if call.query.get("versionid"):
        raise Refused("NotImplemented", "There are no versions of blobs here.")
    if call.query.get("snapshot") and not operation.snapshots:
        raise invalid_query("snapshot", call.query["snapshot"], "Snapshots cannot be changed.")


def parse_metadata(call: Call) -> dict[str, str]:
    """The metadata a request sets. Refuses: InvalidMetadata, MetadataTooLarge."""
    check_metadata(call.metadata)
    return call.metadata


def parse_properties(call: Call, *, plain: bool = False) -> dict[str, str]:
    """The properties a request sets; with ``plain`` its own content headers count as well.

    A digest of the whole blob is taken as it is: only Put Blob can tell whether it is right.
    Refuses: InvalidHeaderValue for a tier that is none.
    """
    properties = {}
    for name, header, setter in CONTENT_PROPERTIES:
        value = call.headers.get(setter)
        if value is None and plain and name != "content_md5":
            value = call.headers.get(header.lower())
        if value:
            properties[name] = value
    if tier := parse_tier(call):
        properties |= {"tier": tier, "tier_us": str(call.now_us)}
    return properties


def parse_tier(call: Call) -> str:
    """The tier a request sets, "" for none. Refuses: InvalidHeaderValue."""
    tier = call.headers.get("x-ms-access-tier", "")
    if tier and tier not in TIERS:
        raise invalid_header("x-ms-access-tier", tier)
    return tier


def check_rehydrate_priority(call: Call) -> None:
    """Refuses: InvalidHeaderValue."""
    priority = call.headers.get("x-ms-rehydrate-priority", REHYDRATE_PRIORITIES[0])
    if priority not in REHYDRATE_PRIORITIES:
        raise invalid_header("x-ms-rehydrate-priority", priority)


def parse_tags(call: Call) -> dict[str, str]:
    """The tags of an ``x-ms-tags`` header, which is spelled as a query.

    Refuses: what ``check_tags`` does; AuthorizationPermissionMismatch without the right to tags.
    """
    text = call.headers.get("x-ms-tags", "")
    if not text:
        return NO_TAGS
    if not call.grant.allows("t"):
        raise Refused("AuthorizationPermissionMismatch")
    pairs = (pair.partition("=") for pair in text.split("&"))
    return check_tags([(unquote_plus(key), unquote_plus(value)) for key, _, value in pairs])


def version_headers(etag: int | None, modified_us: int) -> dict[str, str]:
    """ETag and Last-Modified."""
    return {"ETag": f'"{etag_text(etag or 0)}"', "Last-Modified": http_date(modified_us)}


def written_headers(blob: Blob) -> dict[str, str]:
    """What a change of a blob answers."""
    return version_headers(blob.etag, blob.modified_us) | {"x-ms-request-server-encrypted": "true"}


def lease_headers(lease: Lease | None, now_us: int) -> dict[str, str]:
    """What is shown of a lease; never its id."""
    headers = {
        "x-ms-lease-status": "locked" if is_locked(lease, now_us) else "unlocked",
        "x-ms-lease-state": state_of(lease, now_us),
    }
    if lease is not None and headers["x-ms-lease-state"] == "leased":
        headers["x-ms-lease-duration"] = "infinite" if lease.duration_s == INFINITE_S else "fixed"
    return headers


def public_headers(container: Container) -> dict[str, str]:
    """How far a container is open, if it is."""
    return {PUBLIC_ACCESS: container.public} if container.public else {}


def container_headers(container: Container, now_us: int) -> dict[str, str]:
    """What describes a container."""
    return {
        **version_headers(container.etag, container.modified_us),
        **metadata_headers(container.metadata),
        **lease_headers(container.lease, now_us),
        **public_headers(container),
        "x-ms-has-immutability-policy": "false",
        "x-ms-has-legal-hold": "false",
        "x-ms-default-encryption-scope": "$account-encryption-key",
        "x-ms-deny-encryption-scope-override": "false",
    }


def blob_headers(blob: Blob, call: Call) -> dict[str, str]:
    """What describes a blob, apart from the length of the answer."""
    properties = blob.properties
    headers = {
        header: properties[name] for name, header, _ in CONTENT_PROPERTIES if name in properties
    }
    if not headers.setdefault("Content-Type", DEFAULT_CONTENT_TYPE):
        del headers["Content-Type"]  # was cleared
    headers |= {header: properties[name] for name, header in COPY_PROPERTIES if name in properties}
    headers |= call.grant.overrides
    headers |= {
        **version_headers(blob.etag, blob.modified_us),
        **metadata_headers(blob.metadata),
        "Accept-Ranges": "bytes",
        "x-ms-creation-time": http_date(blob.created_us),
        "x-ms-blob-type": blob.kind,
        **lease_headers(blob.lease, call.now_us),
        "x-ms-server-encrypted": "true",
        **(append_headers(blob) if blob.kind == "AppendBlob" else tier_headers(properties)),
    }
    if blob.tags:
        headers["x-ms-tag-count"] = str(len(blob.tags))
    return headers


def append_headers(blob: Blob) -> dict[str, str]:
    """What only append blobs have."""
    sealed = blob.properties.get(SEALED, "false")
    return {
        "x-ms-blob-committed-block-count": str(block_count(blob)),
        "x-ms-blob-sealed": sealed,
    }


def tier_headers(properties: Mapping[str, str]) -> dict[str, str]:
    """The tier, which only block blobs have."""
    headers = {
        "x-ms-access-tier": properties.get("tier", "Hot"),
        "x-ms-access-tier-inferred": "false" if "tier" in properties else "true",
    }
    if "tier_us" in properties:
        headers["x-ms-access-tier-change-time"] = http_date(int(properties["tier_us"]))
    return headers


def tags_xml(tags: Mapping[str, str], *, empty: bool = False) -> str:
    """Tags in a document; none are nothing, or with ``empty`` an empty set."""
    if not tags and not empty:
        return ""
    rows = "".join(
        f"<Tag>{element('Key', key)}{element('Value', value)}</Tag>" for key, value in tags.items()
    )
    return f"<Tags><TagSet>{rows}</TagSet></Tags>"


def metadata_headers(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata as headers."""
    return {f"x-ms-meta-{name}": value for name, value in metadata.items()}
