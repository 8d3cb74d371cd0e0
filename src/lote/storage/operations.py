"""The operations of the endpoint, one row each, and how a request finds its row.

``permits``: letters of a shared access signature of which one is enough. ``resource``: the
resource type an account SAS must allow (s service, c container, o object), and ``sas`` the
resources of a service SAS under which the operation can be asked for. ``snapshots``: whether it
can be about a snapshot. Rows without a handler answer 501, saying why. Source: REST "Operations on
the account / containers / blobs", "Create a service SAS".
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from lote.storage.errors import Refused, invalid_query

Level = Literal["service", "container", "blob"]


class Operation(NamedTuple):
    """A row: what a request looks like, and what right it needs."""

    name: str
    method: str
    level: Level
    restype: str = ""
    comp: str = ""
    permits: str = ""
    resource: str = "o"
    sas: str = "bc"
    real: bool = True
    snapshots: bool = False


def _service(name: str, method: str, comp: str, permits: str, *, real: bool = True) -> Operation:
    return Operation(name, method, "service", "service", comp, permits, "s", "", real)


def _container(
    name: str, method: str, comp: str, permits: str, *, sas: str = "", real: bool = True
) -> Operation:
    return Operation(name, method, "container", "container", comp, permits, "c", sas, real)


def _blob(
    name: str, method: str, comp: str, permits: str, *, real: bool = True, snapshots: bool = False
) -> Operation:
    return Operation(name, method, "blob", "", comp, permits, "o", "bc", real, snapshots)


OPERATIONS: tuple[Operation, ...] = (
    Operation("list_containers", "GET", "service", "", "list", "l", "s", ""),
    _service("get_service_properties", "GET", "properties", "r"),
    _service("set_service_properties", "PUT", "properties", "w"),
    _service("get_service_stats", "GET", "stats", "r"),
    _service("get_user_delegation_key", "POST", "userdelegationkey", ""),
    Operation("find_blobs", "GET", "service", "", "blobs", "f", "s", ""),
    Operation("submit_batch", "POST", "service", "", "batch", "dwy", "o", ""),
    # A client takes the account in the path of a URL for a container.
    Operation("submit_batch", "POST", "service", "container", "batch", "dwy", "o", ""),
    Operation(
        "get_account_information", "GET", "service", "account", "properties", "rwdlacup", "sco"
    ),
    Operation(
        "get_account_information", "GET", "container", "account", "properties", "rwdlacup", "sco"
    ),
    Operation("get_account_information", "GET", "blob", "account", "properties", "rwdlacup", "sco"),
    _container("create_container", "PUT", "", "cw"),
    _container("get_container_properties", "GET", "", "r"),
    _container("delete_container", "DELETE", "", "d"),
    _container("get_container_metadata", "GET", "metadata", "r"),
    _container("set_container_metadata", "PUT", "metadata", "w"),
    _container("get_container_acl", "GET", "acl", ""),
    _container("set_container_acl", "PUT", "acl", ""),
    _container("list_blobs", "GET", "list", "l", sas="c"),
    _container("lease_container", "PUT", "lease", "wd"),
    _container("restore_container", "PUT", "undelete", "w", real=False),
    _container("rename_container", "PUT", "rename", "w", real=False),
    _container("find_blobs_in_container", "GET", "blobs", "f", sas="c"),
    Operation("submit_batch", "POST", "container", "container", "batch", "dwy", "o", "c"),
    _blob("put_blob", "PUT", "", "cw"),
    _blob("get_blob", "GET", "", "r", snapshots=True),
    _blob("get_blob_properties", "HEAD", "", "r", snapshots=True),
    _blob("delete_blob", "DELETE", "", "d", snapshots=True),
    _blob("set_blob_properties", "PUT", "properties", "w"),
    _blob("get_blob_metadata", "GET", "metadata", "r", snapshots=True),
    _blob("set_blob_metadata", "PUT", "metadata", "w"),
    _blob("put_block", "PUT", "block", "cw"),
    _blob("put_block_list", "PUT", "blocklist", "cw"),
    _blob("get_block_list", "GET", "blocklist", "r", snapshots=True),
    _blob("lease_blob", "PUT", "lease", "wd"),
    _blob("snapshot_blob", "PUT", "snapshot", "cw"),
    _blob("undelete_blob", "PUT", "undelete", "w", real=False),
    _blob("set_blob_tier", "PUT", "tier", "w", snapshots=True),
    _blob("get_blob_tags", "GET", "tags", "t", snapshots=True),
    _blob("set_blob_tags", "PUT", "tags", "t", snapshots=True),
    _blob("set_blob_expiry", "PUT", "expiry", "w", real=False),
    _blob("abort_copy", "PUT", "copy", "cw"),
    _blob("append_block", "PUT", "appendblock", "aw"),
    _blob("seal_append_blob", "PUT", "seal", "w"),
    _blob("put_page", "PUT", "page", "w", real=False),
    _blob("get_page_ranges", "GET", "pagelist", "r", real=False),
    _blob("copy_page_increment", "PUT", "incrementalcopy", "w", real=False),
    _blob("query_blob", "POST", "query", "r", real=False),
    _blob("set_immutability_policy", "PUT", "immutabilityPolicies", "i", real=False),
    _blob("delete_immutability_policy", "DELETE", "immutabilityPolicies", "i", real=False),
    _blob("set_legal_hold", "PUT", "legalhold", "i", real=False),
)

NO_SOFT_DELETE = "what is deleted is gone at once"
NO_PAGES = "it has block blobs and append blobs, no page blobs"
NO_HOLDS = "it has no immutable storage"
LEFT_OUT = {
    "restore_container": NO_SOFT_DELETE,
    "rename_container": "the provider's own service refuses it too",
    "undelete_blob": NO_SOFT_DELETE,
    "set_blob_expiry": "it has no hierarchical namespace",
    "put_page": NO_PAGES,
    "get_page_ranges": NO_PAGES,
    "copy_page_increment": NO_PAGES,
    "query_blob": "it runs no queries over contents",
    "set_immutability_policy": NO_HOLDS,
    "delete_immutability_policy": NO_HOLDS,
    "set_legal_hold": NO_HOLDS,
}
BY_REQUEST = {(row.method, row.level, row.restype, row.comp.lower()): row for row in OPERATIONS}
RESOURCES = {(row.level, row.restype, row.comp.lower()) for row in OPERATIONS}
METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH"})


def match_operation(method: str, level: Level, restype: str, comp: str) -> Operation:
    """The row of a request. A HEAD request finds the GET row if it has none of its own.

    Refuses: NotImplemented for rows not carried out, UnsupportedHttpVerb for a known resource
    with another verb, InvalidQueryParameterValue for a comp or restype nobody knows.
    """
    key = (level, restype.lower(), comp.lower())
    row = BY_REQUEST.get((method, *key))
    if row is None and method == "HEAD":
        row = BY_REQUEST.get(("GET", *key))
    if row is not None and row.real:
        return row
    if row is not None:
        reason = LEFT_OUT.get(row.name, "")
        text = f"{row.name} is not implemented by this endpoint{reason and ': ' + reason}."
        raise Refused("NotImplemented", text)
    if key in RESOURCES:
        raise Refused("UnsupportedHttpVerb")
    if comp:
        raise invalid_query("comp", comp)
    raise invalid_query("restype", restype)
