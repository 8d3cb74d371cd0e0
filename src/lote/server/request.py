"""What a handler gets and gives. Neither side of it knows HTTP's bytes on the wire."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import msgspec

from lote.wire.operations import Operation


class Conditions(msgspec.Struct, frozen=True):
    """Conditional headers; ETags without quotes, times in microseconds."""

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since_us: int | None = None
    if_unmodified_since_us: int | None = None


NO_CONDITIONS = Conditions()


class Request(msgspec.Struct, gc=False):
    """One decoded request of the data plane.

    ``base_url`` is what absolute URLs in the answer begin with, as the client reached us.
    ``query`` has the options in lower case without ``$``.
    """

    operation: Operation
    params: dict[str, str]
    query: dict[str, str]
    base_url: str
    path: str
    api_version: str
    account: str
    conditions: Conditions = NO_CONDITIONS
    body: Any = None
    raw_body: bytes = b""
    headers: Mapping[str, str] = {}
    now_us: int = 0

    @property
    def page_size(self) -> int:
        """``maxresults``, checked at the edge; 1000 when not given."""
        return int(self.query.get("maxresults", "1000"))


class Answer(msgspec.Struct, gc=False):
    """A success. ``body`` is JSON bytes or None; ``modified_us`` makes ETag and Last-Modified;
    ``location`` is the path of what was made. A file comes as a ``stream`` of ``length`` bytes;
    ``length`` alone answers a HEAD. ``later``, when given, makes the whole answer, in a thread
    that may wait or work for a while: it is called once what the handler did is committed."""

    body: bytes | None = None
    modified_us: int | None = None
    location: str | None = None
    status: int | None = None
    headers: list[tuple[str, str]] = []
    length: int | None = None
    stream: AsyncGenerator[bytes] | None = None
    later: Callable[[], Answer] | None = None


def json_answer(value: object, modified_us: int | None = None) -> Answer:
    """A success with a JSON body."""
    return Answer(body=msgspec.json.encode(value), modified_us=modified_us)
