"""Task collections: many tasks in one body, each taken or refused by itself.

A task that is taken comes with its JSON as it is kept, sent to nodes and shown again: in the
newest spelling, without nulls, its durations spelled as agents read them.
"""

from __future__ import annotations

import msgspec

from lote.wire.check_tasks import check_task
from lote.wire.decode import BOM, decode_patiently, refuse_body
from lote.wire.errors import Refused, invalid_property, missing_property, unsupported_property
from lote.wire.formats import spell_duration
from lote.wire.modern import keeps_seven_days, modernize
from lote.wire.plain_tasks import are_plain
from lote.wire.task import TaskConstraints, TaskCreate, TaskGroup
from lote.wire.versions import NEWEST

TASKS_PER_GROUP_MAX = 100  # REST: Add Task Collection

Entry = tuple[TaskCreate | Refused, bytes]

_group = msgspec.json.Decoder(TaskGroup)
_task = msgspec.json.Decoder(TaskCreate)
_raw_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_untyped = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


def decode_task_group(data: bytes, version: str = NEWEST) -> list[Entry]:
    """Read and check a task collection of that api-version: for each entry the task and the JSON
    to keep of it, or why it is refused and what was sent.

    One bad entry does not refuse the others. Refuses as a whole what is no collection, and more
    than 100 entries (InvalidPropertyValue). What depends on the job is not checked. Source: REST,
    Add Task Collection.
    """
    try:
        tasks = _group.decode(data).value
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return _decode_patiently(data, version)
    _check_count(len(tasks))
    if keeps_seven_days(version) and are_plain(tasks, data):
        return [(task, kept_task(task)) for task in tasks]
    return [_checked(task, version) for task in tasks]


def kept_task(task: TaskCreate) -> bytes:
    """The JSON to keep of a checked task; puts the durations of the task right too."""
    if task.constraints is not None:
        spell_durations(task.constraints)
    return _encode(task)


def spell_durations(constraints: TaskConstraints) -> None:
    """Give checked durations the one spelling that agents read."""
    if constraints.max_wall_clock_time is not None:
        constraints.max_wall_clock_time = spell_duration(constraints.max_wall_clock_time)
    if constraints.retention_time is not None:
        constraints.retention_time = spell_duration(constraints.retention_time)


def task_id_of(entry: bytes) -> str:
    """The id in the bytes of a refused entry, as far as it has one; else an empty text."""
    try:
        found = _untyped.decode(entry)
    except (ValueError, RecursionError):
        return ""
    task_id = found.get("id") if isinstance(found, dict) else None
    return task_id if isinstance(task_id, str) else ""


def _checked(task: TaskCreate, version: str) -> Entry:
    modernize(task, version)
    try:
        check_task(task)
    except Refused as refused:
        return refused, _encode(task)
    return task, kept_task(task)


def _check_count(count: int) -> None:
    if count > TASKS_PER_GROUP_MAX:
        reason = f"A collection has at most {TASKS_PER_GROUP_MAX} tasks."
        raise invalid_property("value", count, reason)


def _decode_patiently(data: bytes, version: str) -> list[Entry]:
    entries = _raw_entries(data.removeprefix(BOM))
    _check_count(len(entries))
    return [_entry(bytes(raw), version) for raw in entries]


def _entry(raw: bytes, version: str) -> Entry:
    try:
        return _checked(_task.decode(raw), version)
    except (ValueError, RecursionError):
        pass  # read again below, outside the handler, so that a refusal carries no context
    try:
        task = decode_patiently(raw, TaskCreate)
    except Refused as refused:
        return refused, raw
    return _checked(task, version)


def _raw_entries(data: bytes) -> list[msgspec.Raw]:
    try:
        members = _raw_members.decode(data)
    except (ValueError, RecursionError) as error:
        refuse_body(error)
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
