"""Operations on the account."""

from __future__ import annotations

from lote.storage import container
from lote.storage.call import Answer, Call
from lote.storage.delegation import DelegationKey
from lote.storage.documents import DOCUMENT_MAX_BYTES, parse_xml
from lote.storage.endpoint import Endpoint
from lote.storage.errors import Refused, failed, invalid_query
from lote.storage.handlers.listing import lease_elements
from lote.storage.paging import page_size
from lote.storage.times import etag_text, http_date, parse_iso_time, second_time
from lote.storage.xml import DECLARATION, element, escape

KEY_LIFE_MAX_US = 7 * 86_400_000_000  # REST: Get User Delegation Key
AFTER_NAME = "!"  # sorts before every character a container's name may have
INCLUDES = frozenset({"metadata", "deleted", "system"})


async def get_account_information(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Account Information."""
    return Answer(
        200,
        {
            "x-ms-sku-name": "Standard_RAGRS",  # as there is a secondary endpoint to read from
            "x-ms-account-kind": "StorageV2",
            "x-ms-is-hns-enabled": "false",
        },
    )


async def get_service_properties(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Blob Service Properties."""
    body = await endpoint.properties.document(call.account)
    return Answer(200, {"Content-Type": "application/xml"}, body)


async def set_service_properties(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Set Blob Service Properties."""
    await endpoint.properties.change(call.account, await call.small_body(DOCUMENT_MAX_BYTES))
    return Answer(202)


async def get_service_stats(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Blob Service Stats. The secondary is the same data, so it is never behind.

    Refuses: InvalidQueryParameterValue on the primary endpoint, as the service does.
    """
    if not call.is_secondary:
        raise invalid_query("comp", call.query["comp"])
    synced = element("LastSyncTime", http_date(call.now_us))
    body = (
        f"{DECLARATION}<StorageServiceStats><GeoReplication><Status>live</Status>{synced}"
        "</GeoReplication></StorageServiceStats>"
    )
    return Answer(200, {"Content-Type": "application/xml"}, body.encode())


async def get_user_delegation_key(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get User Delegation Key. Times are kept in whole seconds, as signatures spell them."""
    identity = call.grant.identity
    if identity is None:
        raise failed("Only authentication scheme Bearer is supported")
    root = parse_xml(await call.small_body(DOCUMENT_MAX_BYTES))
    start_us = _time_of(root.findtext("Start") or second_time(call.now_us))
    expiry_us = _time_of(root.findtext("Expiry") or "")
    if not start_us < expiry_us <= call.now_us + KEY_LIFE_MAX_US:
        raise Refused("InvalidXmlNodeValue")
    version = call.headers.get("x-ms-version", "")
    user_tid = root.findtext("DelegatedUserTid") or ""
    terms = (start_us, expiry_us, "b", version, user_tid)
    key = DelegationKey(identity.oid, identity.tid, *terms)
    rows = {
        "SignedOid": key.oid,
        "SignedTid": key.tid,
        "SignedStart": second_time(start_us),
        "SignedExpiry": second_time(expiry_us),
        "SignedService": key.service,
        "SignedVersion": version,
        "Value": endpoint.authenticator.delegated(call.account, key),
    }
    if user_tid:
        rows["SignedDelegatedUserTid"] = user_tid
    inner = "".join(element(name, text) for name, text in rows.items())
    body = f"{DECLARATION}<UserDelegationKey>{inner}</UserDelegationKey>"
    return Answer(200, {"Content-Type": "application/xml"}, body.encode())


def _time_of(text: str) -> int:
    try:
        return parse_iso_time(text)
    except ValueError:
        raise Refused("InvalidXmlNodeValue") from None


async def list_containers(call: Call, endpoint: Endpoint) -> Answer:
    """REST: List Containers."""
    includes = set(filter(None, call.query.get("include", "").split(",")))
    if not includes <= INCLUDES:
        raise invalid_query("include", call.query["include"])
    prefix, count = call.query.get("prefix", ""), page_size(call)
    marker = call.query.get("marker", "")  # the last name of the page before
    start = marker + AFTER_NAME if marker else ""
    found = await endpoint.depot.read(
        lambda connection: container.list_containers(
            connection, call.account, prefix, start, count + 1
        )
    )
    rows = [
        container_element(one, call.now_us, with_metadata="metadata" in includes)
        for one in found[:count]
    ]
    next_marker = found[count - 1].name if len(found) > count else ""
    body = (
        f'{DECLARATION}<EnumerationResults ServiceEndpoint="{escape(call.endpoint)}">'
        f"{element('Prefix', prefix)}{element('Marker', call.query.get('marker', ''))}"
        f"{element('MaxResults', call.query.get('maxresults', ''))}"
        f"<Containers>{''.join(rows)}</Containers>{element('NextMarker', next_marker)}"
        "</EnumerationResults>"
    )
    return Answer(200, {"Content-Type": "application/xml"}, body.encode())


def container_element(one: container.Container, now_us: int, *, with_metadata: bool) -> str:
    """A container in a list."""
    metadata = ""
    if with_metadata and one.metadata:
        rows = "".join(element(name, value) for name, value in one.metadata.items())
        metadata = f"<Metadata>{rows}</Metadata>"
    return (
        f"<Container><Name>{one.name}</Name><Properties>"
        f"<Last-Modified>{http_date(one.modified_us)}</Last-Modified>"
        f'<Etag>"{etag_text(one.etag)}"</Etag>'
        f"{lease_elements(one.lease, now_us)}"
        f"{element('PublicAccess', one.public) if one.public else ''}"
        "<DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope>"
        "<DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride>"
        "<HasImmutabilityPolicy>false</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold>"
        f"</Properties>{metadata}</Container>"
    )
