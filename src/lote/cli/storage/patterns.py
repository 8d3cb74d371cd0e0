"""Patterns over blob names: ``*`` and ``?`` within one segment, ``[abc]``, ``**`` over segments.

``a/**`` is all below ``a/``, ``**/x`` every ``x``. A literal ``*`` is ``[*]``. A dot at the
beginning is nothing special: storage hides nothing.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

MAGIC = re.compile(r"[*?[]")


def has_pattern(text: str) -> bool:
    """Whether a name stands for others than itself."""
    return MAGIC.search(text) is not None


def fixed_prefix(pattern: str) -> str:
    """What every match begins with: what to ask a list for."""
    found = MAGIC.search(pattern)
    return pattern[: found.start()] if found else pattern


def base_of(pattern: str) -> str:
    """The folder before the first wildcard, with its slash: matches keep their names below it."""
    fixed = fixed_prefix(pattern)
    return fixed[: fixed.rfind("/") + 1]


def matches(pattern: str, name: str, *, or_above: bool = False) -> bool:
    """Whether the pattern means this name; with ``or_above``, or a folder that it is in."""
    wanted, parts = pattern.split("/"), name.split("/")
    if not or_above:
        return _match(wanted, parts)
    return any(_match(wanted, parts[:depth]) for depth in range(1, len(parts) + 1))


def _match(wanted: list[str], parts: list[str]) -> bool:
    """Walk both; only the last ``**`` passed is come back to, so it is never exponential."""
    at = in_parts = 0
    star = star_parts = -1
    while in_parts < len(parts):
        if at < len(wanted) and wanted[at] == "**":
            star, star_parts = at, in_parts
            at += 1
        elif at < len(wanted) and fnmatchcase(parts[in_parts], wanted[at]):
            at += 1
            in_parts += 1
        elif star >= 0:
            star_parts += 1
            at, in_parts = star + 1, star_parts
        else:
            return False
    return at == len(wanted)
