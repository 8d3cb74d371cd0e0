"""Rehearsals and the end of the server: what they hold is held by the next one, and given back."""

from __future__ import annotations

import pytest
from harness import lote_service, pool_body, until


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_preempted_node_is_held_and_given_back_by_the_next_server(end):
    with lote_service() as lote:
        lote.call("create_pool", pool_body("p", 0) | {"targetLowPriorityNodes": 1})
        until(lambda: [one["state"] for one in lote.nodes()] == ["idle"], "an idle node")
        (before,) = lote.nodes()
        wanted = {"kind": "preempt", "poolId": "p", "forS": 86400}
        made = lote.ask("POST", "/rehearsals", wanted)
        assert made.status == 201
        assert lote.nodes()[0]["state"] == "preempted"
        getattr(lote, end)()
        lote.start()
        (held,) = lote.nodes()
        assert (held["id"], held["state"]) == (before["id"], "preempted")
        until(lambda: not lote.agents(), "the end of its agent")
        assert lote.ask("DELETE", "/rehearsals/1").status == 200
        until(lambda: lote.nodes()[0]["state"] == "idle", "the node")
        (after,) = lote.nodes()
        assert after["id"] == before["id"]
        assert after["lastBootTime"] > before["lastBootTime"]
        lote.add_job()
        lote.add_tasks({"t": "/bin/true"})
        assert lote.wait_for_end("t")["exitCode"] == 0
