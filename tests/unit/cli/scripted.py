"""A client whose service is a script: no sockets, every request remembered."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from lote.cli.client import Account, Answer, BatchClient
from lote.world import SteppedWorld

ACCOUNT = Account("acc", "a2V5", "http://127.0.0.1:1/prefix/")


class Request:
    """One request as the script sees it."""

    def __init__(self, method: str, target: str, content: bytes, headers: dict[str, str]) -> None:
        self.method = method
        self.path, _, self.query = target.partition("?")
        self.body: Any = json.loads(content) if content else None
        self.headers = headers

    @property
    def line(self) -> str:
        return f"{self.method} {self.path.removeprefix('/prefix')}"


Script = Callable[[Request], Answer]


class ScriptedClient(BatchClient):
    def __init__(self, script: Script) -> None:
        super().__init__(ACCOUNT, SteppedWorld())
        self._script = script
        self.asked: list[Request] = []

    @property
    def lines(self) -> list[str]:
        return [request.line for request in self.asked]

    def _send(self, method: str, target: str, content: bytes, headers: dict[str, str]) -> Answer:
        request = Request(method, target, content, headers)
        self.asked.append(request)
        return self._script(request)


def ok(value: object = None, status: int = 200) -> Answer:
    return Answer(status, {}, b"" if value is None else json.dumps(value).encode())


def refused(status: int, code: str, text: str = "No.", **values: str) -> Answer:
    details = [{"key": k, "value": v} for k, v in values.items()]
    error = {"code": code, "message": {"lang": "en-US", "value": text + "\nRequestId:1"}}
    return Answer(status, {}, json.dumps({**error, "values": details}).encode())
