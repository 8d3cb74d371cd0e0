"""Pages of lists: their size, and markers, which say where the next one begins."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

from lote.storage.call import Call
from lote.storage.errors import Refused, invalid_query

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
    return urlsafe_b64encode(start).decode() + (f".{snapshot:x}" if snapshot else "")


def decode_marker(call: Call) -> tuple[bytes, int]:
    """Where a page begins: name and snapshot; the first page begins with the empty name.

    Refuses: InvalidQueryParameterValue (OutOfRangeInput in the protocol's words) for others'.
    """
    text = call.query.get("marker", "")
    name, _, ticks = text.partition(".")
    try:
        start = urlsafe_b64decode(name)
        start.decode()
        snapshot = int(ticks or "0", 16)
    except ValueError:
        raise invalid_query("marker", text) from None
    if not 0 <= snapshot < 2**63:  # SQLite's largest integer
        raise invalid_query("marker", text)
    return start, snapshot
