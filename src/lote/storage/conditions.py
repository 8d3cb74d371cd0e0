"""Conditional headers. Source: REST "Specifying conditional headers for Blob service"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lote.storage.errors import Refused, invalid_header
from lote.storage.times import etag_text, parse_http_date

SECOND_US = 1_000_000


class Conditions(NamedTuple):
    """What a request demands of a resource's present state; times in microseconds."""

    if_match: str | None
    if_none_match: str | None
    if_modified_since_us: int | None
    if_unmodified_since_us: int | None

    @property
    def creates_only(self) -> bool:
        """Whether the request is only for a resource that does not exist yet."""
        return self.if_none_match == "*"

    def check(self, etag: int | None, modified_us: int, *, reading: bool = False) -> None:
        """Compare with a resource; ``etag`` is None when there is none.

        Refuses: ConditionNotMet with 412, or with 304 for a read of what has not changed.
        """
        if etag is None:
            if self.if_match is not None:
                raise Refused("ConditionNotMet")
            return
        if self.if_match is not None:  # an ETag outweighs a date
            holds = names_etag(self.if_match, etag)
        else:
            holds = not is_after(modified_us, self.if_unmodified_since_us, otherwise=False)
        if not holds:
            raise Refused("ConditionNotMet")
        if self.if_none_match is not None:
            changed = not names_etag(self.if_none_match, etag)
        else:
            changed = is_after(modified_us, self.if_modified_since_us, otherwise=True)
        if not changed:
            raise Refused("ConditionNotMet", status=304 if reading else None)


NO_CONDITIONS = Conditions(None, None, None, None)


def parse_conditions(headers: Mapping[str, str], prefix: str = "") -> Conditions:
    """The conditions of a request; ``prefix`` is ``x-ms-source-`` for those on a copy's source.

    Refuses: InvalidHeaderValue for a date that is none.
    """
    if_match, if_none_match, modified, unmodified = (
        headers.get(f"{prefix}{name}")
        for name in ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
    )
    if (if_match or if_none_match or modified or unmodified) is None:
        return NO_CONDITIONS
    return Conditions(
        if_match,
        if_none_match,
        _parse_date(f"{prefix}if-modified-since", modified),
        _parse_date(f"{prefix}if-unmodified-since", unmodified),
    )


def names_etag(header: str, etag: int) -> bool:
    """Whether a header's list of ETags has this one, or is ``*``."""
    known = etag_text(etag)
    return any(one.strip().strip('"') in (known, "*") for one in header.split(","))


def is_after(time_us: int, since_us: int | None, *, otherwise: bool) -> bool:
    """Whether a time is later by whole seconds, which is all that HTTP dates can say."""
    return otherwise if since_us is None else time_us // SECOND_US > since_us // SECOND_US


def _parse_date(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_http_date(text)
    except ValueError:
        raise invalid_header(name, text) from None
