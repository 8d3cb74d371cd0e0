"""Leases of blobs and containers. Source: REST "Lease Blob", "Lease Container"."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, cast, get_args

from lote.storage import blob, container, lease
from lote.storage.call import Answer, Call
from lote.storage.conditions import parse_conditions
from lote.storage.database import Tx
from lote.storage.endpoint import Endpoint
from lote.storage.errors import Refused, invalid_header, missing_header
from lote.storage.handlers.target import target_of
from lote.storage.headers import version_headers

Action = Literal["acquire", "renew", "change", "release", "break"]
NUMBER = re.compile(r"-?\d{1,9}")
LEASE_ID_MAX = 256
STATUS: dict[Action, int] = {"acquire": 201, "break": 202}


class Wish(NamedTuple):
    """What a request wants of a lease; ids are "" where the action needs none."""

    action: Action
    lease_id: str
    new_id: str
    duration_s: int
    break_s: int | None


async def lease_blob(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Lease Blob."""
    wish, find = parse_wish(call), target_of(call)
    fresh_id = endpoint.depot.world.new_guid()

    def change(tx: Tx) -> Answer:
        target = find(tx.connection)
        found = blob.find_blob(tx.connection, target.container, target.name)
        if found is None or found.etag is None:
            raise Refused("BlobNotFound")
        target.conditions.check(found.etag, found.modified_us, found.tags)
        new, headers = apply_wish(wish, found.lease, tx.now_us, fresh_id)
        blob.set_lease(tx, found.id, new)
        headers |= version_headers(found.etag, found.modified_us)
        return Answer(STATUS.get(wish.action, 200), headers)

    return await endpoint.depot.write(change)


async def lease_container(call: Call, endpoint: Endpoint) -> Answer:
    """REST: Lease Container."""
    wish, conditions = parse_wish(call), parse_conditions(call.headers)
    fresh_id = endpoint.depot.world.new_guid()

    def change(tx: Tx) -> Answer:
        found = container.get_container(tx.connection, call.account, call.container)
        conditions.check(found.etag, found.modified_us)
        new, headers = apply_wish(wish, found.lease, tx.now_us, fresh_id)
        container.set_container_lease(tx, found.id, new)
        headers |= version_headers(found.etag, found.modified_us)
        return Answer(STATUS.get(wish.action, 200), headers)

    return await endpoint.depot.write(change)


def apply_wish(
    wish: Wish, old: lease.Lease | None, now_us: int, fresh_id: str
) -> tuple[lease.Lease | None, dict[str, str]]:
    """The lease after an action, and the headers that tell of it. Refuses: what the action does."""
    match wish.action:
        case "acquire":
            new = lease.acquire(old, now_us, wish.duration_s, wish.new_id or fresh_id)
        case "renew":
            new = lease.renew(old, now_us, wish.lease_id)
        case "change":
            new = lease.change(old, now_us, wish.lease_id, wish.new_id)
        case "release":
            lease.release(old, wish.lease_id)
            return None, {}
        case "break":
            new, left_s = lease.break_off(old, now_us, wish.break_s)
            return new, {"x-ms-lease-time": str(left_s)}
    return new, {"x-ms-lease-id": new.id}


def parse_wish(call: Call) -> Wish:
    """Refuses: MissingRequiredHeader, InvalidHeaderValue."""
    action = needed(call, "x-ms-lease-action").lower()
    if action not in get_args(Action):
        raise invalid_header("x-ms-lease-action", action)
    lease_id = new_id = ""
    if action in ("renew", "change", "release"):
        lease_id = parse_lease_id(call, "x-ms-lease-id")
    if action == "change" or (action == "acquire" and "x-ms-proposed-lease-id" in call.headers):
        new_id = parse_lease_id(call, "x-ms-proposed-lease-id")
    duration_s = parse_duration(call) if action == "acquire" else 0
    break_s = parse_break(call) if action == "break" else None
    return Wish(cast(Action, action), lease_id, new_id, duration_s, break_s)


def parse_lease_id(call: Call, header: str) -> str:
    """The id of a lease. The service takes GUIDs only; here any text does, as with emulators, on
    which clients were tried. Refuses: MissingRequiredHeader, InvalidHeaderValue."""
    text = needed(call, header)
    if not 1 <= len(text) <= LEASE_ID_MAX or not text.isprintable():
        raise invalid_header(header, text)
    return text


def parse_duration(call: Call) -> int:
    """Seconds, -1 for ever. Refuses: MissingRequiredHeader, InvalidHeaderValue."""
    text = needed(call, "x-ms-lease-duration")
    duration_s = int(text) if NUMBER.fullmatch(text) else 0
    limits = range(lease.DURATION_MIN_S, lease.DURATION_MAX_S + 1)
    if duration_s not in limits and duration_s != lease.INFINITE_S:
        raise invalid_header("x-ms-lease-duration", text)
    return duration_s


def parse_break(call: Call) -> int | None:
    """Seconds, None for what is left. Refuses: InvalidHeaderValue."""
    text = call.headers.get("x-ms-lease-break-period")
    if text is None:
        return None
    period_s = int(text) if NUMBER.fullmatch(text) else -1
    if not 0 <= period_s <= lease.BREAK_MAX_S:
        raise invalid_header("x-ms-lease-break-period", text)
    return period_s


def needed(call: Call, header: str) -> str:
    """A header's value. Refuses: MissingRequiredHeader."""
    text = call.headers.get(header)
    if text is None:
        raise missing_header(header)
    return text
