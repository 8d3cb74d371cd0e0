"""The api-versions this service answers, and how two of them compare."""

from __future__ import annotations

import re

from lote.wire.errors import Refused, invalid_query

# REST: versions of the data plane since action URLs became /resource/action, oldest first.
VERSIONS: tuple[str, ...] = (
    "2016-02-01.3.0",
    "2016-07-01.3.1",
    "2017-01-01.4.0",
    "2017-05-01.5.0",
    "2017-06-01.5.1",
    "2017-09-01.6.0",
    "2018-03-01.6.1",
    "2018-08-01.7.0",
    "2018-12-01.8.0",
    "2019-06-01.9.0",
    "2019-08-01.10.0",
    "2020-03-01.11.0",
    "2020-09-01.12.0",
    "2021-06-01.14.0",
    "2022-01-01.15.0",
    "2022-10-01.16.0",
    "2023-05-01.17.0",
    "2023-11-01.18.0",
    "2024-02-01.19.0",
    "2024-07-01.20.0",
    "2025-06-01",
)
NEWEST = VERSIONS[-1]

_KNOWN = frozenset(VERSIONS)
_FORM = re.compile(
    r"\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])(?:\.\d{1,3}\.\d{1,3})?", re.ASCII
)
_DATE_CHARS = 10


def check_api_version(value: str | None) -> str:
    """The version to answer a request in; newer ones than ours are answered in our newest.

    Refuses: MissingRequiredQueryParameter, InvalidQueryParameterValue, UnsupportedRequestVersion.
    """
    if value is None or not value.strip():
        values = [("QueryParameterName", "api-version")]
        raise Refused("MissingRequiredQueryParameter", values=values)
    if value in _KNOWN:
        return value
    if not _FORM.fullmatch(value):
        raise invalid_query("api-version", value, "A version such as 2025-06-01 is expected.")
    if value[:_DATE_CHARS] >= NEWEST[:_DATE_CHARS]:
        return NEWEST
    values = [("QueryParameterName", "api-version"), ("QueryParameterValue", value)]
    raise Refused("UnsupportedRequestVersion", values=values)


def at_least(version: str, first: str) -> bool:
    """Whether ``version`` is ``first`` or newer; dates of one width compare as text."""
    return version[:_DATE_CHARS] >= first[:_DATE_CHARS]
