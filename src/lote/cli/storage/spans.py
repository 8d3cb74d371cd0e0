"""Sizes, times and time spans as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
SPAN = re.compile(r"(\d+)([smhdw])")
SPAN_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BadTime(ValueError):
    """Neither a span nor a time; the text says what would be."""


def human_size(size_bytes: int) -> str:
    """Three digits and a unit: ``1.21 MiB``."""
    amount, unit = float(size_bytes), 0
    # 999.5 and more would be four digits.
    while amount >= 999.5 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    if unit == 0:
        return f"{size_bytes} B"
    digits = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
    return f"{amount:.{digits}f} {UNITS[unit]}"


def shown_time(time: datetime | None) -> str:
    """Whole seconds, UTC."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if time else "-"


def parse_moment(text: str, now_us: int) -> datetime:
    """``2h``, ``1d12h`` from now, a date, or a time with or without zone (then UTC).

    A date alone is its first moment. Whole seconds, UTC. Refuses: ``BadTime``.
    """
    words = SPAN.findall(text)
    if words and "".join(number + unit for number, unit in words) == text:
        span_s = sum(int(number) * SPAN_S[unit] for number, unit in words)
        try:
            return EPOCH + timedelta(seconds=now_us // 1_000_000 + span_s)
        except OverflowError:
            raise BadTime(f"{text!r} is too long") from None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadTime(
            f"{text!r} is no time; say 90m, 2h, 7d, 2030-01-31 or 2030-01-31T18:00Z"
        ) from None
    zoned = found if found.tzinfo else found.replace(tzinfo=UTC)
    return zoned.astimezone(UTC).replace(microsecond=0)
