"""Requests turned away as a busy service does, while a rehearsal asks for it.

Asked on the event loop before each request is answered; nothing is asked while no rule is there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from lote.wire.errors import Refused

CODES = {503: "ServerBusy", 429: "TooManyRequests"}


class ThrottleRule(msgspec.Struct):
    """Turn away requests until ``until_us``, ``left`` of them (None: all)."""

    key: int
    status: int
    retry_after_s: int | None
    until_us: int
    left: int | None


class Throttle:
    """The rules at work. ``note`` is told the key of a rule each time it turned one away."""

    def __init__(self) -> None:
        self.rules: tuple[ThrottleRule, ...] = ()
        self.note: Callable[[int], None] = lambda key: None

    def replace(self, rules: Sequence[ThrottleRule]) -> None:
        """From now on these. One that was there goes on counting where it is. Any thread."""
        known = {rule.key: rule for rule in self.rules}
        self.rules = tuple(known.get(rule.key, rule) for rule in rules)

    def check(self, now_us: int) -> None:
        """Refuses: ServerBusy (503) or TooManyRequests (429), with Retry-After."""
        for rule in self.rules:
            if now_us >= rule.until_us or rule.left == 0:
                continue
            if rule.left is not None:
                rule.left -= 1
            self.note(rule.key)
            after_s = rule.retry_after_s
            headers = {} if after_s is None else {"Retry-After": str(after_s)}
            raise Refused(CODES[rule.status], headers=headers)
