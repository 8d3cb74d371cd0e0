"""Conditional requests: If-Match and its three companions. Source: REST, conditional headers."""

from __future__ import annotations

from collections.abc import Mapping

from lote.server.request import NO_CONDITIONS, Conditions, Request
from lote.wire.errors import Refused
from lote.wire.formats import etag_of, parse_http_date
from lote.wire.operations import Conditions as Allowed

_NAMES = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_US_PER_S = 1_000_000


def parse_conditions(headers: Mapping[str, str], allowed: Allowed) -> Conditions:
    """The request's conditions, those that its operation has.

    Headers that mean nothing to the operation are not looked at. Refuses: InvalidHeaderValue for
    a date that is none.
    """
    if allowed == "none" or headers.keys().isdisjoint(_NAMES):
        return NO_CONDITIONS
    has_etags = allowed == "all"  # a file has only its time
    return Conditions(
        if_match=_etag(headers.get("if-match")) if has_etags else None,
        if_none_match=_etag(headers.get("if-none-match")) if has_etags else None,
        if_modified_since_us=_date(headers, "if-modified-since"),
        if_unmodified_since_us=_date(headers, "if-unmodified-since"),
    )


def check_write(request: Request, modified_us: int) -> None:
    """The thing to be changed must meet the conditions. Refuses: ConditionNotMet, 412."""
    if request.conditions is not NO_CONDITIONS and not _is_met(request.conditions, modified_us):
        raise Refused("ConditionNotMet", status=412)


def check_read(conditions: Conditions, modified_us: int) -> None:
    """The thing that was read must meet the conditions. Refuses: ConditionNotMet, 304 or 412."""
    if conditions is NO_CONDITIONS:
        return
    etag = etag_of(modified_us)
    if conditions.if_match is not None and conditions.if_match not in ("*", etag):
        raise Refused("ConditionNotMet", status=412)
    whole_us = modified_us // _US_PER_S * _US_PER_S
    until_us = conditions.if_unmodified_since_us
    if until_us is not None and whole_us > until_us:
        raise Refused("ConditionNotMet", status=412)
    if conditions.if_none_match is not None and conditions.if_none_match in ("*", etag):
        raise Refused("ConditionNotMet", status=304)
    since_us = conditions.if_modified_since_us
    if since_us is not None and whole_us <= since_us:
        raise Refused("ConditionNotMet", status=304)


def _is_met(conditions: Conditions, modified_us: int) -> bool:
    etag = etag_of(modified_us)
    whole_us = modified_us // _US_PER_S * _US_PER_S  # headers carry whole seconds
    if conditions.if_match is not None and conditions.if_match not in ("*", etag):
        return False
    if conditions.if_none_match is not None and conditions.if_none_match in ("*", etag):
        return False
    since_us = conditions.if_modified_since_us
    if since_us is not None and whole_us <= since_us:
        return False
    until_us = conditions.if_unmodified_since_us
    return until_us is None or whole_us <= until_us


def _etag(value: str | None) -> str | None:
    if value is None:
        return None
    return value.strip().removeprefix("W/").strip('"')


def _date(headers: Mapping[str, str], name: str) -> int | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        return parse_http_date(value)
    except ValueError:
        raise Refused(
            "InvalidHeaderValue", values=[("HeaderName", name), ("HeaderValue", value[:64])]
        ) from None
