"""Request bodies into structs: fast when they are as documented, patient when they are not.

A body goes through msgspec's typed decoder. Only if that fails is it read again without types and
fitted to the struct member by member, which forgives what real clients send (numbers as strings,
enums in another case, read-only members, a byte order mark) and names what it cannot forgive.
"""

from __future__ import annotations

from typing import Any, NoReturn, TypeVar

import msgspec

from lote.wire.errors import Refused, invalid_property, missing_property, unsupported_property
from lote.wire.fitting import fit_struct
from lote.wire.task import TaskCreate

T = TypeVar("T", bound=msgspec.Struct)

TASKS_PER_GROUP_MAX = 100  # REST: Add Task Collection

_BOM = b"\xef\xbb\xbf"


class _RawGroup(msgspec.Struct, forbid_unknown_fields=True):
    value: list[msgspec.Raw]


_raw_group = msgspec.json.Decoder(_RawGroup)
# Strict: the bytes of a task that passes are kept and shown again, so they must be well spelled.
_strict_task = msgspec.json.Decoder(TaskCreate)
_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_untyped = msgspec.json.Decoder()


_lax_decoders: dict[type, Any] = {}  # struct → its decoder; a dict, as a generic cache loses T


def decode(data: bytes, struct: type[T]) -> T:
    """Read a request body as ``struct``.

    Refuses: InvalidRequestBody (not JSON, not an object), MissingRequiredProperty,
    InvalidPropertyValue, UnsupportedProperty.
    """
    try:
        return _lax_decoder(struct).decode(data)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return _decode_patiently(data, struct)


def decode_task_group(data: bytes) -> list[tuple[TaskCreate | Refused, bytes]]:
    """Read a task collection: for each entry the task, or why it is refused, and its bytes.

    The bytes of a task are fit to be shown again: as sent if they were spelled as the wire spells
    them, else written anew. One bad entry does not refuse the others. Refuses as a whole what is
    no collection, and more than 100 entries (InvalidPropertyValue). Source: REST, Add Task
    Collection.
    """
    try:
        entries = _raw_group.decode(data).value
    except (ValueError, RecursionError):
        entries = _entries_patiently(data)
    if len(entries) > TASKS_PER_GROUP_MAX:
        reason = f"A collection has at most {TASKS_PER_GROUP_MAX} tasks."
        raise invalid_property("value", len(entries), reason)
    return [_group_entry(bytes(raw)) for raw in entries]


def task_id_of(entry: bytes) -> str:
    """The id in the bytes of a refused entry, as far as it has one; else an empty text."""
    try:
        found = _untyped.decode(entry)
    except (ValueError, RecursionError):
        return ""
    task_id = found.get("id") if isinstance(found, dict) else None
    return task_id if isinstance(task_id, str) else ""


def _lax_decoder(struct: type[T]) -> msgspec.json.Decoder[T]:
    decoder: msgspec.json.Decoder[T] | None = _lax_decoders.get(struct)
    if decoder is None:
        decoder = _lax_decoders[struct] = msgspec.json.Decoder(struct, strict=False)
    return decoder


def _group_entry(raw: bytes) -> tuple[TaskCreate | Refused, bytes]:
    try:
        task = _strict_task.decode(raw)
        if b"null" in raw:  # absent members are never shown as null
            return task, msgspec.json.encode(task)
        return task, raw
    except (ValueError, RecursionError):
        pass  # read again below, outside the handler, so that a refusal carries no context
    try:
        task = _decode_patiently(raw, TaskCreate)
    except Refused as refused:
        return refused, raw
    return task, msgspec.json.encode(task)


def _entries_patiently(data: bytes) -> list[msgspec.Raw]:
    data = data.removeprefix(_BOM)
    try:
        members = _raw_members.decode(data)
    except (ValueError, RecursionError):
        _refuse_body()
    for name in members:
        if name != "value" and not name.startswith("odata."):
            raise unsupported_property(name)
    raw = members.get("value")
    if raw is None or bytes(raw) == b"null":
        raise missing_property("value")
    try:
        return _raw_list.decode(raw)
    except (ValueError, RecursionError):
        reason = "A list of tasks is expected."
    raise invalid_property("value", None, reason)


def _decode_patiently(data: bytes, struct: type[T]) -> T:
    found: Any = None
    try:
        found = _untyped.decode(data.removeprefix(_BOM))
    except (ValueError, RecursionError):
        _refuse_body()
    if not isinstance(found, dict):
        _refuse_body()
    fitted = fit_struct(found, struct)
    try:
        return msgspec.convert(fitted, struct)
    except (msgspec.ValidationError, RecursionError):
        _refuse_body()


def _refuse_body() -> NoReturn:
    raise Refused("InvalidRequestBody") from None
