"""What a client's script writes down: which operations it called, and what was wrong with each.

Scripts run in the environment of their client, where nothing of ours is installed.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

WITHIN_S = 60.0


class Ledger:
    """One line an operation, printed as JSON at the end."""

    def __init__(self) -> None:
        self._errors: dict[str, str | None] = {}

    @contextmanager
    def of(self, *operations: str) -> Iterator[None]:
        """A step that calls these; what goes wrong in it is written down, and the next goes on."""
        error = None
        try:
            yield
        except (Exception, SystemExit):
            error = traceback.format_exc()
        for name in operations:
            self._errors[name] = self._errors.get(name) or error

    def print(self, offered: Iterable[str]) -> None:
        """Say it all; ``offered`` is every operation that the client has."""
        json.dump({"errors": self._errors, "offered": sorted(offered)}, sys.stdout)


def until(look: Callable[[], object]) -> object:
    """What ``look`` finds, as soon as it finds anything true."""
    deadline, pause = time.monotonic() + WITHIN_S, threading.Event()
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {WITHIN_S} s, at last: {found!r}"
        pause.wait(0.05)


def equal(found: object, wanted: object) -> None:
    """Plain assert tells nothing of values here."""
    assert found == wanted, f"{found!r} is not {wanted!r}"
