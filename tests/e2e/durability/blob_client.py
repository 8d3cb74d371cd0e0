"""A blob client that repeats nothing: one signed request, one answer or none."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from lote.storage.signatures import shared_key_texts, sign
from lote.storage.times import http_date
from lote.world import World

ACCOUNT = "kept"
VERSION = "2021-12-02"
ANSWER_S_MAX = 60.0

NoAnswer = (OSError, http.client.HTTPException)
"""What a request raises that was not answered: it was carried out, or not."""


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class PowerlessStorage:
    """``python -m lote.storage`` over a folder, to be killed and started again.

    Has what ``power.Mains`` wants to know of a service.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir()
        self.environment = dict(environment or {})
        self.ready = None
        self.process: subprocess.Popen[str] | None = None
        self.key = b64encode(os.urandom(64)).decode()
        self.port = 0
        self._feed = -1

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def agents(self) -> dict[str, int]:
        return {}

    def start(self) -> None:
        self._close_feed()
        settings = {
            "folder": str(self.data),
            "host": "127.0.0.1",
            "port": self.port,
            "accounts": {ACCOUNT: [self.key, self.key]},
        }
        reader, self._feed = os.pipe()  # it ends when its standard input does
        os.write(self._feed, json.dumps(settings).encode() + b"\n")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lote.storage"],
            stdin=reader,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **self.environment},
        )
        os.close(reader)
        assert self.process.stdout is not None
        with self.process.stdout as told:
            line = told.readline()
        if not line:
            self.kill()
            raise RuntimeError("the storage process ended before it listened")
        self.port = json.loads(line)["port"]

    def kill(self) -> None:
        """`kill -9`."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self._close_feed()

    def stop(self) -> int:
        """End in good order; the status."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(60)
        self._close_feed()
        return code

    def _close_feed(self) -> None:
        if self._feed >= 0:
            os.close(self._feed)
            self._feed = -1

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """One request, on a connection of its own. Raises NoAnswer."""
        raw_path = f"/{ACCOUNT}/{quote(path)}"
        sent = {
            "content-length": str(len(body)),
            "x-ms-date": http_date(World().now_us()),
            "x-ms-version": VERSION,
            **(headers or {}),
        }
        text = shared_key_texts(method, ACCOUNT, raw_path, query or {}, sent)[0]
        sent["authorization"] = f"SharedKey {ACCOUNT}:{sign(b64decode(self.key), text)}"
        pairs = "&".join(f"{name}={quote(value, safe='')}" for name, value in (query or {}).items())
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_S_MAX)
        with contextlib.closing(line):
            line.request(method, f"{raw_path}?{pairs}" if pairs else raw_path, body, sent)
            answer = line.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())

    def url(self, path: str) -> str:
        """As the source of a copy."""
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}/{quote(path)}"
