"""What can be wrong with a formula, and where."""

from __future__ import annotations

from typing import NamedTuple

SYNTAX = "AutoScalingFormulaSyntaxError"  # REST: status and error codes
TOO_LONG = "AutoScaleFormulaTooLong"  # REST: the code of the service; its table adds "ing"
EVALUATION = "AutoScalingFormulaEvaluationError"  # REST: AutoScaleRunError
INSUFFICIENT = "InsufficientSampleData"  # REST: AutoScaleRunError

MESSAGES = {
    SYNTAX: "The autoscale formula has a syntax error.",
    TOO_LONG: "The autoscale formula is too long.",
    EVALUATION: "The autoscale formula could not be evaluated.",
    # Tools search for this sentence of the service.
    INSUFFICIENT: "Autoscale evaluation failed due to insufficient sample data",
}


class Position(NamedTuple):
    """Where in the text; both count from 1."""

    line: int
    column: int


def position_of(text: str, offset: int) -> Position:
    """Line and column of a character. Lines end with LF, CR LF or CR."""
    before = text[:offset].replace("\r\n", "\n").replace("\r", "\n")
    return Position(before.count("\n") + 1, len(before) - before.rfind("\n"))


class FormulaError(Exception):
    """A formula that cannot be read or evaluated.

    ``code`` and ``message`` are the protocol's, ``reason`` says what is wrong at ``position``.
    """

    def __init__(self, code: str, reason: str, position: Position) -> None:
        self.code = code
        self.message = MESSAGES[code]
        self.reason = reason
        self.position = position
        super().__init__(self.detail)

    @property
    def detail(self) -> str:
        """The reason with its place, as the service writes it."""
        return f"Line {self.position.line}, Col {self.position.column}: {self.reason}"

    @property
    def values(self) -> tuple[tuple[str, str], ...]:
        """The name and value pairs of the protocol's error."""
        return (("Message", self.detail),)


class Fault(Exception):
    """What an instruction cannot do; whoever carries it out knows its place."""

    def __init__(self, reason: str, code: str = EVALUATION) -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)
