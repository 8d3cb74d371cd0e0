"""A small synchronous client of the data plane, for the commands of the terminal.

It knows operations by their row in ``lote.wire.operations``; bodies are plain dictionaries.
Programs should use the official SDK: importing that takes longer than most commands run.
"""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from lote.cli.shared_key import authorization
from lote.wire.formats import format_http_date
from lote.wire.operations import OPERATIONS, Operation
from lote.world import World

API_VERSION = "2024-07-01.20.0"
JSON_TYPE = "application/json; odata=minimalmetadata"
BUSY_STATUSES = (429, 503)
BUSY_TRIES = 5
RESENDABLE = ("GET", "HEAD", "PUT", "DELETE")  # a second one does no more than the first
OPERATION: Mapping[str, Operation] = {row.name: row for row in OPERATIONS}

Json = dict[str, Any]


class Account(NamedTuple):
    """A Batch account: where it is and the key that signs for it."""

    name: str
    key: str
    endpoint: str
    ca_file: str | None = None

    def __repr__(self) -> str:
        return f"Account({self.name!r}, key=…, {self.endpoint!r})"


class Answer(NamedTuple):
    """What came back; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class BatchError(Exception):
    """The service said no: HTTP ``status``, error ``code`` and its words."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.status = status
        self.code = code
        self.message = message


class Unreachable(Exception):
    """Nobody answers at the account's endpoint."""


class BatchClient:
    """Calls operations of one account over one kept connection. Not for several threads."""

    def __init__(self, account: Account, world: World, *, timeout_s: float = 30.0) -> None:
        self.account = account
        self._world = world
        self._timeout_s = timeout_s
        self._base = urlsplit(account.endpoint)
        if self._base.scheme not in ("http", "https") or not self._base.hostname:
            raise ValueError(f"not an http(s) endpoint: {account.endpoint}")
        self._connection: http.client.HTTPConnection | None = None
        self._pause = threading.Event()

    def get(
        self, operation: str, ids: Mapping[str, str], query: Mapping[str, str] | None = None
    ) -> Json:
        """The decoded JSON of one resource."""
        return msgspec.json.decode(self.call(operation, ids, query=query).body, type=Json)

    def each(self, operation: str, ids: Mapping[str, str] | None = None) -> Iterator[Json]:
        """Every item of a list, page after page."""
        answer = self.call(operation, ids)
        while True:
            page = msgspec.json.decode(answer.body)
            yield from page.get("value", ())
            link = urlsplit(page.get("odata.nextLink", ""))
            if not link.query:
                return
            answer = self._ask("GET", f"{link.path}?{link.query}", b"", {}, 200)

    def call(
        self,
        operation: str,
        ids: Mapping[str, str] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        byte_range: tuple[int, int] | None = None,
    ) -> Answer:
        """Carry out an operation of the table.

        ``ids`` fill the path; ``byte_range`` is first and last byte of a file.
        Raises ``BatchError`` when the service refuses, ``Unreachable`` when nobody answers.
        """
        row = OPERATION[operation]
        encoded = {name: quote(value, safe="") for name, value in (ids or {}).items()}
        parameters = {"api-version": API_VERSION, **(query or {})}
        target = f"{self._base.path.rstrip('/')}{row.path.format(**encoded)}"
        headers = {}
        if byte_range is not None:
            headers["ocp-range"] = f"bytes={byte_range[0]}-{byte_range[1]}"
        content = b"" if body is None else msgspec.json.encode(body)
        return self._ask(
            row.method, f"{target}?{urlencode(parameters)}", content, headers, row.status
        )

    def ask(self, method: str, path: str, wanted: int, body: object = None) -> Json:
        """The decoded answer of a page of Lote's own, which is no operation of the table.

        Raises ``BatchError`` for any status but ``wanted``, ``Unreachable`` when nobody answers.
        """
        content = b"" if body is None else msgspec.json.encode(body)
        target = f"{self._base.path.rstrip('/')}{path}"
        return msgspec.json.decode(self._ask(method, target, content, {}, wanted).body, type=Json)

    def close(self) -> None:
        """Drop the connection; the next call opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _ask(
        self, method: str, target: str, content: bytes, headers: dict[str, str], wanted: int
    ) -> Answer:
        answer = self._exchange(method, target, content, headers)
        for _ in range(BUSY_TRIES - 1):
            if answer.status not in BUSY_STATUSES:
                break
            self._pause.wait(retry_after_s(answer.headers))
            answer = self._exchange(method, target, content, headers)
        if answer.status != wanted:
            raise refusal(answer)
        return answer

    def _exchange(
        self, method: str, target: str, content: bytes, headers: dict[str, str]
    ) -> Answer:
        """One signed exchange; a kept connection that has died meanwhile is replaced once."""
        kept = self._connection is not None
        try:
            return self._send(method, target, content, headers)
        except (OSError, http.client.HTTPException) as error:
            if not kept or method not in RESENDABLE:
                raise Unreachable(f"{self.account.endpoint} does not answer: {error}") from error
        try:
            return self._send(method, target, content, headers)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{self.account.endpoint} does not answer: {error}") from error

    def _send(self, method: str, target: str, content: bytes, headers: dict[str, str]) -> Answer:
        signed = {"ocp-date": format_http_date(self._world.now_us()), **headers}
        if content:
            signed["content-type"] = JSON_TYPE
        if method not in ("GET", "HEAD"):
            signed["content-length"] = str(len(content))
        name, key = self.account.name, self.account.key
        signed["authorization"] = authorization(name, key, method, target, signed)
        if self._connection is None:
            self._connection = self._connect()
        try:
            self._connection.request(method, target, content or None, signed)
            response = self._connection.getresponse()
            body = response.read()
        except BaseException:
            self.close()  # whatever is left of this exchange must not meet the next one
            raise
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, body)

    def _connect(self) -> http.client.HTTPConnection:
        host = cast(str, self._base.hostname)
        if self._base.scheme == "http":
            return http.client.HTTPConnection(host, self._base.port, timeout=self._timeout_s)
        context = ssl.create_default_context(cafile=self.account.ca_file)
        return http.client.HTTPSConnection(
            host, self._base.port, timeout=self._timeout_s, context=context
        )


def retry_after_s(headers: Mapping[str, str]) -> float:
    """How long a busy service asks to be left alone, 1 s when it does not say, at most 10 s."""
    told = headers.get("retry-after", "1")
    return min(float(told), 10.0) if told.isdigit() else 1.0


def refusal(answer: Answer) -> BatchError:
    """The exception for an answer that is no success, whatever its body looks like."""
    try:
        error = msgspec.json.decode(answer.body)
        code, text = str(error["code"]), str(error.get("message", {}).get("value", ""))
        extra = [f"{d['key']}: {d['value']}" for d in error.get("values") or ()]
    except (msgspec.DecodeError, TypeError, KeyError, AttributeError):
        return BatchError(
            answer.status, f"HTTP {answer.status}", answer.body[:200].decode("latin-1")
        )
    message = text.split("\n")[0]  # the lines after it name the request, for support
    return BatchError(answer.status, code, f"{message} ({'; '.join(extra)})" if extra else message)
