"""Every property that a body can have: of another kind, or left out, it is refused by its name."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
import pytest
from msgspec import inspect

from lote.wire.decode import decode
from lote.wire.errors import Refused
from lote.wire.job import JobCreate
from lote.wire.job_schedule import JobScheduleCreate
from lote.wire.pool import PoolCreate
from lote.wire.task import TaskCreate
from whole_bodies import part, whole_job, whole_pool, whole_task

Path = tuple[str | int, ...]
type_info = cache(inspect.type_info)
FREE = {"settings", "protectedSettings"}  # whatever an extension wants


def whole_schedule() -> dict[str, Any]:
    return {"id": "s", "schedule": part("schedule"), "jobSpecification": whole_job()}


WHOLE: dict[type[msgspec.Struct], dict[str, Any]] = {
    PoolCreate: whole_pool() | {"id": "p", "vmSize": "standard_d2_v2"},
    JobCreate: whole_job() | {"id": "j"},
    JobScheduleCreate: whole_schedule(),
    TaskCreate: whole_task() | {"id": "t"},
}
WHOLE = {struct: json.loads(json.dumps(body)) for struct, body in WHOLE.items()}


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place in a body, but for what is free."""
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value)
    for step, held in inner:
        yield (*path, step)
        if isinstance(held, dict | list) and step not in FREE:
            yield from places(held, (*path, step))


def name_of(path: Path) -> str:
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return text.removeprefix(".")


def holder_of(body: Any, path: Path) -> Any:
    for step in path[:-1]:
        body = body[step]
    return body


def of_another_kind(value: Any) -> Any:
    """What cannot be read as the value, however patiently."""
    return {"no": "such"} if isinstance(value, str) else "neither one nor the other"


def struct_at(struct: Any, path: Path) -> Any:
    """The struct that holds the last step of a path; None inside a map or a list."""
    kind: Any = type_info(struct)
    for step in path[:-1]:
        if isinstance(kind, inspect.StructType):
            kind = next(field.type for field in kind.fields if field.encode_name == step)
        elif isinstance(kind, inspect.ListType):
            kind = kind.item_type
        else:
            return None
        if isinstance(kind, inspect.UnionType):
            kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
    return kind.cls if isinstance(kind, inspect.StructType) else None


def is_required(struct: Any, path: Path) -> bool:
    held_by = struct_at(struct, path)
    if held_by is None or isinstance(path[-1], int):
        return False
    fields = type_info(held_by).fields  # type: ignore[union-attr]
    return any(field.required for field in fields if field.encode_name == path[-1])


def refusal_of(body: Any, struct: type[msgspec.Struct]) -> Refused:
    with pytest.raises(Refused) as caught:
        decode(json.dumps(body).encode(), struct)
    return caught.value


@pytest.mark.parametrize("struct", WHOLE, ids=lambda struct: struct.__name__)
def test_of_another_kind(struct: type[msgspec.Struct]):
    seen = 0
    for path in places(WHOLE[struct]):
        body = copy.deepcopy(WHOLE[struct])
        holder = holder_of(body, path)
        holder[path[-1]] = of_another_kind(holder[path[-1]])
        refused = refusal_of(body, struct)
        named = dict(refused.values).get("PropertyName", "")
        assert refused.code == "InvalidPropertyValue", (path, refused)
        # the value of a map is named with the map
        assert named in (name_of(path), name_of(path[:-1])), path
        assert dict(refused.values)["Reason"], path
        seen += 1
    assert seen > 50


@pytest.mark.parametrize("struct", WHOLE, ids=lambda struct: struct.__name__)
def test_left_out(struct: type[msgspec.Struct]):
    required = [path for path in places(WHOLE[struct]) if is_required(struct, path)]
    assert len(required) > 5
    for path in required:
        body = copy.deepcopy(WHOLE[struct])
        del holder_of(body, path)[path[-1]]
        refused = refusal_of(body, struct)
        assert refused.code == "MissingRequiredProperty", (path, refused)
        assert ("PropertyName", name_of(path)) in refused.values, path


@pytest.mark.parametrize("struct", WHOLE, ids=lambda struct: struct.__name__)
def test_one_that_is_not_known(struct: type[msgspec.Struct]):
    for path in places(WHOLE[struct]):
        body = copy.deepcopy(WHOLE[struct])
        holder = holder_of(body, path)[path[-1]]
        if not isinstance(holder, dict) or struct_at(struct, (*path, "")) is None:
            continue
        holder["noSuchProperty"] = 1
        refused = refusal_of(body, struct)
        assert refused.code == "UnsupportedProperty", (path, refused)
        assert ("PropertyName", f"{name_of(path)}.noSuchProperty") in refused.values
