"""An answer in the words of the client's api-version: members it does not know are left out,
those that were renamed have their old names, and what had another shape has it again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from lote.wire.dialects import RENAMES, RUN_AS_A_USER, hidden_members, older_names
from lote.wire.job import TaskCountsResult
from lote.wire.node import StartTaskInfo
from lote.wire.pool import Pool
from lote.wire.task import TaskExecutionInfo
from lote.wire.versions import VERSIONS, at_least
from lote.wire.vm import DataDisk

Shown = dict[str, Any]


def spell(shown: Shown, struct: type[msgspec.Struct], version: str) -> Shown:
    """``shown``, a ``struct`` in the newest spelling, as clients of ``version`` know it."""
    return spelling(struct, version)(shown)


@cache
def spelling(struct: type[msgspec.Struct], version: str) -> Callable[[Shown], Shown]:
    """What ``spell`` does to a ``struct`` in this version."""
    plan = _plan(struct, version)
    return _unchanged if plan is None else partial(_spelled, plan)


def _unchanged(shown: Shown) -> Shown:
    return shown


@cache
def selectable_members(struct: type[msgspec.Struct]) -> frozenset[str]:
    """The JSON names of a struct's members in any version."""
    names = {field.encode_name for field in msgspec.structs.fields(struct)}
    return frozenset(names | set(older_names(struct)))


class _Plan(NamedTuple):
    """How one struct looks in one version."""

    struct: type[msgspec.Struct]
    version: str
    hidden: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]  # new name, old name
    inner: tuple[tuple[str, _Plan], ...]  # members that hold structs that differ
    touched: frozenset[str]  # members that any of this is about
    is_reshaped: bool


@cache
def _plan(struct: type[msgspec.Struct], version: str) -> _Plan | None:
    """None when the struct looks as in the newest version, all the way down."""
    hidden = hidden_members(struct, version)
    renamed = tuple(
        (rename.new, rename.old)
        for rename in RENAMES
        if struct in rename.structs and at_least(rename.until, version)
    )
    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    inner = []
    for field in kind.fields:
        held = _held_struct(field.type)
        if held is not None and field.encode_name not in hidden:
            plan = _plan(held, version)
            if plan is not None:
                inner.append((field.encode_name, plan))
    is_reshaped = _is_reshaped(struct, version)
    if not (hidden or renamed or inner or is_reshaped):
        return None
    touched = hidden.union((new for new, _ in renamed), (name for name, _ in inner))
    names = tuple(sorted(hidden))
    return _Plan(struct, version, names, renamed, tuple(inner), touched, is_reshaped)


def _held_struct(kind: inspect.Type) -> type[msgspec.Struct] | None:
    """The struct that a member holds, alone or in a list."""
    if isinstance(kind, inspect.UnionType):
        kinds = [_held_struct(one) for one in kind.types]
        return next((one for one in kinds if one is not None), None)
    if isinstance(kind, inspect.ListType):
        return _held_struct(kind.item_type)
    return kind.cls if isinstance(kind, inspect.StructType) else None


def _spelled(plan: _Plan, shown: Shown) -> Shown:
    if plan.is_reshaped:
        shown = _reshape(plan.struct, shown, plan.version)
    elif plan.touched.isdisjoint(shown):
        return shown
    changed = {name: value for name, value in shown.items() if name not in plan.hidden}
    for name, inner in plan.inner:
        value = changed.get(name)
        if isinstance(value, list):
            changed[name] = [_spelled(inner, item) for item in value]
        elif value is not None:
            changed[name] = _spelled(inner, value)
    for new, old in plan.renamed:
        if new in changed:
            changed[old] = changed.pop(new)
    return changed


# -- what was not only called otherwise ---------------------------------------------------------

_SPLIT_COUNTS_SINCE = "2020-09-01.12.0"  # taskCounts beside taskSlotCounts
_EXACT_COUNTS_SINCE = "2018-08-01.7.0"  # before: with a word on whether they are
_MANAGED_DATA_DISKS_SINCE = "2025-06-01"
_FAILURE_INFO_SINCE = "2017-05-01.5.0"  # and a list of resize errors
_USER_IDENTITY_SINCE = "2017-01-01.4.0"  # before: runElevated
_RESHAPED: dict[Any, str] = {
    TaskCountsResult: _SPLIT_COUNTS_SINCE,
    DataDisk: _MANAGED_DATA_DISKS_SINCE,
    TaskExecutionInfo: _FAILURE_INFO_SINCE,
    StartTaskInfo: _FAILURE_INFO_SINCE,
    Pool: _FAILURE_INFO_SINCE,
} | dict.fromkeys(RUN_AS_A_USER, _USER_IDENTITY_SINCE)


def _is_reshaped(struct: type[msgspec.Struct], version: str) -> bool:
    return not at_least(version, _RESHAPED.get(struct, VERSIONS[0]))


def _reshape(struct: type[msgspec.Struct], shown: Shown, version: str) -> Shown:
    changed = dict(shown)
    if struct is TaskCountsResult:
        changed |= changed.pop("taskCounts")
        del changed["taskSlotCounts"]
        if not at_least(version, _EXACT_COUNTS_SINCE):
            changed["validationStatus"] = "validated"  # counts here are always exact
    elif struct is DataDisk:
        kind = changed.pop("managedDisk", {}).get("storageAccountType")
        if kind is not None:
            changed["storageAccountType"] = kind
    elif struct is Pool:
        errors = changed.pop("resizeErrors", None)
        if errors:
            changed["resizeError"] = errors[0]
    elif struct in (TaskExecutionInfo, StartTaskInfo):
        failure = changed.pop("failureInfo", None)
        if failure is not None and failure.get("code") != "FailureExitCode":
            changed["schedulingError"] = failure
    else:
        automatic = changed.pop("userIdentity", {}).get("autoUser", {})
        changed["runElevated"] = automatic.get("elevationLevel") == "admin"
    return changed
