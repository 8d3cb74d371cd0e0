"""The query options of lists: ``$filter`` into a small tree, ``$select``, ``$expand``.

Strings compare without regard to case. A property that an entity lacks equals nothing: every
comparison with it is false, except ``ne``. Compiling a tree to SQL belongs to the store; what a
list can be filtered by is in ``filters``.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from lote.wire.errors import Refused, invalid_query
from lote.wire.filters import Kind, PropertyRule
from lote.wire.formats import parse_http_date

Op = Literal["eq", "ne", "gt", "ge", "lt", "le"]
Value = str | int | bool

FILTER_CHARS_MAX = 16_384  # ours: far beyond what clients write, bounds the parser's work
_DEPTH_MAX = 50  # ours: nested parentheses and nots
_INT_DIGITS_MAX = 19  # a signed 64-bit number


@dataclass(frozen=True, slots=True)
class Compare:
    """``prop op value``; the value of a time property is microseconds since 1970."""

    prop: str
    op: Op
    value: Value


@dataclass(frozen=True, slots=True)
class StartsWith:
    """``startswith(prop,'value')``."""

    prop: str
    value: str


@dataclass(frozen=True, slots=True)
class And:
    """All of two or more."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of two or more."""

    items: tuple[Expr, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite."""

    item: Expr


Expr = Compare | StartsWith | And | Or | Not


def parse_filter(text: str, allowed: Mapping[str, PropertyRule]) -> Expr:
    """Read a ``$filter`` over the properties of ``allowed``.

    Refuses: InvalidQueryParameterValue, for anything that is not of the grammar or not allowed.
    """
    if len(text) > FILTER_CHARS_MAX:
        raise invalid_query("$filter", "", f"A filter has at most {FILTER_CHARS_MAX} characters.")
    return _Parser(text, allowed).parse()


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}


def evaluate(expr: Expr, getter: Callable[[str], Value | None]) -> bool:
    """Whether an entity passes; ``getter`` gives the value of a property, or None if it has none.

    Values are of the property's kind: times as microseconds since 1970.
    """
    match expr:
        case And(items):
            return all(evaluate(item, getter) for item in items)
        case Or(items):
            return any(evaluate(item, getter) for item in items)
        case Not(item):
            return not evaluate(item, getter)
        case StartsWith(prop, prefix):
            found = getter(prop)
            return isinstance(found, str) and found.lower().startswith(prefix.lower())
        case Compare(prop, op, value):
            found = getter(prop)
            if op == "ne":
                return found is None or _folded(found) != _folded(value)
            return found is not None and _COMPARE[op](_folded(found), _folded(value))


def parse_select(text: str, allowed: Container[str]) -> tuple[str, ...]:
    """The names of a ``$select``, in order and once each; () when it names none.

    Refuses: InvalidQueryParameterValue for a name that is not in ``allowed``.
    """
    return _names("$select", text, allowed)


def parse_expand(text: str, allowed: Container[str] = frozenset({"stats"})) -> tuple[str, ...]:
    """The names of an ``$expand``. Refuses: InvalidQueryParameterValue for one not allowed."""
    return _names("$expand", text, allowed)


def select_members(members: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Only the members named, in the order of the names; all of them when none is named."""
    wanted = tuple(names)
    if not wanted:
        return dict(members)
    return {name: members[name] for name in wanted if name in members}


def _folded(value: Value) -> Value:
    return value.lower() if isinstance(value, str) else value


def _names(option: str, text: str, allowed: Container[str]) -> tuple[str, ...]:
    names = dict.fromkeys(part.strip() for part in text.split(","))
    names.pop("", None)
    for name in names:
        if name not in allowed:
            raise invalid_query(option, text, f"There is no property {name[:64]!r} to choose.")
    return tuple(names)


class _Token(NamedTuple):
    kind: str
    text: str


_TOKEN = re.compile(
    r"\s*(?:(?P<time>datetime(?:offset)?'(?:[^']|'')*')|(?P<string>'(?:[^']|'')*')"
    r"|(?P<int>[+-]?\d+)|(?P<word>[A-Za-z_$][\w./$]*)|(?P<mark>[(),]))",
    re.ASCII | re.IGNORECASE,
)


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        found = _TOKEN.match(text, place)
        if found is None or found.lastgroup is None:
            raise _refused(text, f"The text at character {place + 1} cannot be read.")
        tokens.append(_Token(found.lastgroup, found[found.lastgroup]))
        place = found.end()
    return tokens


class _Parser:
    """Recursive descent: or, and, not or parentheses, comparison."""

    def __init__(self, text: str, allowed: Mapping[str, PropertyRule]) -> None:
        self._text = text
        self._allowed = allowed
        self._tokens = _tokens(text)
        self._place = 0
        self._depth = 0

    def parse(self) -> Expr:
        expr = self._either()
        if self._place < len(self._tokens):
            raise self._unexpected()
        return expr

    def _either(self) -> Expr:
        items = [self._both()]
        while self._word("or"):
            items.append(self._both())
        return items[0] if len(items) == 1 else Or(tuple(items))

    def _both(self) -> Expr:
        items = [self._single()]
        while self._word("and"):
            items.append(self._single())
        return items[0] if len(items) == 1 else And(tuple(items))

    def _single(self) -> Expr:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise self._refused("The filter is nested too deeply.")
        expr: Expr
        if self._mark("("):
            expr = self._either()
            self._expect(")")
        elif self._word("not"):
            expr = Not(self._single())
        elif self._word("startswith"):
            expr = self._starts_with()
        else:
            expr = self._comparison()
        self._depth -= 1
        return expr

    def _starts_with(self) -> Expr:
        self._expect("(")
        rule = self._property("startswith")
        self._expect(",")
        token = self._take("string")
        self._expect(")")
        return StartsWith(rule.prop, _unquoted(token.text))

    def _comparison(self) -> Expr:
        start = self._place
        self._take("word")
        op = self._take("word").text.lower()
        after = self._place
        self._place = start
        rule = self._property(op)
        self._place = after
        value = self._value(rule)
        match op:
            case "eq" | "ne" | "gt" | "ge" | "lt" | "le":
                return Compare(rule.prop, op, value)
        raise self._refused(f"There is no operator {op[:16]!r}.")

    def _property(self, op: str) -> PropertyRule:
        name = self._take("word").text
        rule = self._allowed.get(name)
        if rule is None:
            raise self._refused(f"There is no property {name[:64]!r} to filter by.")
        if op not in rule.ops:
            allowed = ", ".join(sorted(rule.ops))
            raise self._refused(f"{name} allows only {allowed}.")
        return rule

    def _value(self, rule: PropertyRule) -> Value:
        if self._place >= len(self._tokens):
            raise self._unexpected()
        token = self._tokens[self._place]
        self._place += 1
        value = self._literal(rule.kind, token)
        if value is None:
            raise self._refused(f"{token.text[:64]!r} is no value for {rule.prop}.")
        return value

    def _literal(self, kind: Kind, token: _Token) -> Value | None:
        if kind == "string" and token.kind == "string":
            return _unquoted(token.text)
        if kind == "int" and token.kind == "int" and len(token.text) <= _INT_DIGITS_MAX:
            return int(token.text)
        if kind == "bool" and token.text.lower() in ("true", "false"):
            return token.text.lower() == "true"
        if kind == "time" and token.kind in ("time", "string"):
            try:
                return parse_http_date(_unquoted(token.text[token.text.index("'") :]))
            except ValueError:
                return None
        return None

    def _word(self, word: str) -> bool:
        if self._place < len(self._tokens):
            token = self._tokens[self._place]
            if token.kind == "word" and token.text.lower() == word:
                self._place += 1
                return True
        return False

    def _mark(self, mark: str) -> bool:
        if self._place < len(self._tokens) and self._tokens[self._place] == ("mark", mark):
            self._place += 1
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._mark(mark):
            raise self._unexpected()

    def _take(self, kind: str) -> _Token:
        if self._place >= len(self._tokens) or self._tokens[self._place].kind != kind:
            raise self._unexpected()
        token = self._tokens[self._place]
        self._place += 1
        return token

    def _unexpected(self) -> Refused:
        if self._place >= len(self._tokens):
            return self._refused("The filter ends too early.")
        return self._refused(f"{self._tokens[self._place].text[:64]!r} is not expected here.")

    def _refused(self, reason: str) -> Refused:
        return _refused(self._text, reason)


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'")


def _refused(text: str, reason: str) -> Refused:
    return invalid_query("$filter", text, reason)
