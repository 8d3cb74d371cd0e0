"""A formula: read once with ``parse_formula``, evaluated as often as wanted.

The errors of an evaluation are part of its outcome, as the protocol has it: a pool whose formula
fails keeps its targets, and shows why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from lote.autoscale.context import Context
from lote.autoscale.errors import EVALUATION, Fault, FormulaError, position_of
from lote.autoscale.functions import Stopped
from lote.autoscale.parser import Program, parse
from lote.autoscale.run import Run
from lote.autoscale.samples import Samples
from lote.autoscale.targets import Targets, results_text
from lote.autoscale.values import Value


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of a formula.

    ``results`` is the text of the protocol. With an ``error`` the targets are those from before,
    and there are no variables.
    """

    results: str
    targets: Targets
    variables: Mapping[str, Value] = field(default_factory=dict)
    error: FormulaError | None = None


@dataclass(frozen=True, slots=True)
class Formula:
    """A formula without syntax errors."""

    text: str
    program: Program

    def evaluate(
        self, samples: Samples, now_us: int, current: Targets, rand: Callable[[], float]
    ) -> Evaluation:
        """Carry it out at ``now_us``, microseconds since 1970.

        ``current`` are the targets of the pool; ``rand`` gives doubles from 0 up to 1. Never raises
        for what the formula says: see ``Evaluation.error``. Source: REST, Evaluate Auto Scale.
        """
        run = Run(Context(now_us, rand), samples, current)
        try:
            self._carry_out(run)
        except FormulaError as error:
            return failed(error, current)
        targets, variables = run.targets(), run.own_variables()
        return Evaluation(results_text(targets, variables), targets, variables)

    def _carry_out(self, run: Run) -> None:
        instructions = self.program.instructions
        count = len(instructions)
        try:
            while run.place < count:
                run.place += 1
                instructions[run.place - 1].act(run)
        except Stopped:
            run.stack.clear()
        except Fault as fault:
            raise self._error(fault.reason, run.place - 1, fault.code) from fault
        bad = run.bad_target()
        if bad is not None:
            raise self._error(bad[1], bad[0])

    def _error(self, reason: str, instruction: int, code: str = EVALUATION) -> FormulaError:
        return FormulaError(code, reason, position_of(self.text, self.program.offsets[instruction]))


def parse_formula(text: str) -> Formula:
    """Read a formula.

    Raises FormulaError: AutoScalingFormulaSyntaxError, or AutoScaleFormulaTooLong for more than
    8192 characters or 100 statements. Source: REST, Enable Auto Scale.
    """
    return Formula(text, parse(text))


def evaluate_text(
    text: str, samples: Samples, now_us: int, current: Targets, rand: Callable[[], float]
) -> Evaluation:
    """Read and evaluate; errors of the syntax become part of the outcome, too."""
    try:
        formula = parse_formula(text)
    except FormulaError as error:
        return failed(error, current)
    return formula.evaluate(samples, now_us, current, rand)


def failed(error: FormulaError, current: Targets) -> Evaluation:
    """The outcome of a formula that changes nothing."""
    return Evaluation(results_text(current, {}), current, {}, error)
