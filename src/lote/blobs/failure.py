"""What can go wrong when bytes are fetched from or sent to a URL."""

from __future__ import annotations

from typing import Literal

from lote.blobs.urls import redact

FailureKind = Literal["not_found", "access_denied", "timed_out", "misc"]

STATUS_KINDS: dict[int, FailureKind] = {
    401: "access_denied",
    403: "access_denied",
    404: "not_found",
    408: "timed_out",
    504: "timed_out",
}


class BlobError(Exception):
    """A transfer that failed for good, after its retries.

    ``status`` is the HTTP status if a server answered, ``code`` its error code
    (``x-ms-error-code``) if it named one, ``url`` the address without its signature.
    """

    def __init__(
        self,
        kind: FailureKind,
        url: str,
        reason: str,
        *,
        status: int | None = None,
        code: str | None = None,
    ) -> None:
        self.kind: FailureKind = kind
        self.url = redact(url)
        self.reason = reason
        self.status = status
        self.code = code
        answered = f"HTTP {status}" + (f" {code}" if code else "") if status else ""
        super().__init__(": ".join(part for part in (answered, reason, self.url) if part))


class BlobStopped(Exception):
    """The caller's stop event was set while a transfer was under way."""


def refused_by_server(url: str, status: int, code: str | None, reason: str) -> BlobError:
    """The failure for an HTTP answer that is not a success."""
    return BlobError(STATUS_KINDS.get(status, "misc"), url, reason, status=status, code=code)
