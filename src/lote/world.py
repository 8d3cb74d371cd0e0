"""The outside world that the service may not touch elsewhere: clock, new ids, randomness.

``now_us`` dates everything the protocol dates and can be advanced by tests; ``monotonic``
(grace periods, I/O time-outs) is never faked, because real processes run on real time. Nothing is
imported here that the small processes of a node could do without.
"""

from __future__ import annotations

import os
import time

IDS_DRAWN = 128

_spare_ids: list[str] = []
os.register_at_fork(after_in_child=_spare_ids.clear)


class World:
    """The real clock and real randomness. Times are microseconds since 1970, UTC."""

    def now_us(self) -> int:
        """The wall clock that dates what the protocol dates."""
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        """Seconds for grace periods and I/O; never faked."""
        return time.monotonic()

    def since_boot(self) -> float:
        """Seconds that go on while the machine sleeps; never faked. For what others count too."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def new_guid(self) -> str:
        """A fresh lower-case GUID, for request ids."""
        try:
            text = _spare_ids.pop()
        except IndexError:
            # Asking the kernel gives the interpreter's lock away, which costs a busy thread more
            # than all the rest of a request's id: so many at a time.
            drawn = os.urandom(16 * IDS_DRAWN).hex()
            _spare_ids.extend(drawn[at : at + 32] for at in range(0, len(drawn), 32))
            text = _spare_ids.pop()
        variant = "89ab"[int(text[16], 16) & 3]  # RFC 9562: version 4
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"

    def new_secret(self, size_bytes: int = 32) -> bytes:
        """Random bytes fit for keys."""
        return os.urandom(size_bytes)

    def chance(self) -> float:
        """A double from 0 up to 1."""
        return (int.from_bytes(self.new_secret(7), "big") >> 3) / (1 << 53)


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
