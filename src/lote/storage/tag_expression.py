"""Expressions over blob tags: conditions of a request (``x-ms-if-tags``) and searches. Pure.

Texts compare by code point. A comparison with a tag that the blob lacks never holds, not even
``<>``. Sources: REST "Find Blobs by Tags", "Specifying conditional headers for Blob service".
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from lote.storage.errors import Refused, invalid_header

KEY_MAX = 128  # REST: Set Blob Tags
VALUE_MAX = 256
KEYS_MAX = 10  # REST: Find Blobs by Tags, as many as a blob can have
TAG_TEXT = re.compile(r"[A-Za-z0-9 +\-./:=_]*")
CONTAINER = "@container"
NESTING_MAX = 32  # of parentheses: deeper ones are no honest question
TOKEN = re.compile(
    r"""\s*(?:(?P<operator><>|>=|<=|=|>|<)|(?P<bracket>[()])|(?P<word>@?[A-Za-z0-9_]+)"""
    r"""|"(?P<key>[^"]*)"|'(?P<value>[^']*)'|(?P<end>\Z))"""
)
OPERATORS: dict[str, Callable[[str, str], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
SEARCH_OPERATORS = frozenset(OPERATORS) - {"<>"}

TagCondition = Callable[[Mapping[str, str]], bool]


class Comparison(NamedTuple):
    """A tag against a text, by one of ``OPERATORS``."""

    key: str
    operator: str
    value: str

    def holds(self, tags: Mapping[str, str]) -> bool:
        """Whether a blob's tags satisfy it."""
        found = tags.get(self.key)
        return found is not None and OPERATORS[self.operator](found, self.value)


class Search(NamedTuple):
    """What blobs are looked for: all comparisons hold. ``container`` None: in all of them."""

    comparisons: tuple[Comparison, ...]
    container: str | None

    @property
    def keys(self) -> frozenset[str]:
        """The tags it asks about, which are those that an answer shows."""
        return frozenset(one.key for one in self.comparisons)


class ExpressionError(ValueError):
    """A text that is no expression; ``position`` counts characters from 1."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(reason)
        self.position = position


class Token(NamedTuple):
    """A piece of an expression; ``kind`` is a group of ``TOKEN``."""

    kind: str
    text: str
    position: int

    def says(self, keyword: str) -> bool:
        """Whether this is a keyword, in any case."""
        return self.kind == "word" and self.text.upper() == keyword


def parse_tag_condition(text: str, header: str = "x-ms-if-tags") -> TagCondition:
    """What a request demands of a blob's tags: comparisons, AND, OR (which binds less), brackets.

    Refuses: InvalidHeaderValue.
    """
    try:
        tokens = _Tokens(text)
        condition = _any_of(tokens, 0)
        tokens.take("end")
    except ExpressionError:
        raise invalid_header(header, text) from None
    return condition


def parse_search(text: str) -> Search:
    """What ``where`` asks for: comparisons joined by AND, of tags or of ``@container``.

    Refuses: InvalidQueryParameterValue, saying where the text goes wrong.
    """
    try:
        return _search(_Tokens(text))
    except ExpressionError as error:
        where = f" at or near character position {error.position}" if error.position else ""
        raise Refused(
            "InvalidQueryParameterValue",
            f"Error parsing query{where}: {error}",
            values={"QueryParameterName": "where", "QueryParameterValue": text},
        ) from None


class _Tokens:
    """The tokens of a text, looked at one ahead."""

    def __init__(self, text: str) -> None:
        self._rest = _tokens(text)
        self.next = next(self._rest)

    def take(self, *kinds: str) -> Token:
        """The next token, which must be of one of these kinds."""
        token = self.next
        if token.kind not in kinds:
            raise ExpressionError(token.position, f"unexpected '{token.text}'")
        if token.kind != "end":
            self.next = next(self._rest)
        return token


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while True:
        match = TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise ExpressionError(at + 1, "unexpected character")
        kind = match.lastgroup
        yield Token(kind, match[kind], match.start(kind) + 1)
        at = match.end()


def _any_of(tokens: _Tokens, nesting: int) -> TagCondition:
    terms = [_all_of(tokens, nesting)]
    while tokens.next.says("OR"):
        tokens.take("word")
        terms.append(_all_of(tokens, nesting))
    return lambda tags: any(term(tags) for term in terms)


def _all_of(tokens: _Tokens, nesting: int) -> TagCondition:
    terms = [_term(tokens, nesting)]
    while tokens.next.says("AND"):
        tokens.take("word")
        terms.append(_term(tokens, nesting))
    return lambda tags: all(term(tags) for term in terms)


def _term(tokens: _Tokens, nesting: int) -> TagCondition:
    if tokens.next.text != "(" or tokens.next.kind != "bracket":
        compared, position = _comparison(tokens)
        if compared.key.startswith("@"):
            raise ExpressionError(position, "only tags can be compared here")
        return compared.holds
    if nesting == NESTING_MAX:
        raise ExpressionError(tokens.next.position, "too many brackets")
    tokens.take("bracket")
    inner = _any_of(tokens, nesting + 1)
    closing = tokens.take("bracket")
    if closing.text != ")":
        raise ExpressionError(closing.position, "expected ')'")
    return inner


def _search(tokens: _Tokens) -> Search:
    comparisons: list[Comparison] = []
    container = None
    while True:
        compared, position = _comparison(tokens)
        if compared.operator not in SEARCH_OPERATORS:
            raise ExpressionError(position, f"unexpected '{compared.operator}'")
        if compared.key == CONTAINER:
            if container is not None or compared.operator != "=":
                raise ExpressionError(position, f"{CONTAINER} can only be equal to one name")
            container = compared.value
        else:
            _check_lengths(compared, position)
            comparisons.append(compared)
        if tokens.next.kind == "end":
            break
        joint = tokens.take("word")
        if not joint.says("AND"):
            raise ExpressionError(joint.position, f"expected AND, not '{joint.text}'")
    found = Search(tuple(comparisons), container)
    if not comparisons:
        raise ExpressionError(0, "at least one tag must be compared")
    if len(found.keys) > KEYS_MAX:
        raise ExpressionError(0, f"there can be at most {KEYS_MAX} unique tags in a query")
    return found


def _comparison(tokens: _Tokens) -> tuple[Comparison, int]:
    key = tokens.take("word", "key")
    if key.kind == "word" and key.text.startswith("@") and key.text != CONTAINER:
        raise ExpressionError(key.position, f"unsupported parameter '{key.text}'")
    sign = tokens.take("operator")
    value = tokens.take("value")
    for token in (key, value):  # a word has only letters, digits and underscores
        if token.kind != "word" and TAG_TEXT.fullmatch(token.text) is None:
            raise ExpressionError(token.position, "character not permitted in tag name or value")
    return Comparison(key.text, sign.text, value.text), key.position


def _check_lengths(compared: Comparison, position: int) -> None:
    if not 1 <= len(compared.key) <= KEY_MAX:
        raise ExpressionError(position, f"tag must be between 1 and {KEY_MAX} characters in length")
    if len(compared.value) > VALUE_MAX:
        raise ExpressionError(
            position, f"tag value must be between 0 and {VALUE_MAX} characters in length"
        )
