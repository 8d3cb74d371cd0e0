"""What a formula is made of once it has been read: steps for a machine with a stack.

A flat list of steps has no depth: evaluating one cannot exhaust the interpreter's stack, and takes
no more steps than the text has tokens, since jumps go forward only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lote.autoscale.calendar import MEMBERS
from lote.autoscale.errors import Fault
from lote.autoscale.functions import Function
from lote.autoscale.metrics import Method
from lote.autoscale.operators import apply_binary, apply_unary
from lote.autoscale.run import Run
from lote.autoscale.values import (
    TYPE_NAMES,
    Metric,
    Timestamp,
    Value,
    number,
    plain,
    single,
)
from lote.autoscale.variables import Named


class Instruction(Protocol):
    """One step. ``act`` raises Fault when it cannot be carried out."""

    def act(self, run: Run) -> None: ...


@dataclass(frozen=True, slots=True)
class Push:
    """A constant."""

    value: Value

    def act(self, run: Run) -> None:
        run.stack.append(self.value)


@dataclass(frozen=True, slots=True)
class Load:
    """The value of a variable: the formula's own, else the service's."""

    name: str
    service: Named | None

    def act(self, run: Run) -> None:
        found = run.variables.get(self.name)
        if found is None:
            if self.service is None:
                raise Fault(f"The variable {self.name} is not defined.")
            found = run.service_value(self.service)
        run.stack.append(found)


@dataclass(frozen=True, slots=True)
class Store:
    """A variable gets the value on top of the stack."""

    name: str
    service: Named | None

    def act(self, run: Run) -> None:
        value = plain(run.stack.pop())
        if self.service is not None and self.service.is_target:
            run.set_target(self.service, value)
        elif self.service is not None and self.service.is_exact:
            raise Fault(f"The variable {self.name} is read-only.")
        else:
            run.set_variable(self.name, value)


@dataclass(frozen=True, slots=True)
class Drop:
    """The value of a statement that assigns nothing."""

    def act(self, run: Run) -> None:
        run.stack.pop()


@dataclass(frozen=True, slots=True)
class Unary:
    """An operator before its operand."""

    op: str

    def act(self, run: Run) -> None:
        run.stack.append(apply_unary(self.op, run.stack.pop()))


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two operands."""

    op: str

    def act(self, run: Run) -> None:
        second = run.stack.pop()
        run.stack.append(apply_binary(run.context, self.op, run.stack.pop(), second))


@dataclass(frozen=True, slots=True)
class ShortCut:
    """The first operand of ``&&`` and ``||``: if it decides, the other is not evaluated."""

    decisive: bool
    target: int

    def act(self, run: Run) -> None:
        is_true = number(run.stack.pop()) != 0
        if is_true is self.decisive:
            run.stack.append(1.0 if is_true else 0.0)
            run.place = self.target


@dataclass(frozen=True, slots=True)
class Truth:
    """1 for any double but 0: the second operand of ``&&`` and ``||``."""

    def act(self, run: Run) -> None:
        run.stack.append(1.0 if number(run.stack.pop()) else 0.0)


@dataclass(frozen=True, slots=True)
class JumpUnless:
    """Past what the condition on the stack rules out."""

    target: int

    def act(self, run: Run) -> None:
        if not number(run.stack.pop()):
            run.place = self.target


@dataclass(frozen=True, slots=True)
class Jump:
    """Past the other branches."""

    target: int

    def act(self, run: Run) -> None:
        run.place = self.target


@dataclass(frozen=True, slots=True)
class Call:
    """A function with its arguments, which are on the stack."""

    function: Function
    count: int

    def act(self, run: Run) -> None:
        arguments = run.take(self.count)
        run.stack.append(self.function.body(run.context, arguments))


@dataclass(frozen=True, slots=True)
class Ask:
    """A method of a variable of the service, below its arguments on the stack."""

    method: Method
    count: int

    def act(self, run: Run) -> None:
        arguments = run.take(self.count)
        metric = run.stack.pop()
        if not isinstance(metric, Metric):
            shown = TYPE_NAMES[type(metric)]
            raise Fault(f"{self.method.name} is of variables of the service, not of a {shown}.")
        run.stack.append(self.method.body(run.context, metric, arguments))


@dataclass(frozen=True, slots=True)
class Member:
    """A part of a timestamp."""

    name: str

    def act(self, run: Run) -> None:
        value = single(plain(run.stack.pop()))
        if not isinstance(value, Timestamp):
            raise Fault(f"{self.name} is of timestamps, not of a {TYPE_NAMES[type(value)]}.")
        run.stack.append(float(MEMBERS[self.name][1](value.moment)))
