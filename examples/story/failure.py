"""How a demonstration fails."""

from __future__ import annotations


class DemoFailed(Exception):
    """The demonstration can't go on, or its result is wrong; the text says why."""
