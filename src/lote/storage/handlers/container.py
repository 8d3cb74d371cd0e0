"""Operations on containers."""

from __future__ import annotations

from lote.storage import container
from lote.storage.call import Answer, Call
from lote.storage.conditions import parse_conditions
from lote.storage.documents import DOCUMENT_MAX_BYTES, parse_xml
from lote.storage.endpoint import Endpoint
from lote.storage.errors import Refused, invalid_header
from lote.storage.headers import (
    PUBLIC_ACCESS,
    container_headers,
    parse_metadata,
    public_headers,
    version_headers,
)
from lote.storage.lease import check_read
from lote.storage.names import check_container_name
from lote.storage.times import parse_iso_time
from lote.storage.xml import DECLARATION, element

POLICIES_MAX = 5  # REST: Set Container ACL
POLICY_ID_MAX = 64


async def create_container(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Create Container."""
    check_container_name(call.container)
    public = parse_public_access(call, endpoint)
    metadata = parse_metadata(call)
    made = await endpoint.depot.write(
        lambda tx: container.add_container(tx, call.account, call.container, metadata, public)
    )
    return Answer(201, version_headers(made.etag, made.modified_us))


async def get_container_properties(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Container Properties."""
    return Answer(200, container_headers(await _read(call, endpoint), call.now_us))


async def get_container_metadata(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Container Metadata."""
    return Answer(200, container_headers(await _read(call, endpoint), call.now_us))


async def set_container_metadata(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Set Container Metadata."""
    metadata, conditions = parse_metadata(call), parse_conditions(call.headers)
    lease_id = call.headers.get("x-ms-lease-id")
    changed = await endpoint.depot.write(
        lambda tx: container.change_container(
            tx, call.account, call.container, conditions, metadata=metadata, lease_id=lease_id
        )
    )
    return Answer(200, version_headers(changed.etag, changed.modified_us))


async def delete_container(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Delete Container."""
    conditions, lease_id = parse_conditions(call.headers), call.headers.get("x-ms-lease-id")
    await endpoint.depot.write(
        lambda tx: container.delete_container(
            tx, call.account, call.container, conditions, lease_id
        ),
        frees=True,
    )
    return Answer(202)


async def get_container_acl(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Get Container ACL."""
    found = await _read(call, endpoint)
    rows = "".join(
        f"<SignedIdentifier>{element('Id', policy.id)}<AccessPolicy>"
        f"{element('Start', policy.start) if policy.start else ''}"
        f"{element('Expiry', policy.expiry) if policy.expiry else ''}"
        f"{element('Permission', policy.permissions) if policy.permissions else ''}"
        "</AccessPolicy></SignedIdentifier>"
        for policy in found.policies
    )
    body = f"{DECLARATION}<SignedIdentifiers>{rows}</SignedIdentifiers>"
    headers = version_headers(found.etag, found.modified_us) | public_headers(found)
    headers["Content-Type"] = "application/xml"
    return Answer(200, headers, body.encode())


async def set_container_acl(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Set Container ACL: public access and stored access policies, both anew."""
    public = parse_public_access(call, endpoint)
    conditions, lease_id = parse_conditions(call.headers), call.headers.get("x-ms-lease-id")
    policies = parse_policies(await call.small_body(DOCUMENT_MAX_BYTES))
    changed = await endpoint.depot.write(
        lambda tx: container.change_container(
            tx,
            call.account,
            call.container,
            conditions,
            policies=policies,
            public=public,
            lease_id=lease_id,
        )
    )
    return Answer(200, version_headers(changed.etag, changed.modified_us))


def parse_policies(body: bytes) -> list[container.Policy]:
    """Stored access policies. Refuses: InvalidXmlDocument, InvalidXmlNodeValue, InvalidInput."""
    if not body.strip():
        return []
    policies = []
    for row in parse_xml(body).iterfind("SignedIdentifier"):
        start, expiry = (row.findtext(f"AccessPolicy/{name}") or "" for name in ("Start", "Expiry"))
        try:
            for text in filter(None, (start, expiry)):
                parse_iso_time(text)
        except ValueError:
            raise Refused("InvalidXmlNodeValue") from None
        permissions = row.findtext("AccessPolicy/Permission") or ""
        policies.append(container.Policy(row.findtext("Id") or "", start, expiry, permissions))
    ids = {policy.id for policy in policies}
    if len(ids) < len(policies) or not all(1 <= len(one) <= POLICY_ID_MAX for one in ids):
        raise Refused("InvalidXmlDocument")
    if len(policies) > POLICIES_MAX:
        raise Refused("InvalidInput", f"At most {POLICIES_MAX} access policies are allowed.")
    return policies


async def _read(call: Call, endpoint: Endpoint) -> container.Container:
    conditions = parse_conditions(call.headers, reading=True)
    found = await endpoint.depot.read(
        lambda connection: container.get_container(connection, call.account, call.container)
    )
    conditions.check(found.etag, found.modified_us)
    check_read(found.lease, call.now_us, call.headers.get("x-ms-lease-id"), "Container")
    return found


def parse_public_access(call: Call, endpoint: Endpoint) -> str:
    """The public access that a request asks for, "" if none.

    Refuses: InvalidHeaderValue, PublicAccessNotPermitted where containers stay closed.
    """
    public = call.headers.get(PUBLIC_ACCESS, "")
    if public not in ("", "blob", "container"):
        raise invalid_header(PUBLIC_ACCESS, public)
    if public and not endpoint.authenticator.allows_public:
        raise Refused("PublicAccessNotPermitted")
    return public
