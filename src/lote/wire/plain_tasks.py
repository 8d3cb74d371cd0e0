"""Whether all tasks of a group are so plain that nothing in them can break a rule.

A group of a hundred tasks is the hot path of the service, and nearly all groups are plain: ids,
command lines, variables, downloads. Here one member of all tasks is looked at at a time, which
costs a third of looking at one task after the other. A "no" decides nothing: then ``check_tasks``
looks at each task and finds what is wrong, if anything is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec.structs import astuple

from lote.wire.check_tasks import (
    SLOTS_MAX,
    check_dependencies,
    check_exit_conditions,
    check_output_files,
    check_task_constraints,
)
from lote.wire.errors import Refused
from lote.wire.rules import (
    DISPLAY_NAME_CHARS_MAX,
    RESOURCE_FILES_MAX,
    check_user_identity,
)
from lote.wire.shared import ResourceFile
from lote.wire.task import TaskCreate

_FIELDS = TaskCreate.__struct_fields__
_ID, _COMMAND, _DISPLAY_NAME, _SLOTS, _ENVIRONMENT, _FILES = (
    _FIELDS.index(name)
    for name in (
        *("id", "command_line", "display_name", "required_slots"),
        *("environment_settings", "resource_files"),
    )
)
_CHECKS: tuple[tuple[int, Callable[[Any], None]], ...] = tuple(
    (_FIELDS.index(name), check)
    for name, check in (
        ("constraints", check_task_constraints),
        ("output_files", partial(check_output_files, "outputFiles")),
        ("user_identity", partial(check_user_identity, "userIdentity")),
        ("depends_on", check_dependencies),
        ("exit_conditions", check_exit_conditions),
    )
)
_KNOWN = {_ID, _COMMAND, _DISPLAY_NAME, _SLOTS, _ENVIRONMENT, _FILES} | dict(_CHECKS).keys()
_RARE = [index for index in range(len(_FIELDS)) if index not in _KNOWN]
_FILE_FIELDS = ResourceFile.__struct_fields__
_URL, _PATH = map(_FILE_FIELDS.index, ("http_url", "file_path"))
_RARE_OF_FILES = [index for index in range(len(_FILE_FIELDS)) if index not in (_URL, _PATH)]

# One value a line; a value with a line break in it makes more lines than values.
_are_ids = re.compile(r"(?:[A-Za-z0-9_-]{1,64}\n)+", re.ASCII).fullmatch
_are_paths = re.compile(r"(?:[\w-][\w./-]*\n)+", re.ASCII).fullmatch
_are_urls = re.compile(r"(?:https?://[\w.:-]+/.*\n)+", re.ASCII).fullmatch
_url_head = re.compile(r"https?://[\w.:-]+/", re.ASCII).match

Column = tuple[Any, ...]


def are_plain(tasks: Sequence[TaskCreate], body: bytes) -> bool:
    """Whether these tasks, decoded from ``body``, certainly pass ``check_task``."""
    has_escapes = b"\\" in body  # JSON has no other way to write a control character
    if not tasks or (has_escapes and b"\\u00" in body):
        return False
    columns = list(zip(*map(astuple, tasks), strict=True))
    count = len(tasks)
    commands = columns[_COMMAND]
    return (
        all(columns[index].count(None) == count for index in _RARE)
        and _fit(_are_ids, columns[_ID])
        and "" not in commands
        and not any(map(str.isspace, commands))
        and max(map(len, filter(None, columns[_DISPLAY_NAME])), default=0) <= DISPLAY_NAME_CHARS_MAX
        and all(slots is None or 1 <= slots <= SLOTS_MAX for slots in set(columns[_SLOTS]))
        and _are_variables(columns[_ENVIRONMENT])
        and _are_downloads(columns[_FILES], has_escapes)
        and all(_pass(check, columns[index]) for index, check in _CHECKS)
    )


def _pass(check: Callable[[Any], None], column: Column) -> bool:
    """Whether all values of a member that not all tasks have pass its own check."""
    if column.count(None) == len(column):
        return True
    try:
        for value in filter(None, column):
            check(value)
    except Refused:
        return False
    return True


def _are_variables(column: Column) -> bool:
    names = {setting.name for settings in column if settings for setting in settings}
    return "" not in names and "=" not in "".join(names)


def _are_downloads(column: Column, has_escapes: bool) -> bool:
    """Whether all resource files are one URL to one simple path each."""
    flat = [file for files in column if files for file in files]
    if not flat:
        return True
    if len(flat) > RESOURCE_FILES_MAX:  # of all tasks together; one of them may have too many
        return False
    files = list(zip(*map(astuple, flat), strict=True))
    count = len(flat)
    if any(files[index].count(None) != count for index in _RARE_OF_FILES):
        return False
    try:
        urls, paths = "\n".join(files[_URL]), "\n".join(files[_PATH])
    except TypeError:  # one of them has none
        return False
    if has_escapes and tuple(urls.split()) != files[_URL]:
        return False  # white space in one of them, a line break perhaps
    return (
        " " not in urls
        and urls.isascii()
        and (_share_a_host(urls, count) or _match(_are_urls, urls, count))
        and _match(_are_paths, paths, count)
        and ".." not in paths
    )


def _share_a_host(urls: str, count: int) -> bool:
    head = _url_head(urls)
    return head is not None and urls.count("\n" + head.group()) == count - 1


def _fit(pattern: Callable[[str], object], values: Column) -> bool:
    """Whether all values match a pattern of lines."""
    return _match(pattern, "\n".join(values), len(values))


def _match(pattern: Callable[[str], object], lines: str, count: int) -> bool:
    lines += "\n"
    return lines.count("\n") == count and "\0" not in lines and pattern(lines) is not None
