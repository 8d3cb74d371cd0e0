"""What the parts of an evaluation share: the moment, chance, and how much work is left."""

from __future__ import annotations

from collections.abc import Callable

from lote.autoscale.errors import Fault
from lote.autoscale.values import TICKS_PER_US

# Ours: elements of vectors that an evaluation may touch, some 0.3 s of work and 10 MB at most. A
# week of one variable is 20,160. Without a bound, x=round(x,x,x); repeated would grow on and on.
ELEMENTS_MAX = 500_000


class Context:
    """One evaluation. ``rand`` gives doubles from 0 up to 1."""

    def __init__(self, now_us: int, rand: Callable[[], float]) -> None:
        self.now_us = now_us
        self.now_ticks = now_us * TICKS_PER_US
        self.rand = rand
        self._elements_left = ELEMENTS_MAX

    def spend(self, elements: int) -> None:
        """Announce work on so many elements, before it is done. Fault: too much in all."""
        self._elements_left -= elements
        if self._elements_left < 0:
            raise Fault(f"The formula works on more than {ELEMENTS_MAX} elements of vectors.")
