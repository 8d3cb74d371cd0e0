"""Tokens into instructions: recursive descent, by rising precedence of operators.

``||``, ``&&``, equality, order, sums, products, then ``-`` and ``!``; all to the left. The
conditional binds least, to the right. Only the syntax is checked here, with the names of functions
and methods and how many arguments they take; types show when a formula is evaluated.
"""

from __future__ import annotations

from typing import NamedTuple

from lote.autoscale.calendar import MEMBERS
from lote.autoscale.errors import SYNTAX, TOO_LONG, FormulaError, position_of
from lote.autoscale.functions import FUNCTIONS
from lote.autoscale.instructions import (
    Ask,
    Binary,
    Call,
    Drop,
    Instruction,
    Jump,
    JumpUnless,
    Load,
    Member,
    Push,
    ShortCut,
    Store,
    Truth,
    Unary,
)
from lote.autoscale.metrics import METHODS
from lote.autoscale.tokens import Token, tokens_of
from lote.autoscale.variables import CONSTANTS, find_variable

CHARS_MAX = 8192  # REST: autoScaleFormula, 8 KB
STATEMENTS_MAX = 100  # documented: a formula has up to 100 statements
NESTING_MAX = 32  # ours: parentheses, arguments and middles of conditionals within each other

_LEVELS = {
    "||": 1, "&&": 2, "==": 3, "!=": 3, "<": 4, "<=": 4, ">": 4, ">=": 4,
    "+": 5, "-": 5, "*": 6, "/": 6,
}  # fmt: skip
_RESERVED_PREFIX = "TimeInterval_"


class Program(NamedTuple):
    """Instructions, and for each where in the text it comes from."""

    instructions: tuple[Instruction, ...]
    offsets: tuple[int, ...]


def parse(text: str) -> Program:
    """The program of a text. Raises FormulaError: a syntax error, or too long."""
    if len(text) > CHARS_MAX:
        reason = f"A formula has at most {CHARS_MAX} characters."
        raise FormulaError(TOO_LONG, reason, position_of(text, CHARS_MAX))
    return _Parser(text).program()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = tokens_of(text)
        self._next = 0
        self._nesting = 0
        self._instructions: list[Instruction] = []
        self._offsets: list[int] = []

    def program(self) -> Program:
        statements = 0
        while not self._is_at_end():
            if self._accept(";"):
                continue
            statements += 1
            if statements > STATEMENTS_MAX:
                reason = f"A formula has at most {STATEMENTS_MAX} statements."
                raise self._refused(reason, self._token, TOO_LONG)
            self._statement()
            if not self._is_at_end():
                self._expect(";")
        return Program(tuple(self._instructions), tuple(self._offsets))

    def _statement(self) -> None:
        first = self._token
        if first.kind == "name" and self._tokens[self._next + 1].text == "=":
            if first.text in CONSTANTS or first.text.startswith(_RESERVED_PREFIX):
                raise self._refused(f"{first.text} is a reserved word.", first)
            self._next += 2
            self._expression()
            self._emit(Store(first.text, find_variable(first.text)), first)
        else:
            self._expression()
            self._emit(Drop(), first)

    def _expression(self) -> None:
        self._nesting += 1
        if self._nesting > NESTING_MAX:
            raise self._refused("The formula is nested too deeply.", self._token)
        ends: list[int] = []
        self._operation(1)
        while mark := self._accept("?"):
            unless = self._emit(JumpUnless(0), mark)
            self._expression()
            ends.append(self._emit(Jump(0), self._expect(":")))
            self._instructions[unless] = JumpUnless(len(self._instructions))
            self._operation(1)
        for end in ends:
            self._instructions[end] = Jump(len(self._instructions))
        self._nesting -= 1

    def _operation(self, least_level: int) -> None:
        self._signed()
        while True:
            token = self._token
            level = _LEVELS.get(token.text, 0) if token.kind == "mark" else 0
            if level < least_level:
                return
            self._next += 1
            if token.text in ("&&", "||"):
                self._condition(token, level)
            else:
                self._operation(level + 1)
                self._emit(Binary(token.text), token)

    def _condition(self, token: Token, level: int) -> None:
        is_decisive = token.text == "||"
        short_cut = self._emit(ShortCut(is_decisive, 0), token)
        self._operation(level + 1)
        self._emit(Truth(), token)
        self._instructions[short_cut] = ShortCut(is_decisive, len(self._instructions))

    def _signed(self) -> None:
        signs: list[Token] = []
        while sign := self._accept("-") or self._accept("!"):
            signs.append(sign)
        self._primary()
        while self._accept("."):
            self._member()
        for sign in reversed(signs):
            self._emit(Unary(sign.text), sign)

    def _primary(self) -> None:
        token = self._token
        self._next += 1
        if token.kind == "number":
            self._emit(Push(float(token.text)), token)
        elif token.kind == "string":
            self._emit(Push(token.text[1:-1]), token)
        elif token.kind == "name" and self._accept("("):
            self._call(token)
        elif token.kind == "name":
            self._name(token)
        elif token.kind == "mark" and token.text == "(":
            self._expression()
            self._expect(")")
        else:
            raise self._unexpected(token)

    def _name(self, token: Token) -> None:
        constant = CONSTANTS.get(token.text)
        if constant is not None:
            self._emit(Push(constant), token)
        elif token.text.startswith(_RESERVED_PREFIX):
            raise self._refused(f"There is no constant {token.text}.", token)
        else:
            self._emit(Load(token.text, find_variable(token.text)), token)

    def _call(self, token: Token) -> None:
        function = FUNCTIONS.get(token.text)
        if function is None:
            raise self._refused(f"There is no function {token.text}.", token)
        count = self._arguments()
        self._check_count(token, count, function.least, function.most)
        self._emit(Call(function, count), token)

    def _member(self) -> None:
        token = self._token
        if token.kind != "name":
            raise self._unexpected(token)
        self._next += 1
        if not self._accept("("):
            if token.text not in MEMBERS:
                raise self._refused(f"There is no member {token.text}.", token)
            self._emit(Member(token.text), token)
            return
        method = METHODS.get(token.text)
        if method is None:
            raise self._refused(f"There is no method {token.text}.", token)
        count = self._arguments()
        self._check_count(token, count, method.least, method.most)
        self._emit(Ask(method, count), token)

    def _arguments(self) -> int:
        """What stands up to the closing parenthesis; how many."""
        if self._accept(")"):
            return 0
        count = 1
        self._expression()
        while self._accept(","):
            self._expression()
            count += 1
        self._expect(")")
        return count

    def _check_count(self, token: Token, count: int, least: int, most: int | None) -> None:
        if count < least or (most is not None and count > most):
            wanted = str(least) if least == most else f"{least} to {most}"
            wanted = f"at least {least}" if most is None else wanted
            noun = "argument" if least == 1 and most in (1, None) else "arguments"
            raise self._refused(f"{token.text} takes {wanted} {noun}, not {count}.", token)

    @property
    def _token(self) -> Token:
        return self._tokens[self._next]

    def _is_at_end(self) -> bool:
        return self._token.kind == "end"

    def _accept(self, mark: str) -> Token | None:
        token = self._tokens[self._next]
        if token.kind != "mark" or token.text != mark:
            return None
        self._next += 1
        return token

    def _expect(self, mark: str) -> Token:
        token = self._accept(mark)
        if token is None:
            raise self._unexpected(self._token, mark)
        return token

    def _emit(self, instruction: Instruction, token: Token) -> int:
        """The index of the instruction."""
        self._instructions.append(instruction)
        self._offsets.append(token.offset)
        return len(self._instructions) - 1

    def _unexpected(self, token: Token, wanted: str = "") -> FormulaError:
        found = f"{token.text[:64]!r} is" if token.kind != "end" else "The end of the formula is"
        instead = f"; {wanted!r} would be" if wanted else ""
        return self._refused(f"{found} not expected here{instead}.", token)

    def _refused(self, reason: str, token: Token, code: str = SYNTAX) -> FormulaError:
        return FormulaError(code, reason, position_of(self._text, token.offset))
