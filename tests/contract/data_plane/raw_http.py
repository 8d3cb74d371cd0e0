"""Requests that the SDK cannot send: written by hand, signed by a signer of the tests' own."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import json
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, NamedTuple
from urllib.parse import unquote_plus, urlsplit

API_VERSION = "2025-06-01"
JSON = "application/json; odata=minimalmetadata"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SIGNED = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


class Reply(NamedTuple):
    """An answer as it came; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """The error code in the body, None when the answer has none."""
        return self.json.get("code") if self.body else None

    @property
    def values(self) -> dict[str, str]:
        """The values of an error, by key."""
        return {pair["key"]: pair["value"] for pair in self.json.get("values", ())}


@dataclass(frozen=True)
class Raw:
    """A client of one account that leaves everything to its caller, and corrects nothing."""

    endpoint: str
    account: str
    key: str
    ca: str | None = None
    lower_names: bool = False  # sign query names in lower case, as .NET does
    blank_length: bool = False  # sign no Content-Length when it is 0, as .NET and JS do
    sign_empty: bool = False  # sign query parameters without a value too, as JS does
    send_length: bool = True  # a Content-Length on requests without a body, other than reads

    def but(self, **changes: Any) -> Raw:
        return replace(self, **changes)

    def __call__(
        self,
        method: str,
        target: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        sign: bool = True,
        version: str | None = API_VERSION,
    ) -> Reply:
        """Send one request. ``target`` is a path with its query, without the api-version.

        A header given as "" is left out. ``body`` is bytes, or what becomes JSON.
        """
        if version is not None:
            target += f"{'&' if '?' in target else '?'}api-version={version}"
        content = body if isinstance(body, bytes) else b"" if body is None else encoded(body)
        sent = {"ocp-date": http_date()}
        if content:
            sent["content-type"] = JSON
        if content or (self.send_length and method not in ("GET", "HEAD")):
            sent["content-length"] = str(len(content))
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        sent = {name: value for name, value in sent.items() if value}
        if sign:
            sent["authorization"] = self.authorization(method, target, sent)
        return self.exchange(method, target, content, sent)

    def exchange(self, method: str, target: str, content: bytes, headers: dict[str, str]) -> Reply:
        """One request exactly as given, on a connection of its own."""
        base = urlsplit(self.endpoint)
        if base.scheme == "https":
            context = ssl.create_default_context(cafile=self.ca)
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                base.hostname, base.port, timeout=30, context=context
            )
        else:
            connection = http.client.HTTPConnection(base.hostname, base.port, timeout=30)
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders(content or None)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()

    def authorization(self, method: str, target: str, headers: Mapping[str, str]) -> str:
        """The SharedKey header over a request target as sent."""
        path, _, query = target.partition("?")
        values = {name: headers.get(name, "") for name in _SIGNED}
        if self.blank_length and values["content-length"] == "0":
            values["content-length"] = ""
        lines = [method, *values.values()]
        lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("ocp-")]
        lines.append(f"/{self.account}{path}")
        pairs = [part.partition("=") for part in query.split("&") if part]
        for name, value in sorted((unquote_plus(name), value) for name, _, value in pairs):
            if not value and not self.sign_empty:
                continue
            lines.append(f"{name.lower() if self.lower_names else name}:{unquote_plus(value)}")
        digest = hmac.digest(base64.b64decode(self.key), "\n".join(lines).encode(), hashlib.sha256)
        return f"SharedKey {self.account}:{base64.b64encode(digest).decode()}"


def talk(raw: Raw, text: bytes, *, hangs_up: bool = True) -> bytes:
    """What comes back for these bytes, sent as they are, until the service closes."""
    base = urlsplit(raw.endpoint)
    with socket.create_connection((base.hostname, base.port), timeout=20) as line:
        line.sendall(text)
        if hangs_up:
            line.shutdown(socket.SHUT_WR)
        found = b""
        while piece := line.recv(65536):
            found += piece
    return found


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def http_date(ahead: timedelta = timedelta()) -> str:
    """Now, or so much later, as a header says it."""
    return format_datetime(datetime.now(UTC) + ahead, usegmt=True)


def check_error(reply: Reply, status: int, code: str) -> Reply:
    """The whole envelope of an error, and its status and code."""
    assert (reply.status, reply.code) == (status, code), reply.body
    assert reply.headers["content-type"] == "application/json;odata=minimalmetadata"
    assert reply.headers["content-length"] == str(len(reply.body))
    assert not {"etag", "last-modified"} & set(reply.headers)
    shown = reply.json
    assert shown["odata.metadata"].endswith(
        "/$metadata#Microsoft.Azure.Batch.Protocol.Entities.Container.errors/@Element"
    )
    assert shown["message"]["lang"] == "en-US"
    text, request_id, time = shown["message"]["value"].split("\n")
    assert text
    assert request_id == f"RequestId:{reply.headers['request-id']}"
    assert GUID.fullmatch(reply.headers["request-id"])
    datetime.fromisoformat(time.removeprefix("Time:"))
    assert shown.get("values") != []
    return reply
