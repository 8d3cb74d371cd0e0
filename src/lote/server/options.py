"""The options of a request's query, checked before anything is looked up."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from lote.wire.answers import ENTITIES, LISTS
from lote.wire.errors import Refused, invalid_query
from lote.wire.filters import FILTERS, LIST_FILTERS
from lote.wire.odata import parse_expand, parse_filter, parse_select
from lote.wire.operations import Operation
from lote.wire.spelling import selectable_members

PAGE_SIZE_MAX = 1000  # REST: maxresults
_SECONDS_MAX = 2**31 - 1  # REST: timeout is an int32; more than 30 s means 30
_WHOLE_NUMBER = re.compile("-?[0-9]{1,10}")
_FLAGS = frozenset({"true", "false"})


def check_options(query: Mapping[str, str], operation: Operation) -> None:
    """Refuse what an operation's own options cannot be; options it does not have are ignored.

    Refuses: InvalidQueryParameterValue, OutOfRangeQueryParameterValue.
    """
    for name, text in query.items():
        check = _CHECKS.get(name)
        if check is not None and (name == "timeout" or name in operation.query):
            check(name, text, operation)


def is_set(query: Mapping[str, str], name: str) -> bool:
    """A checked option that is true or false; false when it is not given."""
    return query.get(name, "").lower() == "true"


def _check_page_size(name: str, text: str, operation: Operation) -> None:
    _check_number(name, text, PAGE_SIZE_MAX)


def _check_seconds(name: str, text: str, operation: Operation) -> None:
    if text:  # clients that have no value for it send none
        _check_number(name, text, _SECONDS_MAX)


def _check_number(name: str, text: str, number_max: int) -> None:
    if not _WHOLE_NUMBER.fullmatch(text):
        raise invalid_query(name, text[:32], "The value must be a whole number.")
    if not 1 <= int(text) <= number_max:
        raise Refused(
            "OutOfRangeQueryParameterValue",
            values=[
                ("QueryParameterName", name),
                ("QueryParameterValue", text),
                ("MinimumAllowed", "1"),
                ("MaximumAllowed", str(number_max)),
            ],
        )


def _check_flag(name: str, text: str, operation: Operation) -> None:
    if text and text.lower() not in _FLAGS:
        raise invalid_query(name, text[:32], "The value must be true or false.")


def _check_filter(name: str, text: str, operation: Operation) -> None:
    if text:
        parse_filter(text, FILTERS[LIST_FILTERS[operation.name]])


def _check_select(name: str, text: str, operation: Operation) -> None:
    shown = LISTS.get(operation.name) or ENTITIES[operation.name]
    parse_select(text, selectable_members(shown))


def _check_expand(name: str, text: str, operation: Operation) -> None:
    parse_expand(text)


_CHECKS: dict[str, Callable[[str, str, Operation], None]] = {
    "maxresults": _check_page_size,
    "timeout": _check_seconds,
    "force": _check_flag,
    "recursive": _check_flag,
    "filter": _check_filter,
    "select": _check_select,
    "expand": _check_expand,
}
