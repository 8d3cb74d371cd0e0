"""Answers to the server's requests for files, each on a connection of its own.

The connection's back-pressure holds the file and never the reports.
"""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import msgspec

from lote.agent.layout import Layout
from lote.agent.log import Log
from lote.agent.node_files import (
    FileFacts,
    FileRefused,
    ListedFile,
    delete_file,
    list_files,
    open_file,
    read_range,
    select_range,
)
from lote.agent.settings import AgentSettings
from lote.wire.frames import Open

if TYPE_CHECKING:
    import ssl

STREAMS_AT_ONCE = 16
STALL_TIMEOUT_S = 60.0  # a client that reads nothing for so long has gone
LINES_PER_CHUNK = 200


class Streams:
    """Serves ``Open`` frames in threads."""

    def __init__(self, settings: AgentSettings, layout: Layout, log: Log) -> None:
        self._settings = settings
        self._layout = layout
        self._root = layout.root
        self._log = log
        self._pool = ThreadPoolExecutor(STREAMS_AT_ONCE, "stream")
        self._tls: ssl.SSLContext | None = None

    def answer(self, request: Open) -> None:
        """Begin to answer a request."""
        self._pool.submit(self._answer, request)

    def close(self) -> None:
        """Answer nothing more; answers under way end with the process."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    # -- in a thread ------------------------------------------------------------------------

    def _answer(self, request: Open) -> None:
        try:
            self._serve(request)
        except (OSError, http.client.HTTPException) as error:
            # The other end hung up, or the file can't be read to its end: the server sees an
            # answer that stops short.
            self._log.event("stream_broken", verb=request.verb, error=type(error).__name__)

    def _serve(self, request: Open) -> None:
        try:
            match request.verb:
                case "list":
                    found = list_files(self._root, request.path, recursive=request.recursive)
                    self._post(request.stream, {}, _lines(found))
                case "delete":
                    delete_file(self._root, request.path, recursive=request.recursive)
                    self._post(request.stream, {}, iter(()))
                case "logs":
                    from lote.agent.log_upload import upload_logs

                    self._log.flush()
                    count = upload_logs(self._layout, request, self._settings.ca_file)
                    self._post(request.stream, {}, iter([str(count).encode()]))
                case "get" | "head":
                    self._serve_file(request)
                case _:
                    raise FileRefused(400, "InvalidInput")
        except FileRefused as refused:
            self._post(request.stream, {}, iter(()), refused.status, refused.code)

    def _serve_file(self, request: Open) -> None:
        descriptor, facts = open_file(self._root, request.path)
        try:
            body: Iterator[bytes] = iter(())
            if request.verb == "get":
                select_range(facts, request.start, request.end)
                body = read_range(descriptor, facts.start, facts.length)
            self._post(request.stream, {"x-lote-file": _header(facts)}, body)
        finally:
            os.close(descriptor)

    def _post(
        self,
        stream: str,
        headers: dict[str, str],
        body: Iterator[bytes],
        status: int = 200,
        code: str = "",
    ) -> None:
        settings = self._settings
        connection = self._connect()
        try:
            connection.request(
                "POST",
                f"{urlsplit(settings.server_url).path.rstrip('/')}/node/streams/{quote(stream)}",
                body=body,
                headers={
                    "Authorization": f"Lote {settings.node_id} {settings.secret}",
                    "Content-Type": "application/octet-stream",
                    "Transfer-Encoding": "chunked",
                    "x-lote-status": str(status),
                    "x-lote-code": code,
                    **headers,
                },
                encode_chunked=True,
            )
            connection.getresponse().read()
        finally:
            connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._settings.server_url)
        host = parts.hostname or ""
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, parts.port, timeout=STALL_TIMEOUT_S)
        if self._tls is None:
            import ssl

            self._tls = ssl.create_default_context(cafile=self._settings.ca_file)
        return http.client.HTTPSConnection(
            host, parts.port, timeout=STALL_TIMEOUT_S, context=self._tls
        )


def _header(facts: FileFacts) -> str:
    return json.dumps(msgspec.to_builtins(facts))  # ASCII: it travels as a header


def _lines(found: list[ListedFile]) -> Iterator[bytes]:
    for start in range(0, len(found), LINES_PER_CHUNK):
        yield b"".join(
            [msgspec.json.encode(one) + b"\n" for one in found[start : start + LINES_PER_CHUNK]]
        )
