"""Dates as the protocol spells them. Times inside are microseconds since 1970, UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TICKS_TO_1970 = 621_355_968_000_000_000  # 100 ns ticks from year 1, of which ETags are made
HTTP_DATE = re.compile(r"\w{3}, (\d\d?) (\w{3}) (\d{4}) (\d\d):(\d\d):(\d\d) GMT")
ISO_TIME = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,7}))?)?(Z|[+-]\d\d:\d\d)?)?"
)


@lru_cache(maxsize=4096)
def _http_date(seconds: int) -> str:
    at = EPOCH + timedelta(seconds=seconds)
    day, month = DAYS[at.weekday()], MONTHS[at.month - 1]
    return f"{day}, {at.day:02d} {month} {at.year:04d} {at:%H:%M:%S} GMT"


def http_date(time_us: int) -> str:
    """As in ``Last-Modified``: whole seconds."""
    return _http_date(time_us // 1_000_000)


@lru_cache(maxsize=256)  # requests of one second say the same
def parse_http_date(text: str) -> int:
    """Microseconds. Refuses (``ValueError``) anything but the fixed form of RFC 9110."""
    match = HTTP_DATE.fullmatch(text.strip())
    if match is None:
        raise ValueError("not an HTTP date")
    day, month, year, hour, minute, second = match.groups()
    at = datetime(
        int(year),
        MONTHS.index(month) + 1,
        int(day),
        int(hour),
        int(minute),
        int(second),
        tzinfo=UTC,
    )
    return (at - EPOCH) // timedelta(microseconds=1)


def iso_time(time_us: int) -> str:
    """As in error bodies and access policies: ``2025-01-01T00:00:00.0000000Z``."""
    at = EPOCH + timedelta(microseconds=time_us)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond:06d}0Z"


def second_time(time_us: int) -> str:
    """In whole seconds, as signatures spell times: ``2025-01-01T00:00:00Z``."""
    return f"{EPOCH + timedelta(seconds=time_us // 1_000_000):%Y-%m-%dT%H:%M:%S}Z"


def parse_iso_time(text: str) -> int:
    """Microseconds, from a date with or without time, minutes, seconds, fraction, zone (UTC).

    Refuses: ``ValueError``. Source: REST "Create a service SAS", formats of st and se.
    """
    match = ISO_TIME.fullmatch(text.strip())
    if match is None:
        raise ValueError("not an ISO 8601 time")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    at = datetime(
        int(year),
        int(month),
        int(day),
        int(hour or 0),
        int(minute or 0),
        int(second or 0),
        tzinfo=UTC,
    )
    offset_us = 0
    if zone and zone != "Z":
        sign = -1 if zone[0] == "-" else 1
        offset_us = sign * (int(zone[1:3]) * 60 + int(zone[4:6])) * 60_000_000
    fraction_us = int((fraction or "0").ljust(7, "0")[:7]) // 10
    return (at - EPOCH) // timedelta(microseconds=1) + fraction_us - offset_us


def snapshot_text(ticks: int) -> str:
    """A snapshot's time as clients name it, from .NET ticks."""
    seconds, fraction = divmod(ticks - TICKS_TO_1970, 10_000_000)
    return f"{EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{fraction:07d}Z"


def parse_snapshot(text: str) -> int:
    """.NET ticks of a snapshot's time. Refuses (``ValueError``) other spellings than our own."""
    match = ISO_TIME.fullmatch(text)
    if match is None or match[7] is None or len(match[7]) != 7 or match[8] != "Z":
        raise ValueError("not the time of a snapshot")
    whole_us = parse_iso_time(f"{text[:19]}Z")
    return TICKS_TO_1970 + whole_us * 10 + int(match[7])


def etag_text(etag: int) -> str:
    """An ETag as lists spell it; headers put it in quotes."""
    return f"0x{etag:X}"
