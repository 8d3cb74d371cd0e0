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


def encode_marker(start: bytes) -> str:
    """The marker of a page that begins with this name or after it."""
    return urlsafe_b64encode(start).decode()


def decode_marker(call: Call) -> bytes:
    """Where a page begins; the first page begins with the empty name.

    Refuses: InvalidQueryParameterValue (OutOfRangeInput in the protocol's words) for others'.
    """
    text = call.query.get("marker", "")
    try:
        start = urlsafe_b64decode(text)
        start.decode()
    except ValueError:
        raise invalid_query("marker", text) from None
    return start
