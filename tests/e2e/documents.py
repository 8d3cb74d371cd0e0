"""Blocks of the documentation: found, and for consoles split into commands and expected output."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w+) run\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """One ``$`` line and the lines below it, which the output must contain."""

    line: str
    expected: tuple[str, ...]


def blocks(page: str, language: str) -> list[str]:
    """The runnable blocks of a page in this language."""
    text = (ROOT / page).read_text()
    return [body for found, body in FENCE.findall(text) if found == language]


def commands(page: str) -> list[Command]:
    """The commands of all runnable consoles of a page."""
    found: list[Command] = []
    for line in "".join(blocks(page, "console")).splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], ()))
        else:
            last = found.pop()
            found.append(last._replace(expected=(*last.expected, line)))
    return found
