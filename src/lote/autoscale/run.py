"""The state of one evaluation: stack, variables, targets."""

from __future__ import annotations

import math
from collections.abc import Mapping

from lote.autoscale.context import Context
from lote.autoscale.errors import Fault
from lote.autoscale.samples import Samples
from lote.autoscale.targets import Targets
from lote.autoscale.values import TYPE_NAMES, Metric, Option, Value, number
from lote.autoscale.variables import DEALLOCATION, DEDICATED, LOW_PRIORITY, Named

_TARGET_MAX = 2**31 - 1  # REST: targetDedicatedNodes is an int32


class Run:
    """``place`` is the index of the next instruction."""

    def __init__(self, context: Context, samples: Samples, current: Targets) -> None:
        self.context = context
        self.place = 0
        self.stack: list[Value] = []
        self.variables: dict[str, Value] = {}
        self.set_at: dict[str, int] = {}  # the instruction that last set a target
        self._samples = samples
        self._set_in_full: set[str] = set()
        self._targets: dict[str, float] = {
            DEDICATED: float(current.dedicated_nodes),
            LOW_PRIORITY: float(current.low_priority_nodes),
        }
        self._option = Option(current.node_deallocation_option)

    def take(self, count: int) -> list[Value]:
        """The uppermost values, off the stack, in the order of the text."""
        if not count:
            return []
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken

    def service_value(self, named: Named) -> Value:
        """A variable of the service: a target as it is by now, or a series of samples."""
        if named.name == DEALLOCATION:
            return self._option
        target = self._targets.get(named.name)
        if target is not None:
            return target
        return Metric(named.written, self._samples.series(named.name))

    def set_variable(self, name: str, value: Value) -> None:
        """A variable of the formula's own. Fault: a word for node deallocation."""
        if isinstance(value, Option):
            raise Fault(f"{value.word} is a value for {DEALLOCATION} only.")
        self.variables[name] = value

    def set_target(self, named: Named, value: Value) -> None:
        """A target. Fault: a value of another type. An older name yields to the newer one."""
        if named.name == DEALLOCATION:
            if not isinstance(value, Option):
                shown = TYPE_NAMES[type(value)]
                raise Fault(f"{DEALLOCATION} takes one of its four words, not a {shown}.")
            self._option = value
            return
        wanted = number(value)
        if named.is_alias and named.name in self._set_in_full:
            return
        if not named.is_alias:
            self._set_in_full.add(named.name)
        self._targets[named.name] = wanted
        self.set_at[named.name] = self.place - 1

    def bad_target(self) -> tuple[int, str] | None:
        """The instruction that set a target to what cannot be one, and why; None if all can."""
        for name, wanted in self._targets.items():
            if name in self.set_at and not (
                math.isfinite(wanted) and 0 <= int(wanted) <= _TARGET_MAX
            ):
                return self.set_at[name], f"{name} cannot be {wanted:g}."
        return None

    def targets(self) -> Targets:
        """What the formula asks for: doubles are cut towards zero."""
        return Targets(
            int(self._targets[DEDICATED]), int(self._targets[LOW_PRIORITY]), self._option.word
        )

    def own_variables(self) -> Mapping[str, Value]:
        """Those the formula made, in the order of their names."""
        return {name: self.variables[name] for name in sorted(self.variables)}
