"""What every engine must do. A new engine is right when this suite is green over it.

`NodeSuite` is about nodes, `RunSuite` about what their agents do with runs. Both want a fixture
``rig`` (see `conformance.rigs`).
"""

from __future__ import annotations

import pytest

from conformance.rigs import Rig, order
from lote.engines.seam import EngineError
from lote.wire.frames import (
    Ended,
    Kill,
    Leave,
    Returned,
    Revoke,
    Started,
    StartTaskReport,
)

LONG = "sleep 600"  # longer than any deadline here


def start(rig: Rig, *node_ids: str) -> None:
    """Order nodes and wait until all of them have called."""
    orders = [order(n) for n in node_ids]
    rig.board.secrets |= {o.node_id: o.secret for o in orders}
    rig.engine.start_nodes(orders)
    rig.until(lambda: set(node_ids) <= set(rig.board.channels), f"{node_ids} call")


def states(rig: Rig) -> dict[str, bool]:
    return {n.node_id: n.alive for n in rig.engine.list_nodes()}


def hellos(rig: Rig, node_id: str) -> int:
    return sum(h.node_id == node_id for h in rig.board.hellos)


class NodeSuite:
    def test_nodes_call_and_are_listed(self, rig: Rig):
        start(rig, "one", "two", "three")
        assert states(rig) == {"one": True, "two": True, "three": True}
        assert rig.told == []

    def test_an_order_given_twice_starts_one_node(self, rig: Rig):
        start(rig, "one")
        start(rig, "one", "two")
        assert hellos(rig, "one") == 1
        assert states(rig) == {"one": True, "two": True}

    def test_stop_ends_nodes_and_what_runs_on_them(self, rig: Rig):
        start(rig, "one", "two")
        rig.board.send_runs("one", {1: LONG, 2: LONG})
        rig.until(lambda: rig.running("one") >= 2, "both runs are at work")
        rig.engine.stop_nodes(["one"])
        assert rig.running("one") == 0
        assert states(rig) == {"two": True}
        rig.until(lambda: not rig.board.channels["one"].open, "the channel is closed")
        assert rig.board.channels["two"].open
        assert rig.told == [], "who asked for it need not be told"

    def test_halted_nodes_are_known_and_start_again(self, rig: Rig):
        start(rig, "one", "two")
        rig.board.send_runs("one", {1: LONG})
        rig.until(lambda: rig.running("one") >= 1, "the run is at work")
        rig.engine.halt_nodes(["one", "nobody"], wipes=False)
        assert rig.running("one") == 0
        assert states(rig) == {"one": False, "two": True}
        rig.until(lambda: not rig.board.channels["one"].open, "the channel is closed")
        start(rig, "one")
        rig.until(lambda: hellos(rig, "one") == 2, "the node calls again")
        assert states(rig) == {"one": True, "two": True}
        rig.engine.halt_nodes(["one"], wipes=True)
        start(rig, "one")
        rig.until(lambda: hellos(rig, "one") == 3, "the node calls again")
        boots = {h.boot for h in rig.board.hellos if h.node_id == "one"}
        assert len(boots) == 3
        assert rig.told == [], "who asked for it need not be told"

    def test_halted_nodes_can_be_ended(self, rig: Rig):
        start(rig, "one", "two")
        rig.engine.halt_nodes(["one"], wipes=False)
        rig.engine.stop_nodes(["one"])
        assert states(rig) == {"two": True}

    def test_a_node_that_cannot_be_removed_is_still_listed(self, rig: Rig):
        start(rig, "one", "two", "three")
        rig.board.send_runs("two", {1: LONG})
        rig.until(lambda: rig.running("two") >= 1, "the run is at work")
        rig.hold("two")
        with pytest.raises(EngineError, match="two"):
            rig.engine.stop_nodes(["one", "two", "three"])
        assert rig.running("two") == 0
        assert states(rig) == {"two": False}
        with pytest.raises(EngineError, match="two"):
            rig.engine.stop_nodes(["two"])
        rig.release("two")
        rig.engine.stop_nodes(["two"])
        assert states(rig) == {}
        assert rig.told == [], "who asked for it need not be told"

    def test_unknown_ids_are_passed_over(self, rig: Rig):
        start(rig, "one", "two")
        rig.engine.stop_nodes(["nobody", "one", "one", "nobody else"])
        assert states(rig) == {"two": True}

    def test_death_is_told_once_when_nothing_runs_any_more(self, rig: Rig):
        start(rig, "one", "two")
        rig.board.send_runs("one", {1: LONG})
        rig.until(lambda: rig.running("one") == 1, "the run is at work")
        rig.kill_agent("one")
        rig.until(lambda: rig.told, "the death is told")
        assert rig.running("one") == 0
        assert [node_id for node_id, _ in rig.told] == ["one"]
        assert rig.told[0][1], "a reason is given"
        assert states(rig) == {"one": False, "two": True}
        rig.engine.stop_nodes(["one"])
        assert states(rig) == {"two": True}
        assert len(rig.told) == 1

    def test_a_dead_node_can_be_ordered_again(self, rig: Rig):
        start(rig, "one")
        rig.kill_agent("one")
        rig.until(lambda: rig.told, "the death is told")
        rig.engine.start_nodes([order("one")])
        rig.until(lambda: hellos(rig, "one") == 2, "it calls again")
        assert states(rig) == {"one": True}

    def test_a_node_the_server_refuses_ends(self, rig: Rig):
        rig.engine.start_nodes([order("stranger")])
        rig.until(lambda: rig.told, "its end is told")
        assert states(rig) == {"stranger": False}

    def test_close_ends_all_nodes_and_may_be_repeated(self, rig: Rig):
        start(rig, "one", "two")
        rig.board.send_runs("one", {1: LONG})
        rig.until(lambda: rig.running("one") == 1, "the run is at work")
        rig.engine.close(leave_nodes=False)
        assert rig.running("one") == 0
        rig.engine.close(leave_nodes=False)
        with pytest.raises(EngineError):
            rig.engine.start_nodes([order("late")])
        rig.restart()
        assert not any(states(rig).values()), "what was ended is not alive again"
        assert rig.told == []

    def test_nodes_that_were_left_are_adopted(self, rig: Rig):
        start(rig, "one", "two")
        rig.board.send_runs("one", {1: LONG})
        rig.until(lambda: rig.running("one") == 1, "the run is at work")
        rig.restart()
        assert states(rig) == {"one": True, "two": True}
        assert rig.running("one") == 1
        rig.engine.start_nodes([order("two")])
        assert hellos(rig, "two") <= 2, "an adopted node is not started again"
        rig.kill_agent("two")
        rig.until(lambda: rig.told, "the death of an adopted node is told")
        assert [node_id for node_id, _ in rig.told] == ["two"]
        rig.engine.stop_nodes(["one"])
        assert rig.running("one") == 0
        assert states(rig) == {"two": False}

    def test_a_death_while_nobody_watches_is_listed(self, rig: Rig):
        start(rig, "one", "two")
        rig.board.send_runs("one", {1: LONG})
        rig.until(lambda: rig.running("one") == 1, "the run is at work")
        rig.restart(meanwhile=lambda: rig.kill_agent("one"))
        assert states(rig) == {"one": False, "two": True}
        assert rig.running("one") == 0


class RunSuite:
    def test_runs_are_executed_and_reported(self, rig: Rig):
        start(rig, "one")
        rig.board.send_runs("one", {1: "/bin/true", 2: "/bin/sh -c 'exit 3'"})
        rig.until(lambda: rig.board.ended(1) and rig.board.ended(2), "both ends are reported")
        well, ill = rig.board.ended(1), rig.board.ended(2)
        assert (well.exit_code, well.failure) == (0, None)
        assert (ill.exit_code, ill.failure.code) == (3, "FailureExitCode")
        assert well.run == 1
        assert well.start_age_us >= well.end_age_us >= 0

    def test_a_long_run_is_reported_when_it_begins(self, rig: Rig):
        start(rig, "one")
        rig.board.send_runs("one", {1: "sleep 1"})
        rig.until(lambda: rig.board.of_kind(Started), "the beginning is reported")
        assert rig.board.ended(1) is None
        rig.until(lambda: rig.board.ended(1), "the end is reported")
        assert rig.board.ended(1).start_age_us - rig.board.ended(1).end_age_us >= 900_000

    def test_runs_beyond_the_slots_wait_in_order(self, rig: Rig):
        rig.board.slots = 1
        start(rig, "one")
        keys = [5, 3, 4, 1, 2]
        rig.board.send_runs("one", dict.fromkeys(keys, "sleep 0.05"))
        rig.until(lambda: len(rig.board.of_kind(Ended)) == 5, "all end")
        assert [e.key for e in rig.board.of_kind(Ended)] == keys

    def test_only_what_waits_is_given_back(self, rig: Rig):
        rig.board.slots = 1
        start(rig, "one")
        rig.board.send_runs("one", {1: "sleep 0.5", 2: LONG, 3: "/bin/true"})
        rig.until(lambda: rig.running("one") == 1, "the first is at work")
        rig.board.send("one", Revoke([(1, 1), (2, 1), (9, 1)]))
        rig.until(lambda: rig.board.ended(1) and rig.board.ended(3), "the others end")
        assert [r.key for r in rig.board.of_kind(Returned)] == [2]
        assert rig.board.ended(2) is None
        assert rig.board.ended(1).exit_code == 0

    def test_killed_runs_end_and_make_room(self, rig: Rig):
        rig.board.slots = 1
        start(rig, "one")
        rig.board.send_runs("one", {1: LONG, 2: LONG, 3: "/bin/true"})
        rig.until(lambda: rig.running("one") == 1, "the first is at work")
        rig.board.send("one", Kill([(1, 1), (2, 1), (9, 1)]))
        rig.until(lambda: rig.board.ended(1) and rig.board.ended(2), "both are over")
        rig.until(lambda: rig.board.ended(3), "the third has the slot")
        assert rig.board.ended(1).exit_code == -9
        assert rig.board.ended(1).failure.code == "TaskEnded"
        assert rig.board.ended(2).exit_code is None
        assert rig.board.ended(2).failure.code == "TaskEnded"

    def test_a_failing_run_is_retried_on_the_node(self, rig: Rig):
        start(rig, "one")
        rig.board.send_runs("one", {1: "/bin/sh -c 'exit 4'"}, retries_max=2)
        rig.until(lambda: rig.board.ended(1), "it ends")
        assert (rig.board.ended(1).exit_code, rig.board.ended(1).retries) == (4, 2)
        assert rig.board.ended(1).last_retry_age_us is not None

    def test_one_batch_at_most_is_unacknowledged(self, rig: Rig):
        rig.board.acknowledges = False
        start(rig, "one")
        rig.board.send_runs("one", {1: "/bin/true"})
        rig.until(lambda: rig.board.ended(1), "the first end is reported")
        rig.board.send_runs("one", {2: "/bin/true", 3: "sleep 0.1"})
        rig.until(lambda: rig.running("one") == 1, "the third is at work")
        rig.until(lambda: rig.running("one") == 0, "all runs are over")
        assert rig.board.ended(2) is None
        rig.board.acknowledges = True
        rig.board.channels["one"].acknowledge()
        rig.until(lambda: rig.board.ended(2) and rig.board.ended(3), "the rest is reported")

    def test_what_was_not_acknowledged_is_reported_again(self, rig: Rig):
        rig.board.acknowledges = False
        start(rig, "one")
        rig.board.send_runs("one", {1: "/bin/true", 2: LONG})
        rig.until(lambda: rig.board.ended(1), "the end is reported")
        rig.until(lambda: rig.running("one") == 1, "the other is at work")
        rig.board.entries.clear()
        rig.board.acknowledges = True
        hellos = len(rig.board.hellos)
        rig.break_channel("one")
        rig.until(lambda: len(rig.board.hellos) > hellos, "the node comes back")
        rig.until(lambda: rig.board.ended(1), "the end is reported again")
        held = {h.key: h.phase for h in rig.board.hellos[-1].held}
        assert held == {1: 2, 2: 1}
        assert rig.running("one") == 1, "a broken channel does not end what runs"

    def test_held_runs_that_are_not_confirmed_are_dropped(self, rig: Rig):
        start(rig, "one")
        rig.board.send_runs("one", {1: LONG})
        rig.until(lambda: rig.running("one") == 1, "the run is at work")
        rig.board.confirms = False
        rig.break_channel("one")
        rig.until(lambda: rig.running("one") == 0, "the run is killed")
        rig.board.send_runs("one", {2: "/bin/true"})
        rig.until(lambda: rig.board.ended(2), "the node works on")
        assert rig.board.ended(1) is None

    def test_the_start_task_is_run_and_reported(self, rig: Rig):
        rig.board.start_task = b'{"commandLine":"/bin/sh -c \'exit 7\'","maxTaskRetryCount":1}'
        start(rig, "one")

        def ends() -> list[StartTaskReport]:
            return [r for r in rig.board.of_kind(StartTaskReport) if r.state == "completed"]

        rig.until(ends, "its end is reported")
        assert (ends()[0].exit_code, ends()[0].retries) == (7, 1)
        assert ends()[0].failure.code == "FailureExitCode"
        assert len(ends()) == 1

    def test_a_node_told_to_leave_ends_by_itself(self, rig: Rig):
        start(rig, "one", "two")
        rig.board.send_runs("one", {1: LONG})
        rig.until(lambda: rig.running("one") == 1, "the run is at work")
        rig.board.send("one", Leave("the pool shrinks"))
        rig.until(lambda: rig.told, "the end is told")
        assert rig.running("one") == 0
        assert states(rig) == {"one": False, "two": True}
        rig.engine.stop_nodes(["one"])
        assert states(rig) == {"two": True}
