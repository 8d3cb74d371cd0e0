"""Operations on the account."""

from __future__ import annotations

from lote.storage import container
from lote.storage.call import Answer, Call
from lote.storage.endpoint import Endpoint
from lote.storage.errors import invalid_query
from lote.storage.handlers.listing import lease_elements
from lote.storage.paging import decode_marker, encode_marker, page_size
from lote.storage.times import etag_text, http_date
from lote.storage.xml import DECLARATION, element, escape

SERVICE_PROPERTIES = (
    "<Logging><Version>1.0</Version><Delete>false</Delete><Read>false</Read><Write>false</Write>"
    "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></Logging>"
    "<HourMetrics><Version>1.0</Version><Enabled>false</Enabled>"
    "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></HourMetrics>"
    "<MinuteMetrics><Version>1.0</Version><Enabled>false</Enabled>"
    "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy></MinuteMetrics><Cors />"
    "<DeleteRetentionPolicy><Enabled>false</Enabled></DeleteRetentionPolicy>"
    "<StaticWebsite><Enabled>false</Enabled></StaticWebsite>"
)
INCLUDES = frozenset({"metadata", "deleted", "system"})


async def get_account_information(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Account Information."""
    return Answer(
        200,
        {
            "x-ms-sku-name": "Standard_LRS",
            "x-ms-account-kind": "StorageV2",
            "x-ms-is-hns-enabled": "false",
        },
    )


async def get_service_properties(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Blob Service Properties. Nothing of it can be changed yet."""
    body = f"{DECLARATION}<StorageServiceProperties>{SERVICE_PROPERTIES}</StorageServiceProperties>"
    return Answer(200, {"Content-Type": "application/xml"}, body.encode())


async def list_containers(call: Call, endpoint: Endpoint) -> Answer:
    """REST: List Containers."""
    includes = set(filter(None, call.query.get("include", "").split(",")))
    if not includes <= INCLUDES:
        raise invalid_query("include", call.query["include"])
    prefix, count = call.query.get("prefix", ""), page_size(call)
    start = decode_marker(call)[0].decode()
    found = await endpoint.depot.read(
        lambda connection: container.list_containers(
            connection, call.account, prefix, start, count + 1
        )
    )
    rows = [
        container_element(one, call.now_us, with_metadata="metadata" in includes)
        for one in found[:count]
    ]
    next_marker = encode_marker(found[count].name.encode()) if len(found) > count else ""
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
        "<DefaultEncryptionScope>$account-encryption-key</DefaultEncryptionScope>"
        "<DenyEncryptionScopeOverride>false</DenyEncryptionScopeOverride>"
        "<HasImmutabilityPolicy>false</HasImmutabilityPolicy><HasLegalHold>false</HasLegalHold>"
        f"</Properties>{metadata}</Container>"
    )
