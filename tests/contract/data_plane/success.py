"""What every success of the data plane must carry, and what it must not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from .raw_http import GUID, Reply

_TICKS_AT_EPOCH = 621_355_968_000_000_000  # .NET: 100 ns steps from 0001-01-01 to 1970-01-01


def check_headers(
    reply: Reply,
    *,
    etag: bool = False,
    service_id: str | None = None,
    location: str | None = None,
    shown: dict[str, Any] | None = None,
) -> None:
    """The headers of a success. ``shown`` is the entity whose ETag they must repeat."""
    headers = reply.headers
    assert GUID.fullmatch(headers["request-id"])
    assert headers["dataserviceversion"] == "3.0"
    assert "client-request-id" not in headers
    assert headers.get("dataserviceid") == service_id
    assert headers.get("location") == location
    assert ("etag" in headers) == etag
    assert ("last-modified" in headers) == etag
    if reply.body:
        assert headers["content-type"] == "application/json;odata=minimalmetadata"
    if etag:
        check_etag(headers["etag"], parsedate_to_datetime(headers["last-modified"]))
    if shown is not None:
        modified = check_moment(shown["lastModified"])
        assert headers["etag"] == shown["eTag"] == etag_at(modified)
        truncated = modified.replace(microsecond=0)
        assert parsedate_to_datetime(headers["last-modified"]) == truncated


def check_etag(etag: str, second: datetime) -> None:
    """Unquoted, and of the second that Last-Modified names."""
    assert etag.startswith("0x")
    assert etag == etag.replace('"', "")
    us = (int(etag, 16) - _TICKS_AT_EPOCH) // 10
    found = datetime.fromtimestamp(us // 1_000_000, UTC)
    assert found == second


def etag_at(moment: datetime) -> str:
    us = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return f"0x{us * 10 + _TICKS_AT_EPOCH:X}"


def check_moment(text: str) -> datetime:
    """A timestamp of the wire, of these last minutes."""
    assert text.endswith("Z")
    fraction = text.removesuffix("Z").partition(".")[2]
    assert not fraction.endswith("0")
    moment = datetime.fromisoformat(text)
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=10)
    return moment
