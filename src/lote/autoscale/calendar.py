"""Moments in words: the two formats that ``time`` reads, and the members of a timestamp."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from lote.autoscale.errors import Fault
from lote.autoscale.values import Timestamp, timestamp, timestamp_of

_ZONE = r"(?:Z|GMT|UTC|(?P<sign>[+-])(?P<zone_hours>[0-2][0-9]):?(?P<zone_minutes>[0-5][0-9]))"
_HOUR_MINUTE = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})"
# W3C: Date and Time Formats, from a year to a fraction of a second.
_W3C = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2})"
    rf"(?:T{_HOUR_MINUTE}(?::(?P<second>[0-9]{{2}})(?:\.(?P<fraction>[0-9]+))?)?{_ZONE}?)?)?)?"
)
# RFC 1123, section 5.2.14: Thu, 06 Mar 2025 20:54:05 GMT
_RFC_1123 = re.compile(
    r"(?:[A-Za-z]{3}, )?(?P<day>[0-9]{1,2}) (?P<name>[A-Za-z]{3}) (?P<year>[0-9]{4}) "
    rf"{_HOUR_MINUTE}(?::(?P<second>[0-9]{{2}}))? {_ZONE}"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FRACTION_DIGITS = 7  # steps of 100 ns; further digits are dropped

MEMBERS: dict[str, tuple[str, Callable[[datetime], int]]] = {
    "year": ("the year", lambda moment: moment.year),
    "month": ("1 to 12", lambda moment: moment.month),
    "day": ("1 to 31", lambda moment: moment.day),
    "weekday": ("1 is Monday, 6 Saturday, 0 Sunday", lambda moment: moment.isoweekday() % 7),
    "hour": ("0 to 23", lambda moment: moment.hour),
    "minute": ("0 to 59", lambda moment: moment.minute),
    "second": ("0 to 59", lambda moment: moment.second),
}


def parse_time(text: str) -> Timestamp:
    """The moment of a text; UTC if it names no zone. Fault: in neither of the formats."""
    found = _W3C.fullmatch(text) or _RFC_1123.fullmatch(text)
    if found is None:
        raise Fault("The string is not a time of the W3C's or of RFC 1123.")
    parts = {name: part or "" for name, part in found.groupdict().items()}
    try:
        moment = _moment(parts)
    except (ValueError, OverflowError):
        raise Fault("The string is not a time that exists.") from None
    fraction = parts.get("fraction", "")[:_FRACTION_DIGITS].ljust(_FRACTION_DIGITS, "0")
    return timestamp(timestamp_of(moment).ticks + int(fraction))


def _moment(parts: dict[str, str]) -> datetime:
    month = parts.get("month") or "1"
    if "name" in parts:
        month = str(_MONTHS.index(parts["name"].lower()) + 1)
    begun = datetime(
        int(parts["year"]),
        int(month),
        int(parts["day"] or 1),
        int(parts["hour"] or 0),
        int(parts["minute"] or 0),
        int(parts["second"] or 0),
        tzinfo=UTC,
    )
    zone = timedelta(hours=int(parts["zone_hours"] or 0), minutes=int(parts["zone_minutes"] or 0))
    return begun + zone if parts["sign"] == "-" else begun - zone
