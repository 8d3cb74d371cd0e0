"""A lease as it is kept in a row. Times are microseconds since 1970."""

from __future__ import annotations

import json
from typing import NamedTuple


class Lease(NamedTuple):
    """A lease that was taken and not released.

    ``duration_s`` is -1 for one without an end. ``until_us`` is when it ends by itself, or when
    the break that was asked for takes effect; 0: never. ``is_broken``: a break was asked for.
    """

    id: str
    duration_s: int
    until_us: int
    is_broken: bool


def lease_text(lease: Lease | None) -> str:
    """As the database keeps it."""
    return json.dumps(lease) if lease is not None else ""


def parse_lease(text: str) -> Lease | None:
    """From what the database keeps."""
    return Lease(*json.loads(text)) if text else None
