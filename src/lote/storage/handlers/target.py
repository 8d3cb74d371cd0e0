"""The blob that a request is about: to be read, or to be changed in a transaction."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from lote.storage import blob
from lote.storage.call import Call
from lote.storage.conditions import parse_conditions
from lote.storage.container import get_container_id
from lote.storage.endpoint import Endpoint
from lote.storage.errors import Refused, invalid_query
from lote.storage.lease import check_read
from lote.storage.times import parse_snapshot


def container_of(call: Call) -> Callable[[sqlite3.Connection], int]:
    """Finds the container that a request names."""
    return lambda connection: get_container_id(connection, call.account, call.container)


def target_of(call: Call) -> Callable[[sqlite3.Connection], blob.Target]:
    """Finds what a request is to change; its conditions are checked where the change is made."""
    conditions, may_replace = parse_conditions(call.headers), call.grant.allows("w")
    find, snapshot = container_of(call), snapshot_of(call)
    lease_id = call.headers.get("x-ms-lease-id")
    return lambda connection: blob.Target(
        find(connection), call.blob, conditions, may_replace, snapshot, lease_id
    )


def snapshot_of(call: Call) -> int:
    """The snapshot that a request names, ``blob.BASE`` for none.

    Refuses: InvalidQueryParameterValue for what is not the time of a snapshot.
    """
    text = call.query.get("snapshot", "")
    if not text:
        return blob.BASE
    try:
        return parse_snapshot(text)
    except ValueError:
        raise invalid_query("snapshot", text) from None


def read_check_of(
    call: Call, *, uncommitted: bool = False
) -> Callable[[blob.Blob | None], blob.Blob]:
    """Checks what a request reads against its conditions and the lease it names;
    ``uncommitted``: it may have nothing but staged blocks.

    Refuses: BlobNotFound, ConditionNotMet, what ``lease.check_read`` does.
    """
    conditions = parse_conditions(call.headers, reading=True)
    lease_id = call.headers.get("x-ms-lease-id")

    def check(found: blob.Blob | None) -> blob.Blob:
        if found is None or found.etag is None:
            conditions.check(None, 0)
            if found is not None and uncommitted:
                return found
            raise Refused("BlobNotFound")
        conditions.check(found.etag, found.modified_us, found.tags)
        check_read(found.lease, call.now_us, lease_id, "Blob")
        return found

    return check


async def read_blob(call: Call, endpoint: Endpoint) -> blob.Blob:
    """The row of the blob or snapshot that a request reads. Refuses: what ``read_check_of``
    does."""
    check_readable, container, snapshot = read_check_of(call), container_of(call), snapshot_of(call)
    return await endpoint.depot.glance(
        lambda connection: check_readable(
            blob.find_blob(connection, container(connection), call.blob, snapshot)
        )
    )
