"""The engines' desk: whatever an engine does, the owner is told of every node that was to end."""

from __future__ import annotations

import pytest

from lote.engines.fake import FakeEngine
from lote.engines.seam import EngineError
from lote.server import fleet, removals
from lote.server.desk import EngineDesk
from lote.server.kept import KeptFiles
from lote.world import SteppedWorld

NODES = ["a", "b"]


class PoorEngine(FakeEngine):
    """It cannot end nodes; ``listing`` is what it says when it is asked which ones are left."""

    def __init__(self, listing):
        super().__init__(switchboard=None, world=SteppedWorld())
        self._listing = listing

    def stop_nodes(self, node_ids):
        raise EngineError("it hangs")

    def list_nodes(self):
        if self._listing is not None:
            raise self._listing
        return super().list_nodes()


class Told:
    """What the owner is told."""

    def __init__(self):
        self.told = []

    def tell(self, function, *args):
        self.told.append((function, *args))


@pytest.mark.parametrize("error", [OSError("the disk"), EngineError("gone"), ValueError("a bug")])
def test_nodes_are_tried_again_if_the_engine_cannot_say_which_are_left(tmp_path, error):
    owner = Told()
    desk = EngineDesk({"fake": PoorEngine(error)}, owner, KeptFiles(tmp_path, 1, 1))
    desk.stop("fake", NODES)
    desk.close(leave_nodes=True)
    assert owner.told == [(removals.removal_failed, node, "it hangs") for node in NODES]


def test_nodes_that_the_engine_has_no_more_are_gone(tmp_path):
    owner = Told()
    desk = EngineDesk({"fake": PoorEngine(None)}, owner, KeptFiles(tmp_path, 1, 1))
    desk.stop("fake", NODES)
    desk.close(leave_nodes=True)
    assert owner.told == [(fleet.node_gone, node) for node in NODES]
