"""Fit untyped JSON to a struct, forgiving what clients are known to send, naming what is wrong.

This is the slow half of ``decode``: it runs only for bodies the typed decoder did not take.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from lote.wire.dialects import RUN_AS_A_USER, older_names
from lote.wire.errors import invalid_property, missing_property, unsupported_property
from lote.wire.job import Job, JobCreate, JobReplace, JobUpdate
from lote.wire.job_schedule import (
    JobSchedule,
    JobScheduleCreate,
    JobScheduleReplace,
    JobScheduleUpdate,
)
from lote.wire.node import NodeDisableScheduling
from lote.wire.pool import Pool, PoolCreate, PoolReplace, PoolUpdate
from lote.wire.task import Task, TaskCreate, TaskReplace

# Clients send back what the service showed them: members of the noun that a body does not take are
# ignored, as the real service does for read-only ones.
_ECHOED: dict[type[msgspec.Struct], type[msgspec.Struct]] = {
    JobCreate: Job,
    JobReplace: Job,
    JobUpdate: Job,
    JobScheduleCreate: JobSchedule,
    JobScheduleReplace: JobSchedule,
    JobScheduleUpdate: JobSchedule,
    PoolCreate: Pool,
    PoolReplace: Pool,
    PoolUpdate: Pool,
    TaskCreate: Task,
    TaskReplace: Task,
}
_NEVER_SHOWN = frozenset({"identity"})  # a pool's, which no pool here can have
_DECIMAL = re.compile(r"[+-]?\d{1,19}", re.ASCII)


def fit_struct(members: dict[str, Any], struct: type[msgspec.Struct]) -> dict[str, Any]:
    """``members`` with every value as ``struct`` wants it and nothing the struct does not know.

    Refuses: MissingRequiredProperty, InvalidPropertyValue, UnsupportedProperty, each with the
    dotted JSON path of the member.
    """
    return _fit_members(members, struct, "")


@cache
def member_names(struct: type[msgspec.Struct]) -> frozenset[str]:
    """The JSON names of a struct's members."""
    return frozenset(field.encode_name for field in msgspec.structs.fields(struct))


@cache
def _fields(struct: type[msgspec.Struct]) -> dict[str, inspect.Field]:
    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    return {field.encode_name: field for field in kind.fields}


def _fit_members(
    members: dict[str, Any], struct: type[msgspec.Struct], path: str
) -> dict[str, Any]:
    fields = _fields(struct)
    fitted: dict[str, Any] = {}
    for name, value in _in_newest_names(members, struct).items():
        field = fields.get(name)
        if field is None:
            if not _is_ignored(name, struct):
                raise unsupported_property(path + name, value, _remedy(name, fields))
        elif value is not None:  # null means absent
            fitted[name] = _fit(value, field.type, path + name)
    for name, field in fields.items():
        if field.required and name not in fitted:
            raise missing_property(path + name)
    return fitted


def _in_newest_names(members: dict[str, Any], struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The members under the names of the newest version; who gives both means the newest."""
    renamed = older_names(struct)
    if not renamed.keys().isdisjoint(members):
        members = {renamed.get(name, name): value for name, value in members.items()} | {
            name: value for name, value in members.items() if name not in renamed
        }
    if struct in RUN_AS_A_USER and "runElevated" in members:
        members = dict(members)
        level = "admin" if members.pop("runElevated") in (True, "true") else "nonadmin"
        members.setdefault("userIdentity", {"autoUser": {"elevationLevel": level}})
    if struct is NodeDisableScheduling:
        members = _unwrapped(members, "nodeDisableSchedulingOption")
    return members


def _unwrapped(members: dict[str, Any], name: str) -> dict[str, Any]:
    """`az batch node scheduling disable` 2.91 sends the option inside an object of its own."""
    held = members.get(name)
    return {**members, **held} if isinstance(held, dict) and held.keys() == {name} else members


def _remedy(name: str, known: Iterable[str]) -> str:
    """Why a member is refused, with the name its author may have meant."""
    near = difflib.get_close_matches(name[:64], known, n=1, cutoff=0.7)
    return f"The property is not known here; did you mean {near[0]}?" if near else ""


def _is_ignored(name: str, struct: type[msgspec.Struct]) -> bool:
    if "odata." in name:
        return True
    echoed = _ECHOED.get(struct)
    return echoed is not None and name in member_names(echoed) - _NEVER_SHOWN


def _fit(value: object, kind: inspect.Type, path: str) -> object:
    if isinstance(kind, inspect.UnionType):
        kind = next(option for option in kind.types if not isinstance(option, inspect.NoneType))
    fit = _FITS.get(type(kind))
    return value if fit is None else fit(value, kind, path)


def _fit_object(value: object, kind: inspect.StructType, path: str) -> object:
    if not isinstance(value, dict):
        raise invalid_property(path, None, "An object is expected.")  # it may hold secrets
    return _fit_members(value, kind.cls, path + ".")


def _fit_list(value: object, kind: inspect.ListType, path: str) -> object:
    if not isinstance(value, list):
        raise invalid_property(path, None, "A list is expected.")
    return [_fit(item, kind.item_type, f"{path}[{index}]") for index, item in enumerate(value)]


def _fit_map(value: object, kind: inspect.DictType, path: str) -> object:
    if not isinstance(value, dict):
        raise invalid_property(path, None, "An object is expected.")  # it may hold secrets
    return {name: _fit(item, kind.value_type, path) for name, item in value.items()}


def _fit_text(value: object, kind: inspect.StrType, path: str) -> object:
    if not isinstance(value, str):
        raise invalid_property(path, value, "A text is expected.")
    return value


def _fit_word(value: object, kind: inspect.LiteralType, path: str) -> object:
    if isinstance(value, str):
        spelled = _spellings(kind.values).get(value.lower())
        if spelled is not None:
            return spelled
    words = ", ".join(str(word) for word in kind.values)
    raise invalid_property(path, value, f"One of these is expected: {words}.")


@cache
def _spellings(words: tuple[str, ...]) -> dict[str, str]:
    return {word.lower(): word for word in words}


def _fit_int(value: object, kind: inspect.IntType, path: str) -> object:
    number = _whole_number(value)
    if number is None:
        raise invalid_property(path, value, "An integer is expected.")
    if (kind.ge is not None and number < kind.ge) or (kind.le is not None and number > kind.le):
        raise invalid_property(path, value, "The number is out of range.")
    return number


def _whole_number(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if _DECIMAL.fullmatch(value.strip()) else None
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value.is_integer() else None
    return value if isinstance(value, int) else None


def _fit_bool(value: object, kind: inspect.BoolType, path: str) -> object:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise invalid_property(path, value, "true or false is expected.")


# Dispatch by msgspec's own description of a member; what is not listed (Any) passes as it is.
_FITS: dict[type[inspect.Type], Callable[[Any, Any, str], Any]] = {
    inspect.StructType: _fit_object,
    inspect.ListType: _fit_list,
    inspect.DictType: _fit_map,
    inspect.StrType: _fit_text,
    inspect.LiteralType: _fit_word,
    inspect.IntType: _fit_int,
    inspect.BoolType: _fit_bool,
}
