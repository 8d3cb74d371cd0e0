"""The thread in which the formulas of pools are evaluated."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor

from lote.server.memory import ScaleOrder
from lote.server.owner import Owner
from lote.server.scaling import apply_evaluation, carry_out
from lote.world import World

log = logging.getLogger("lote.formulas")


class FormulaDesk:
    """One formula after the other; what came of each is told to the owner."""

    def __init__(self, owner: Owner, world: World) -> None:
        self._owner = owner
        self._world = world
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="formulas")
        self._is_closed = False

    def evaluate(self, order: ScaleOrder) -> None:
        """Carry it out, in its turn; nothing once the service ends."""
        if not self._is_closed:
            self._thread.submit(self._evaluate, order)

    def close(self) -> None:
        """End, after what waits."""
        self._is_closed = True
        self._thread.shutdown(wait=True)

    def _evaluate(self, order: ScaleOrder) -> None:
        try:
            self._owner.tell(apply_evaluation, order, carry_out(order, self._world.chance))
        except Exception:
            log.exception("formula_not_evaluated", extra={"pool_key": order.pool_key})
