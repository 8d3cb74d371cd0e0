"""Conditional headers. Source: REST "Specifying conditional headers for Blob service"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from lote.storage.errors import Refused, invalid_header
from lote.storage.tag_expression import TagCondition, parse_tag_condition
from lote.storage.times import etag_text, parse_http_date

SECOND_US = 1_000_000
ANY = "*"


class Conditions(NamedTuple):
    """What a request demands of a resource's present state; times in microseconds.

    ``reading``: conditions of a read may be combined as one likes, and may answer 304.
    """

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since_us: int | None = None
    if_unmodified_since_us: int | None = None
    if_tags: TagCondition | None = None
    reading: bool = False

    @property
    def creates_only(self) -> bool:
        """Whether the request is only for a resource that does not exist yet."""
        return self.if_none_match == ANY

    def check(
        self, etag: int | None, modified_us: int, tags: Mapping[str, str] | None = None
    ) -> None:
        """Compare with a resource; ``etag`` is None when there is none.

        Refuses: ConditionNotMet with 412, or with 304 for a read of what has not changed.
        """
        if etag is None:
            if self.if_match is not None:
                raise Refused("ConditionNotMet")
            return
        if not self._is_as_wished(etag, modified_us):
            raise Refused("ConditionNotMet")
        if not self._is_news(etag, modified_us):
            raise Refused("ConditionNotMet", status=304 if self.reading else None)
        if self.if_tags is not None and not self.if_tags(tags or {}):
            raise Refused("ConditionNotMet")

    def _is_as_wished(self, etag: int, modified_us: int) -> bool:
        """If-Match and If-Unmodified-Since; of a write's two, the ETag decides alone."""
        if self.if_match is not None:
            named = names_etag(self.if_match, etag)
            if not named or not self.reading:
                return named
        return not is_after(modified_us, self.if_unmodified_since_us, otherwise=False)

    def _is_news(self, etag: int, modified_us: int) -> bool:
        """If-None-Match or If-Modified-Since: one of a read's two is enough, of a write's two
        the ETag decides alone."""
        if self.if_none_match is None:
            return is_after(modified_us, self.if_modified_since_us, otherwise=True)
        return not names_etag(self.if_none_match, etag) or (
            self.reading and is_after(modified_us, self.if_modified_since_us, otherwise=False)
        )


NO_CONDITIONS = Conditions()
NO_READING_CONDITIONS = Conditions(reading=True)


def parse_conditions(
    headers: Mapping[str, str], prefix: str = "", *, reading: bool = False
) -> Conditions:
    """The conditions of a request; ``prefix`` is ``x-ms-source-`` for those on a copy's source.

    Refuses: InvalidHeaderValue for a date or an expression that is none,
    MultipleConditionHeadersNotSupported for more than a write may demand at once,
    UnsatisfiableCondition for a read of what does not exist. Source: REST "Specifying
    conditional headers for Blob service operations".
    """
    if_match, if_none_match, modified, unmodified = (
        headers.get(f"{prefix}{name}")
        for name in ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
    )
    tags_header = f"{prefix or 'x-ms-'}if-tags"
    tags = headers.get(tags_header)
    if (if_match or if_none_match or modified or unmodified or tags) is None:
        return NO_READING_CONDITIONS if reading else NO_CONDITIONS
    found = Conditions(
        if_match,
        if_none_match,
        _parse_date(f"{prefix}if-modified-since", modified),
        _parse_date(f"{prefix}if-unmodified-since", unmodified),
        parse_tag_condition(tags, tags_header) if tags is not None else None,
        reading,
    )
    if reading and found.creates_only:
        raise Refused("UnsatisfiableCondition")
    if not reading:
        _check_combination(found)
    return found


def _check_combination(wanted: Conditions) -> None:
    """A write names one ETag, and a date with it only if both ask the same way."""
    texts = [text for text in (wanted.if_match, wanted.if_none_match) if text is not None]
    same = wanted.if_match is not None or wanted.if_unmodified_since_us is not None
    other = wanted.if_none_match is not None or wanted.if_modified_since_us is not None
    if (same and other) or any("," in text for text in texts):
        raise Refused("MultipleConditionHeadersNotSupported")


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
