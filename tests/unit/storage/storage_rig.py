"""The application without a socket, and requests signed for it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote

from lote.storage.app import StorageApp
from lote.storage.authentication import AccountKeys
from lote.storage.signatures import shared_key_texts, sign
from lote.storage.times import http_date
from lote.world import SteppedWorld

ACCOUNT = "acct"
KEY = b"key-one"
KEYS = AccountKeys(b64encode(KEY).decode(), b64encode(b"key-two").decode())


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Rig:
    """An application over a folder, on a stepped clock."""

    def __init__(self, folder):
        self.world = SteppedWorld()
        self.app = StorageApp(folder, {ACCOUNT: KEYS}, self.world)

    def ask(self, method, path, query=None, body=b"", headers=None, **options):
        """One signed request. Options: ``signed``, ``raw_query``, ``date_us``."""
        return asyncio.run(self.ask_async(method, path, query, body, headers, **options))

    async def ask_async(
        self,
        method,
        path,
        query=None,
        body=b"",
        headers=None,
        *,
        signed=True,
        raw_query=None,
        date_us=None,
    ):
        raw_path = path if isinstance(path, bytes) else quote(path, safe="/$%").encode()
        sent = {"content-length": str(len(body)), "host": "here", **(headers or {})}
        if signed:
            sent |= {
                "x-ms-date": http_date(date_us or self.world.now_us()),
                "x-ms-version": "2021-12-02",
            }
            texts = shared_key_texts(method, ACCOUNT, raw_path.decode("latin-1"), query or {}, sent)
            sent["authorization"] = f"SharedKey {ACCOUNT}:{sign(KEY, texts[0])}"
        pairs = (f"{k}={quote(v, safe='')}" for k, v in (query or {}).items())
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "raw_path": raw_path,
            "query_string": raw_query if raw_query is not None else "&".join(pairs).encode(),
            "headers": [(k.encode("latin-1"), v.encode("latin-1")) for k, v in sent.items()],
            "client": ("127.0.0.1", 1),
        }
        messages = [{"type": "http.request", "body": body, "more_body": False}]
        answers = []

        async def receive():
            if messages:
                return messages.pop()
            return await asyncio.Event().wait()

        async def send(message):
            answers.append(message)

        await self.app(scope, receive, send)
        start, *bodies = answers
        found = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in start["headers"]}
        return Reply(start["status"], found, b"".join(one["body"] for one in bodies))

    def put(self, name, content, **options):
        headers = {"x-ms-blob-type": "BlockBlob"} | options.pop("headers", {})
        return self.ask("PUT", f"/{ACCOUNT}/box/{name}", body=content, headers=headers, **options)

    def get(self, name, **options):
        return self.ask("GET", f"/{ACCOUNT}/box/{name}", **options)

    def make_box(self):
        assert self.ask("PUT", f"/{ACCOUNT}/box", {"restype": "container"}).status == 201


@contextmanager
def running(folder):
    """A rig that is closed at the end."""
    rig = Rig(folder)
    try:
        yield rig
    finally:
        rig.app.close()
