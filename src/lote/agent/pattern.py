"""The pattern language of output files.

``*`` any run of characters in one segment, ``?`` one, ``[abc]``, ``[a-c]``, ``[!abc]`` one of (not)
these, ``**`` as a whole segment any number of directories. A name that begins with a dot matches
only where the pattern has that dot. ``[*]`` stands for the character itself.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WILD = frozenset("*?[")


class PatternError(ValueError):
    """A pattern that leads out of the task's directory."""


def expand_variables(pattern: str, variables: dict[str, str]) -> str:
    """``$NAME``, ``${NAME}`` and ``%NAME%`` replaced; unknown names stay as they are."""

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2] or found[3]
        return variables.get(name, found[0])

    return re.sub(r"\$\{(\w+)\}|\$(\w+)|%(\w+)%", value, pattern)


class Pattern:
    """A pattern, relative to the task directory. ``fixed``: its leading parts without wildcards."""

    def __init__(self, text: str, task_directory: str) -> None:
        self.text = text
        self.parts = _resolve(text, task_directory)
        count = 0
        while count < len(self.parts) and not has_wildcard(self.parts[count]):
            count += 1
        self.is_plain = count == len(self.parts)
        # A plain pattern's last part is a file's name, not a directory.
        self.fixed = [_plain(part) for part in self.parts[: count - self.is_plain]]

    def matches(self, path: list[str]) -> bool:
        """Whether a file at these parts, relative to the task directory, is meant."""
        return _match(tuple(self.parts), tuple(path))

    @property
    def depth_max(self) -> int | None:
        """How many parts a match has; None without a limit."""
        return None if "**" in self.parts else len(self.parts)


def has_wildcard(part: str) -> bool:
    """Whether a segment stands for more than one name."""
    return not _WILD.isdisjoint(re.sub(r"\[[^\]]\]", "", part))


def _plain(part: str) -> str:
    return re.sub(r"\[([^\]])\]", r"\1", part)


def _resolve(text: str, task_directory: str) -> list[str]:
    parts = text.split("/")
    if text.startswith("/"):
        if not text.startswith(task_directory + "/"):
            raise PatternError("the pattern leads out of the task's directory")
        parts = text[len(task_directory) :].split("/")
        resolved: list[str] = []
    else:
        resolved = ["wd"]
    for part in parts:
        if part == "..":
            if not resolved:
                raise PatternError("the pattern leads out of the task's directory")
            resolved.pop()
        elif part not in ("", "."):
            resolved.append(part)
    return resolved


def _match(pattern: tuple[str, ...], path: tuple[str, ...]) -> bool:
    """Walk both; ``**`` is tried at every depth, remembering only the last one passed.

    Like matching ``*`` in a string: greedy with one point to come back to, so never exponential.
    """
    at = in_path = 0
    star = star_path = -1
    while in_path < len(path):
        if at < len(pattern) and pattern[at] == "**":
            star, star_path = at, in_path
            at += 1
        elif at < len(pattern) and _segment(pattern[at]).fullmatch(path[in_path]):
            at += 1
            in_path += 1
        elif star >= 0 and not path[star_path].startswith("."):
            star_path += 1
            at, in_path = star + 1, star_path
        else:
            return False
    return at == len(pattern)


@lru_cache(maxsize=256)
def _segment(text: str) -> re.Pattern[str]:
    """A segment as a regular expression."""
    out = [] if text.startswith((".", "[.]")) else [r"(?!\.)"]
    at = 0
    while at < len(text):
        char = text[at]
        close = text.find("]", at + 2) if char == "[" else -1
        if char == "*":
            out.append(".*")
        elif char == "?":
            out.append(".")
        elif close > 0:
            out.append(_class(text[at + 1 : close]))
            at = close
        else:
            out.append(re.escape(char))
        at += 1
    return re.compile("".join(out), re.DOTALL)


def _class(inside: str) -> str:
    negated = inside.startswith("!") and len(inside) > 1
    members = inside[1:] if negated else inside
    items = []
    at = 0
    while at < len(members):
        if at + 2 < len(members) and members[at + 1] == "-":
            low, high = members[at], members[at + 2]
            if low <= high:
                items.append(f"{re.escape(low)}-{re.escape(high)}")
            at += 3
        else:
            items.append(re.escape(members[at]))
            at += 1
    if not items:  # only empty ranges, such as z-a
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{''.join(items)}]"
