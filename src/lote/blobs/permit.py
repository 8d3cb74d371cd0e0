"""Writes that must not become visible once somebody else may have written the same blob."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Check = Callable[[], None]
"""Asked before each piece of a body; raises PermitLost."""


class Permit(Protocol):
    """Whether a blob may become visible. Asked by the thread that uploads."""

    def ensure(self) -> None:
        """Wait until it may. Raises BlobStopped when it never will."""
        ...

    def holds(self) -> bool:
        """Whether it may, as far as is known without asking anybody; cheap."""
        ...


class PermitLost(Exception):
    """The permit ran out while a request was being sent; it was broken off before its end."""


def no_check() -> None:
    """For bodies that make nothing visible."""


def check_of(permit: Permit | None) -> Check:
    """The check that a permit means."""
    if permit is None:
        return no_check

    def check() -> None:
        if not permit.holds():
            raise PermitLost

    return check
