"""Tokens of tasks: what lets a task call the service about its own job, as long as it runs.

A token names job, task and run by their row keys and is signed with a secret of the data folder,
so nothing of it is stored. Whether that run is still at work is for those who take it to look up.
Source: REST, authenticationTokenSettings.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lote.world import World

SECRET_BYTES = 32
PREFIX = "lote-task."
SECRET_NAME = "tasks.key"

WritePrivate = Callable[[Path, bytes], None]


class TaskGrant(NamedTuple):
    """The run that a token was made for."""

    job_key: int
    task_key: int
    run: int


class TaskTokens:
    """Makes and reads tokens with one secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def issue(self, grant: TaskGrant) -> str:
        """A token for a run."""
        named = ".".join(str(number) for number in grant)
        return f"{PREFIX}{named}.{self._signature(named)}"

    def read(self, token: str) -> TaskGrant | None:
        """The run that a token was made for; None for what this service did not make."""
        named, _, signature = token.removeprefix(PREFIX).rpartition(".")
        if not token.startswith(PREFIX) or not token.isascii():
            return None
        if not hmac.compare_digest(signature, self._signature(named)):
            return None
        return TaskGrant(*map(int, named.split(".")))

    def _signature(self, named: str) -> str:
        digest = hmac.digest(self._secret, f"{PREFIX}{named}".encode(), hashlib.sha256)
        return urlsafe_b64encode(digest).decode().rstrip("=")


def open_task_tokens(folder: Path, world: World, write: WritePrivate) -> TaskTokens:
    """The tokens of a data folder; makes its secret when there is none."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / SECRET_NAME
    if not path.exists():
        write(path, urlsafe_b64encode(world.new_secret(SECRET_BYTES)))
    return TaskTokens(urlsafe_b64decode(path.read_bytes()))
