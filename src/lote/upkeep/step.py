"""How far a backup or a restore is."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Step(NamedTuple):
    """What is done now, and how much of how much; 0 of 0 when that is not known."""

    what: str
    done: int = 0
    total: int = 0


Watcher = Callable[[Step], None]
"""Told of each step, from the thread that does the work."""


def unwatched(step: Step) -> None:
    """For those who do not care."""
