"""The outside world that the service may not touch elsewhere: clock, new ids, randomness.

``now_us`` dates everything the protocol dates and can be advanced by tests; ``monotonic``
(grace periods, I/O time-outs) is never faked, because real processes run on real time.
"""

from __future__ import annotations

import random
import secrets
import time
import uuid


class World:
    """The real clock and real randomness. Times are microseconds since 1970, UTC."""

    def now_us(self) -> int:
        """The wall clock that dates what the protocol dates."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds for grace periods and I/O; never faked."""
        return time.monotonic()

    def new_guid(self) -> str:
        """A fresh lower-case GUID, for request ids."""
        return str(uuid.UUID(int=random.getrandbits(128), version=4))

    def new_secret(self, size_bytes: int = 32) -> bytes:
        """Random bytes fit for keys."""
        return secrets.token_bytes(size_bytes)


class SteppedWorld(World):
    """A world whose protocol clock stands still until it is advanced. For tests and rehearsals."""

    def __init__(self, start_us: int = 1_735_689_600_000_000) -> None:
        self._now_us = start_us

    def now_us(self) -> int:
        """The stepped clock's time."""
        return self._now_us

    def advance(self, seconds: float) -> None:
        """Move the protocol clock forward by ``seconds``."""
        self._now_us += int(seconds * 1_000_000)
