"""A formula's text into tokens."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, cast

from lote.autoscale.errors import SYNTAX, FormulaError, position_of

Kind = Literal["number", "string", "name", "mark", "end"]

# Formulas are pasted from web pages and editors: no-break spaces and byte order marks are spaces.
_TOKEN = re.compile(
    r"""
    (?P<space>[\s\ufeff]+|//[^\r\n]*)
    |(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<string>"[^"]*")
    |(?P<name>\$?[A-Za-z_][A-Za-z0-9_]*)
    |(?P<mark>\|\||&&|[=!<>]=|[-+*/<>!=?:;,.()])
    """,
    re.VERBOSE,
)


class Token(NamedTuple):
    """A piece of the text; ``offset`` is where it begins."""

    kind: Kind
    text: str
    offset: int


def tokens_of(text: str) -> list[Token]:
    """All tokens, and one of kind ``end`` after them. Raises FormulaError for anything else."""
    tokens: list[Token] = []
    offset = 0
    while offset < len(text):
        found = _TOKEN.match(text, offset)
        if found is None:
            raise FormulaError(SYNTAX, _reason(text, offset), position_of(text, offset))
        if found.lastgroup != "space":
            tokens.append(Token(cast("Kind", found.lastgroup), found[0], offset))
        offset = found.end()
    tokens.append(Token("end", "", len(text)))
    return tokens


def _reason(text: str, offset: int) -> str:
    if text[offset] == '"':
        return "The string has no end."
    return f"The character {text[offset]!r} has no meaning here."
