"""Containers: their rows. Changes take a ``Tx``; queries take any connection."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

from lote.storage.conditions import NO_CONDITIONS, Conditions
from lote.storage.database import Tx
from lote.storage.errors import Refused
from lote.storage.lease import Lease, check_read, check_write, lease_text, parse_lease

COLUMNS = "id, name, etag, modified_us, metadata, policies, lease, public"
LAST_NAME = "~"  # sorts after every character a container's name may have


class Policy(NamedTuple):
    """A stored access policy; times as the client wrote them, "" where it gave none."""

    id: str
    start: str
    expiry: str
    permissions: str


class Container(NamedTuple):
    """A container's row. ``public``: what may be read without credentials, "blob" (blobs),
    "container" (blobs and lists) or "" (nothing)."""

    id: int
    name: str
    etag: int
    modified_us: int
    metadata: dict[str, str]
    policies: tuple[Policy, ...]
    lease: Lease | None = None
    public: str = ""


def find_container(connection: sqlite3.Connection, account: str, name: str) -> Container | None:
    """The container of this name, if there is one."""
    row = connection.execute(
        f"SELECT {COLUMNS} FROM container WHERE account = ? AND name = ?", (account, name)
    ).fetchone()
    return _container(row) if row is not None else None


def get_container(connection: sqlite3.Connection, account: str, name: str) -> Container:
    """The container of this name. Refuses: ContainerNotFound."""
    found = find_container(connection, account, name)
    if found is None:
        raise Refused("ContainerNotFound")
    return found


def get_container_id(connection: sqlite3.Connection, account: str, name: str) -> int:
    """The key of a container's row, for those who need no more. Refuses: ContainerNotFound."""
    row = connection.execute(
        "SELECT id FROM container WHERE account = ? AND name = ?", (account, name)
    ).fetchone()
    if row is None:
        raise Refused("ContainerNotFound")
    return int(row[0])


def list_containers(
    connection: sqlite3.Connection, account: str, prefix: str, start: str, count: int
) -> list[Container]:
    """Containers by name, from ``start`` on."""
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM container WHERE account = ? AND name >= ? AND name < ?"
        " ORDER BY name LIMIT ?",
        (account, max(prefix, start), prefix + LAST_NAME, count),
    )
    return [_container(row) for row in rows]


def add_container(
    tx: Tx, account: str, name: str, metadata: dict[str, str], public: str = ""
) -> Container:
    """Make a container. Refuses: ContainerAlreadyExists."""
    if find_container(tx.connection, account, name) is not None:
        raise Refused("ContainerAlreadyExists")
    etag = tx.new_etag()
    key = tx.execute(
        "INSERT INTO container (account, name, etag, modified_us, metadata, policies, public)"
        " VALUES (?, ?, ?, ?, ?, '[]', ?)",
        (account, name, etag, tx.now_us, json.dumps(metadata), public),
    ).lastrowid
    return Container(int(key or 0), name, etag, tx.now_us, metadata, (), None, public)


def change_container(
    tx: Tx,
    account: str,
    name: str,
    conditions: Conditions,
    *,
    metadata: dict[str, str] | None = None,
    policies: Sequence[Policy] | None = None,
    public: str | None = None,
    lease_id: str | None = None,
) -> Container:
    """Replace the metadata, the policies or the public access; a lease keeps nobody from it.

    Refuses: ContainerNotFound, ConditionNotMet, what ``lease.check_read`` does.
    """
    old = get_container(tx.connection, account, name)
    conditions.check(old.etag, old.modified_us)
    check_read(old.lease, tx.now_us, lease_id, "Container")
    new = old._replace(
        etag=tx.new_etag(),
        modified_us=tx.now_us,
        metadata=old.metadata if metadata is None else metadata,
        policies=old.policies if policies is None else tuple(policies),
        public=old.public if public is None else public,
    )
    tx.execute(
        "UPDATE container SET etag = ?, modified_us = ?, metadata = ?, policies = ?, public = ?"
        " WHERE id = ?",
        (
            *(new.etag, new.modified_us, json.dumps(new.metadata), json.dumps(new.policies)),
            *(new.public, new.id),
        ),
    )
    return new


def delete_container(
    tx: Tx,
    account: str,
    name: str,
    conditions: Conditions = NO_CONDITIONS,
    lease_id: str | None = None,
) -> None:
    """Take a container out of its account at once; chores remove its blobs.

    Refuses: ContainerNotFound, ConditionNotMet, what ``lease.check_write`` does.
    """
    old = get_container(tx.connection, account, name)
    conditions.check(old.etag, old.modified_us)
    check_write(old.lease, tx.now_us, lease_id, "Container")
    tx.execute("UPDATE container SET account = NULL WHERE id = ?", (old.id,))
    tx.unused = True


def set_container_lease(tx: Tx, container: int, lease: Lease | None) -> None:
    """Write down a container's lease; its ETag stays."""
    tx.execute("UPDATE container SET lease = ? WHERE id = ?", (lease_text(lease), container))


def _container(row: tuple[int, str, int, int, str, str, str, str]) -> Container:
    key, name, etag, modified_us, metadata, policies, lease, public = row
    decoded = tuple(Policy(*policy) for policy in json.loads(policies))
    return Container(
        key, name, etag, modified_us, json.loads(metadata), decoded, parse_lease(lease), public
    )
