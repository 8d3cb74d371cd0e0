"""Pages of lists: their size, and markers, which say where the next one begins."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from lote.storage.call import Call
from lote.storage.errors import Refused, invalid_query

ENCODED = "!"  # begins markers that are no plain names
PAGE_MAX = 5000  # REST: List Blobs


def page_size(call: Call) -> int:
    """How many rows a page may have; more than the protocol's maximum count as that.

    Refuses: OutOfRangeQueryParameterValue below 1, InvalidQueryParameterValue for no number.
    """
    text = call.query.get("maxresults")
    if not text:
        return PAGE_MAX
    try:
        count = int(text)
    except ValueError:
        raise invalid_query("maxresults", text) from None
    if count < 1:
        values = {"QueryParameterName": "maxresults", "QueryParameterValue": text}
        raise Refused("OutOfRangeQueryParameterValue", values=values)
    return min(count, PAGE_MAX)


def encode_marker(start: bytes, snapshot: int = 0) -> str:
    """The marker of a page that begins with this name, and that snapshot of it, or after it."""
    return ENCODED + urlsafe_b64encode(start).decode() + (f".{snapshot:x}" if snapshot else "")


def is_plain(name: str) -> bool:
    """Whether a name can be a marker as it is: no client changes it, and it looks like none."""
    return name.isprintable() and name == name.strip() and not name.startswith(ENCODED)


def decode_marker(text: str) -> tuple[bytes, int]:
    """Where a page begins: name and snapshot. Refuses: InvalidQueryParameterValue for others'."""
    name, _, ticks = text.removeprefix(ENCODED).partition(".")
    try:
        start = urlsafe_b64decode(name)
        start.decode()
        snapshot = int(ticks or "0", 16)
    except ValueError:
        raise invalid_query("marker", text) from None
    if not 0 <= snapshot < 2**63:  # SQLite's largest integer
        raise invalid_query("marker", text)
    return start, snapshot
