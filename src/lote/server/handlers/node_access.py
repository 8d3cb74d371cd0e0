"""How people get at a node: users, remote login, extensions.

Users are records: no account is made on a node's machine.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from urllib.parse import quote

from lote.server.handlers.pool import existing_pool
from lote.server.owner import Tx
from lote.server.pages import answer_list, answer_one
from lote.server.request import Answer, Request
from lote.store import node_users as rows
from lote.store import nodes as node_rows
from lote.store.database import Connection
from lote.store.records import NodeRecord, NodeUserRecord
from lote.wire.check_nodes import check_node_user, check_node_user_replace
from lote.wire.errors import Refused, invalid_property
from lote.wire.formats import parse_timestamp
from lote.wire.node import NodeRemoteLoginSettings, NodeUserCreate, NodeUserReplace

USER_LASTS_US = int(timedelta(days=1).total_seconds()) * 1_000_000  # REST: Create Node User
SSH_PORT = 22
READY = frozenset({"idle", "running"})


def create_node_user(tx: Tx, request: Request) -> Answer:
    """Record a user of a node. Refuses: NodeUserExists, NodeStateUnusable for a node that is not
    ready, InvalidPropertyValue."""
    body: NodeUserCreate = request.body
    check_node_user(body)
    node = _ready_node(tx.db, request)
    if rows.get_node_user(tx.db, node.key, body.name) is not None:
        raise Refused("NodeUserExists")
    _save(tx, node, body.name, bool(body.is_admin), body)
    return Answer(location=f"{request.path}/{quote(body.name, safe='')}")


def replace_node_user(tx: Tx, request: Request) -> Answer:
    """Replace a user's password, key and expiry; those not given are reset. Refuses:
    NodeUserNotFound, NodeStateUnusable."""
    check_node_user_replace(request.body)
    node = _ready_node(tx.db, request)
    old = _existing_user(tx.db, node, request)
    _save(tx, node, old.name, bool(old.is_admin), request.body)
    return Answer()


def delete_node_user(tx: Tx, request: Request) -> Answer:
    """Drop a user. Refuses: NodeUserNotFound."""
    node = _existing_node(tx.db, request)
    old = _existing_user(tx.db, node, request)
    rows.delete_node_user(tx.db, node.key, old.name)
    return Answer()


def get_node_remote_login_settings(db: Connection, request: Request) -> Answer:
    """Where the machine of a node listens for ssh, if it does. Refuses: NodeNotFound."""
    node = _existing_node(db, request)
    shown = {"remoteLoginIPAddress": node.ip_address, "remoteLoginPort": SSH_PORT}
    return answer_one(request, shown, NodeRemoteLoginSettings, None)


def get_remote_desktop(db: Connection, request: Request) -> Answer:
    """A file for a remote desktop client. Refuses: NodeNotFound."""
    node = _existing_node(db, request)
    text = f"full address:s:{node.ip_address}\r\n"
    return Answer(body=text.encode(), headers=[("Content-Type", "application/octet-stream")])


def list_node_extensions(db: Connection, request: Request) -> Answer:
    """The extensions that a node has installed: none, whatever its pool records."""
    _existing_node(db, request)
    return answer_list(request, [])


def get_node_extension(db: Connection, request: Request) -> Answer:
    """One extension. Refuses: ResourceNotFound, as no node has any."""
    _existing_node(db, request)
    raise Refused("ResourceNotFound", "The node has no extension of this name.")


def _save(
    tx: Tx, node: NodeRecord, name: str, is_admin: bool, body: NodeUserCreate | NodeUserReplace
) -> None:
    expires_us = tx.now_us + USER_LASTS_US
    if body.expiry_time is not None:
        expires_us = _expiry_us(tx, body.expiry_time)
    key = body.ssh_public_key
    rows.save_node_user(tx.db, NodeUserRecord(node.key, name, int(is_admin), expires_us, key))


def _expiry_us(tx: Tx, text: str) -> int:
    expires_us = parse_timestamp(text)
    if expires_us <= tx.now_us:
        raise invalid_property("expiryTime", text, "The time must lie in the future.")
    return expires_us


def _existing_node(db: Connection, request: Request) -> NodeRecord:
    pool = existing_pool(db, request.params["pool_id"])
    found = node_rows.get_node(db, pool.id, request.params["node_id"])
    if found is None:
        raise Refused("NodeNotFound")
    return found


def _ready_node(db: Connection, request: Request) -> NodeRecord:
    node = _existing_node(db, request)
    if node.state not in READY:
        values: list[tuple[str, Any]] = [("NodeState", node.state)]
        raise Refused("NodeStateUnusable", values=values)
    return node


def _existing_user(db: Connection, node: NodeRecord, request: Request) -> NodeUserRecord:
    found = rows.get_node_user(db, node.key, request.params["user_name"])
    if found is None:
        raise Refused("NodeUserNotFound")
    return found
