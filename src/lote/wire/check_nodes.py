"""Rules on requests about nodes: their removal, their users, the upload of their logs."""

from __future__ import annotations

from lote.wire.errors import invalid_property
from lote.wire.node import (
    NodeRemove,
    NodeUserCreate,
    NodeUserReplace,
    UploadBatchServiceLogs,
)
from lote.wire.rules import check_duration, check_order, check_text, check_timestamp, check_url

RESIZE_TIMEOUT_MIN_S = 5 * 60  # REST: Resize Pool
NODES_REMOVED_MAX = 100  # REST: Remove Nodes
USER_NAME_CHARS_MAX = 20  # REST: userAccounts, node users


def check_removal(removal: NodeRemove) -> None:
    """One to 100 nodes, a timeout of 5 minutes or more. Source: REST, Remove Nodes."""
    count = len(removal.node_list)
    if not 1 <= count <= NODES_REMOVED_MAX:
        reason = f"A removal names 1 to {NODES_REMOVED_MAX} nodes."
        raise invalid_property("nodeList", count, reason)
    for index, node_id in enumerate(removal.node_list):
        check_text(f"nodeList[{index}]", node_id)
    check_duration("resizeTimeout", removal.resize_timeout, RESIZE_TIMEOUT_MIN_S)


def check_node_user(user: NodeUserCreate) -> None:
    """Source: REST, Add User to Compute Node."""
    check_user_name("name", user.name)
    check_timestamp("expiryTime", user.expiry_time)


def check_node_user_replace(user: NodeUserReplace) -> None:
    """Source: REST, Update User of Compute Node."""
    check_timestamp("expiryTime", user.expiry_time)


def check_log_upload(upload: UploadBatchServiceLogs) -> None:
    """Source: REST, Upload Batch Service Logs."""
    check_url("containerUrl", upload.container_url)
    check_timestamp("startTime", upload.start_time)
    check_timestamp("endTime", upload.end_time)
    check_order("startTime", upload.start_time, "endTime", upload.end_time)


def check_user_name(name: str, value: str) -> None:
    """Refuse an empty user name and one of more than 20 characters."""
    check_text(name, value)
    if not value.isprintable():
        raise invalid_property(name, None, "A user name has only printable characters.")
    if len(value) > USER_NAME_CHARS_MAX:
        reason = f"A user name has at most {USER_NAME_CHARS_MAX} characters."
        raise invalid_property(name, value, reason)
