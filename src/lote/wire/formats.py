"""Scalars of the protocol: timestamps, HTTP dates, ETags, durations and ids.

Times are microseconds since 1970 UTC, durations seconds. A text that cannot be read raises
``ValueError``; the caller knows which member or header it came from and refuses with its name.
Only ``check_id`` is told that name, and refuses by itself.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache

from lote.wire.errors import invalid_property

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICKS_AT_EPOCH = 621_355_968_000_000_000  # .NET: 100 ns steps from 0001-01-01 to 1970-01-01
_TICKS_PER_S = 10_000_000
_TICKS_MAX = 2**63 - 1  # .NET TimeSpan.MaxValue
_US_PER_S = 1_000_000
_US_MIN = -62_135_596_800 * _US_PER_S  # 0001-01-01T00:00:00Z
_US_MAX = 253_402_300_799_999_999  # 9999-12-31T23:59:59.999999Z

UNLIMITED_DURATION = "P10675199DT2H48M5.4775807S"  # .NET TimeSpan.MaxValue, as the service shows it
_DURATION_CHARS_MAX = 128  # ours: far beyond any real duration, and keeps the parser's work small

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?)?"
    r"\s*([Zz]|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_DURATION = re.compile(
    r"(-)?P(?:(\d+(?:[.,]\d+)?)Y)?(?:(\d+(?:[.,]\d+)?)M)?(?:(\d+(?:[.,]\d+)?)W)?"
    r"(?:(\d+(?:[.,]\d+)?)D)?"
    r"(?:T(?:(\d+(?:[.,]\d+)?)H)?(?:(\d+(?:[.,]\d+)?)M)?(?:(\d+(?:[.,]\d+)?)S)?)?",
    re.ASCII | re.IGNORECASE,
)
_TIMESPAN = re.compile(
    r"(-)?(?:(\d{1,8})\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(\.\d{1,7})?)?", re.ASCII
)
_DURATION_UNITS_S = (365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1)  # REST: Y=365d, M=30d

_HTTP_DATE = re.compile(
    r"(?:[A-Za-z]{3,9},?\s+)?(\d{1,2})[ -]([A-Za-z]{3})[ -](\d{4}|\d\d)\s+(\d\d):(\d\d):(\d\d)"
    r"(?:\s+(?:GMT|UTC|Z|[+-]0000))?",
    re.ASCII,
)
_MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), 1
    )
}


def format_timestamp(us: int) -> str:
    """``2024-10-24T01:15:18.995508Z``: UTC, fraction without trailing zeros."""
    seconds, fraction = divmod(us, _US_PER_S)
    if fraction == 0:
        return _second_text(seconds) + "Z"
    return f"{_second_text(seconds)}.{fraction:06d}".rstrip("0") + "Z"


def parse_timestamp(text: str) -> int:
    """Read an ISO-8601 moment; one without an offset is UTC, digits beyond microseconds drop."""
    match = _TIMESTAMP.fullmatch(text.strip()) if len(text) <= 64 else None
    if match is None:
        raise ValueError("not an ISO-8601 timestamp")
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    moment = datetime(
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0),
        tzinfo=UTC,
    )  # fmt: skip
    us = (moment - _EPOCH) // timedelta(seconds=1) * _US_PER_S
    us += int((fraction or "0")[:6].ljust(6, "0")) - _offset_us(offset)
    if not _US_MIN <= us <= _US_MAX:
        raise ValueError("timestamp out of range")
    return us


def format_http_date(us: int) -> str:
    """``Thu, 24 Oct 2024 01:15:18 GMT``, truncated to the whole second (RFC 9110)."""
    return _http_date_text(us // _US_PER_S)


def parse_http_date(text: str) -> int:
    """Read an RFC 1123 or RFC 850 date, or an ISO-8601 one; microseconds since 1970."""
    match = _HTTP_DATE.fullmatch(text.strip()) if len(text) <= 64 else None
    if match is None:
        return parse_timestamp(text)
    day, month_name, year_text, hour, minute, second = match.groups()
    year, month = int(year_text), _MONTHS.get(month_name.lower())
    if month is None:
        raise ValueError("unknown month")
    if len(year_text) == 2:  # RFC 850 has two digits; the protocol is younger than 1970
        year += 2000 if year < 70 else 1900
    moment = datetime(year, month, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(microseconds=1)


def etag_of(us: int) -> str:
    """The ETag of something last modified at ``us``: its .NET ticks in hex, unquoted."""
    return f"0x{us * 10 + _TICKS_AT_EPOCH:X}"


@lru_cache(maxsize=1024)
def format_duration(seconds: float | None) -> str:
    """``P1DT2H3M4.5S``: days upward only; ``None`` is unlimited. Negative ones keep their sign."""
    if seconds is None or seconds * _TICKS_PER_S >= _TICKS_MAX:
        return UNLIMITED_DURATION
    ticks = round(seconds * _TICKS_PER_S)
    sign, ticks = ("-", -ticks) if ticks < 0 else ("", ticks)
    whole_s, fraction = divmod(ticks, _TICKS_PER_S)
    days, rest_s = divmod(whole_s, 86400)
    hours, rest_s = divmod(rest_s, 3600)
    minutes, second = divmod(rest_s, 60)
    clock = f"{hours}H" if hours else ""
    clock += f"{minutes}M" if minutes else ""
    if fraction:
        clock += f"{second}.{fraction:07d}".rstrip("0") + "S"
    elif second:
        clock += f"{second}S"
    if days:
        return f"{sign}P{days}DT{clock}" if clock else f"{sign}P{days}D"
    return f"{sign}PT{clock}" if clock else "PT0S"


@lru_cache(maxsize=1024)
def parse_duration(text: str) -> float | None:
    """Seconds of an ISO-8601 or .NET duration; ``None`` when it is the .NET maximum or more.

    A year is 365 days and a month 30; "P" is zero, as clients send it (REST, recorded).
    """
    stripped = text.strip()
    if len(stripped) > _DURATION_CHARS_MAX:
        raise ValueError("not a duration")
    match = _DURATION.fullmatch(stripped)
    if match is not None:
        sign, *amounts = match.groups()
        seconds = sum(
            float(amount.replace(",", ".")) * unit_s
            for amount, unit_s in zip(amounts, _DURATION_UNITS_S, strict=True)
            if amount is not None
        )
    else:
        sign, seconds = _timespan_s(stripped)
    if seconds * _TICKS_PER_S >= _TICKS_MAX:
        if sign:
            raise ValueError("duration out of range")
        return None
    return -seconds if sign else float(seconds)


def spell_duration(text: str) -> str:
    """A duration as the service spells it. ``ValueError`` for what is none."""
    return format_duration(parse_duration(text))


_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)  # REST: ids of pools, jobs, schedules, tasks
_is_id = _ID.fullmatch


def check_id(name: str, value: str) -> None:
    """Refuse an id that is not 1 to 64 of ``A-Z a-z 0-9 _ -`` (InvalidPropertyValue)."""
    if _is_id(value) is None:
        reason = "An id has 1 to 64 characters: letters, digits, hyphens, underscores."
        raise invalid_property(name, value, reason)


def _timespan_s(text: str) -> tuple[str | None, float]:
    match = _TIMESPAN.fullmatch(text)
    if match is None:
        raise ValueError("not a duration")
    sign, days, hours, minutes, second, fraction = match.groups()
    hour_count, minute_count, second_count = int(hours), int(minutes), int(second or 0)
    if hour_count > 23 or minute_count > 59 or second_count > 59:
        raise ValueError("not a duration")
    whole_s = int(days or 0) * 86400 + hour_count * 3600 + minute_count * 60 + second_count
    return sign, whole_s + float(fraction or 0)


def _offset_us(offset: str | None) -> int:
    if offset is None or offset in "Zz":
        return 0
    hours, minutes = int(offset[1:3]), int(offset[-2:])
    if hours > 14 or minutes > 59:  # ISO-8601: no zone is further than 14 h from UTC
        raise ValueError("offset out of range")
    size_us = (hours * 60 + minutes) * 60 * _US_PER_S
    return -size_us if offset[0] == "-" else size_us


@lru_cache(maxsize=8192)
def _second_text(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S").rjust(19, "0")


@lru_cache(maxsize=1024)
def _http_date_text(seconds: int) -> str:
    return format_datetime(_EPOCH + timedelta(seconds=seconds), usegmt=True)
