"""Calls azure-batch 14.2 with every option an operation has, and looks at all that comes back.

The first word of the command line is the service's ready file, the second a folder to write in, the
third a container's URL.
"""

from __future__ import annotations

import enum
import inspect
import json
import sys
import uuid
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import azure.batch.models as m
from azure.batch import BatchServiceClient
from azure.batch.batch_auth import SharedKeyCredentials
from ledger import Ledger
from msrest.serialization import Model

READY = json.loads(Path(sys.argv[1]).read_text())["batch"]
LOGS_URL = sys.argv[3]
CLIENT = BatchServiceClient(
    SharedKeyCredentials(READY["account"], READY["key"]), batch_url=READY["endpoint"]
)
STALE = "0x8D0000000000000"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
GROUPS = sorted(name for name, value in vars(CLIENT).items() if hasattr(value, "api_version"))
ledger = Ledger()
given: dict[str, set[str]] = defaultdict(set)  # options by operation


def now() -> datetime:
    return datetime.now(UTC)


def method_of(operation: str) -> object:
    group, _, name = operation.partition(".")
    return getattr(getattr(CLIENT, group), name)


def options_type(operation: str) -> tuple[str, type]:
    """The keyword and the model of an operation's options."""
    parameters = inspect.signature(method_of(operation)).parameters
    # Two operations have parameters of their own whose names end alike.
    (word, *_) = [name for name in parameters if name.endswith("_options")]
    return word, getattr(m, word.title().replace("_", ""))


def call(operation: str, *args: object, **options: object) -> object:
    """Call an operation with its usual options and these; gives what it gave, all of it."""
    word, kind = options_type(operation)
    known = kind._attribute_map
    request_id = str(uuid.uuid4())
    usual = {
        "timeout": 30,
        "client_request_id": request_id,
        "return_client_request_id": True,
        "ocp_date": now(),
    }
    if operation == "task.add_collection":  # takes the keyword threads, which is no option
        usual, more = dict(usual), {"threads": options.pop("threads", 0)}
    else:
        more = {}
    filled = {name: value for name, value in usual.items() if name in known} | options
    given[operation] |= filled.keys()
    is_plain = not operation.partition(".")[2].startswith("list") and not more
    is_file = operation in ("file.get_from_task", "file.get_from_compute_node")
    if is_plain and not is_file and not operation.endswith((".exists", "get_remote_desktop")):
        answer = method_of(operation)(*args, **{word: kind(**filled)}, raw=True)
        headers = answer.response.headers
        assert headers["request-id"], headers
        assert headers["client-request-id"] == request_id, headers
        found = answer.output
        return check(found) if found is not None else answer.headers
    answer = method_of(operation)(*args, **{word: kind(**filled)}, **more)
    if is_file or operation.endswith("get_remote_desktop"):
        return b"".join(answer)
    if isinstance(answer, Iterator):
        return [check(one) for one in answer]
    return check(answer)


def check(value: object) -> object:
    """All members are ones that the client knows, and enumerations hold their values."""
    if isinstance(value, list):
        for one in value:
            check(one)
    if isinstance(value, Model):
        unknown = set(value.additional_properties) - {"odata.metadata"}
        assert not unknown, f"{type(value).__name__} has {sorted(unknown)}"
        for name, described in value._attribute_map.items():
            member, kind = getattr(value, name), getattr(m, described["type"], None)
            if member is not None and isinstance(kind, enum.EnumMeta):
                assert member in list(kind), f"{type(value).__name__}.{name}: {member}"
            check(member)
    return value


def refused(
    status: int, code: str | None, operation: str, *args: object, **options: object
) -> None:
    """A call that the service refuses, with this code where the answer has a body."""
    try:
        call(operation, *args, **options)
    except m.BatchErrorException as error:
        found = error.response.status_code, error.error and error.error.code
    else:
        raise AssertionError(f"{operation} {args} {options} was not refused")
    assert found == (status, code), f"{operation}: {found}, not {(status, code)}"


def conditional(operation: str, *args: object, etag: str = "", **options: object) -> object:
    """Refused while a condition is not met, carried out when all are."""
    later = now() + timedelta(hours=1)
    is_read = operation.partition(".")[2].startswith(("get", "exists"))
    same = (304, None) if is_read else (412, "ConditionNotMet")
    is_head = operation.endswith(".exists") or "get_properties" in operation
    other = (412, None if is_head else "ConditionNotMet")
    unmet = [(same, {"if_modified_since": later}), (other, {"if_unmodified_since": LONG_AGO})]
    met = {"if_modified_since": LONG_AGO, "if_unmodified_since": later}
    if etag:
        unmet += [(other, {"if_match": STALE}), (same, {"if_none_match": etag})]
        met |= {"if_match": etag, "if_none_match": STALE}
    for (status, code), one in unmet:
        refused(status, code, operation, *args, **options, **one)
    return call(operation, *args, **options, **met)


def offered() -> list[str]:
    """Every operation of every group."""
    found = []
    for group in GROUPS:
        methods = inspect.getmembers(getattr(CLIENT, group), inspect.ismethod)
        found += [f"{group}.{name}" for name, _ in methods if not name.startswith("_")]
    return found


def check_options() -> None:
    """Every option of every operation was given at least once."""
    for operation in offered():
        with ledger.of(operation):
            left = set(options_type(operation)[1]._attribute_map) - given[operation]
            assert not left, f"{operation} was never given {sorted(left)}"
