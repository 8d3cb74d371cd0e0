"""The fake engine: fates of nodes, the stepped clock, callers on many threads."""

from __future__ import annotations

import threading
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.switchboard import (
    JOB,
    START_US,
    Switchboard,
    Wire,
    acknowledge,
    order,
    run,
    runs,
    setup,
)
from lote.engines.fake import FakeEngine
from lote.engines.script import NodeFate, Outcome, Script
from lote.engines.seam import EngineError
from lote.wire.frames import Ack, AgentFrame, Ended, Hello, Kill, Report, Returned, Revoke, Runs
from lote.world import SteppedWorld

S = 1_000_000


def engine_with(script: Script | None = None) -> tuple[FakeEngine, Switchboard, list[str]]:
    board = Switchboard()
    board.on_frame = acknowledge
    engine = FakeEngine(board, SteppedWorld(), script)
    told: list[str] = []
    engine.watch = lambda node_id, why: told.append(node_id)
    return engine, board, told


def test_nodes_start_when_the_script_says():
    starts = iter([3.0, 1.0, None])
    engine, board, told = engine_with(Script(fate=lambda order: NodeFate(next(starts))))
    engine.start_nodes([order("slow"), order("quick"), order("never")])
    assert board.wires == []
    engine.advance_to(START_US + 1 * S)
    assert [w.node_id for w in board.wires] == ["quick"]
    engine.advance_to(START_US + 100 * S)
    assert [w.node_id for w in board.wires] == ["quick", "slow"]
    assert all(n.alive for n in engine.list_nodes()), "one that never calls is not dead"
    assert told == []
    assert engine.next_due_us is None


def test_nodes_die_when_the_script_says():
    engine, board, told = engine_with(Script(fate=lambda order: NodeFate(1, dies_after_s=5)))
    engine.start_nodes([order()])
    engine.advance_to(START_US + 2 * S)
    board.wires[0].send(runs(run(1, "sleep 60")))
    engine.advance_to(START_US + 5 * S)
    assert told == ["one"]
    assert not board.wires[0].open
    (node,) = engine.list_nodes()
    assert (node.alive, node.detail) == (False, "died after 5 s, as scripted")
    engine.advance_to(START_US + 100 * S)
    assert told == ["one"]
    assert board.wires[0].ends() == []


def test_a_stopped_node_does_not_die_again():
    engine, board, told = engine_with(Script(fate=lambda order: NodeFate(0, dies_after_s=5)))
    engine.start_nodes([order()])
    engine.stop_nodes(["one"])
    engine.start_nodes([order()])
    engine.advance_to(START_US + 4 * S)
    assert told == []
    assert len(board.wires) == 2


def test_the_clock_stops_at_each_moment_on_the_way():
    engine, board, _ = engine_with()
    moments: list[int] = []

    def give_the_next(wire: Wire, frame: AgentFrame) -> None:
        acknowledge(wire, frame)
        if isinstance(frame, Report) and isinstance(frame.entries[0], Ended):
            moments.append(engine.now_us() - START_US)
            if len(moments) < 4:
                wire.send(runs(run(len(moments) + 1, "sleep 2")))

    board.on_frame = give_the_next
    engine.start_nodes([order()])
    board.wires[0].send(runs(run(1, "sleep 2")))
    engine.advance_to(START_US + 60 * S)
    assert moments == [2 * S, 4 * S, 6 * S, 8 * S]
    assert engine.now_us() == START_US + 60 * S


def test_time_that_was_advanced_by_others_is_caught_up_with():
    board = Switchboard()
    board.on_frame = acknowledge
    world = SteppedWorld()
    engine = FakeEngine(board, world, Script(fate=lambda order: NodeFate(1)))
    engine.start_nodes([order()])
    world.advance(5)
    engine.advance_to(START_US)
    assert len(board.wires) == 1
    assert world.now_us() == START_US + 5 * S


def test_watch_may_call_the_engine():
    engine, board, _ = engine_with()

    def replace(node_id: str, why: str) -> None:
        engine.stop_nodes([node_id])
        engine.start_nodes([order(node_id + "+")])

    engine.watch = replace
    engine.start_nodes([order("a"), order("b")])
    engine.kill_node("a")
    assert {n.node_id for n in engine.list_nodes()} == {"b", "a+"}
    assert [w.node_id for w in board.wires] == ["a", "b", "a+"]


def test_a_node_ordered_while_the_server_is_away_calls_the_next_one():
    engine, board, _ = engine_with(Script(fate=lambda order: NodeFate(3)))
    engine.start_nodes([order()])
    engine.close(leave_nodes=True)
    engine.advance_to(START_US + 5 * S)
    assert board.wires == []
    with pytest.raises(EngineError):
        engine.start_nodes([order("two")])
    engine.attach(board)
    assert [w.node_id for w in board.wires] == ["one"]


def test_a_server_that_answers_from_inside_does_not_pile_up_the_stack():
    engine, board, _ = engine_with()
    left = iter(range(20_000))

    def feed(wire: Wire, frame: AgentFrame) -> None:
        acknowledge(wire, frame)
        key = next(left, None)
        if key is not None:
            wire.send(runs(run(key)))

    board.on_frame = feed
    engine.start_nodes([order()])
    assert len(board.wires[0].ends()) == 20_000


def test_callers_on_many_threads_lose_nothing():
    engine, board, _ = engine_with()
    engine.start_nodes([order(f"n{i}") for i in range(8)])

    def feed(wire: Wire) -> None:
        base = int(wire.node_id[1:]) * 1000
        for key in range(base, base + 300):
            wire.send(runs(run(key, "sleep 0.01" if key % 2 else "true")))

    def step() -> None:
        while feeding.is_set():
            engine.advance_to(engine.now_us() + 1000)

    feeding = threading.Event()
    feeding.set()
    stepper = threading.Thread(target=step)
    feeders = [threading.Thread(target=feed, args=[wire]) for wire in board.wires]
    for thread in [stepper, *feeders]:
        thread.start()
    for thread in feeders:
        thread.join()
    feeding.clear()
    stepper.join()
    engine.advance_to(engine.now_us() + 60 * S)
    for wire in board.wires:
        base = int(wire.node_id[1:]) * 1000
        assert sorted(wire.ends()) == list(range(base, base + 300))


class Ledger:
    """Counts a node's runs from the outside and checks what it says of them."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.sent: set[int] = set()
        self.over: Counter[int] = Counter()
        self.board = Switchboard()
        self.board.on_frame = self.take
        script = Script(outcome=lambda task, retries: Outcome(len(task.id) % 4, retries % 2))
        self.engine = FakeEngine(self.board, SteppedWorld(), script)
        self.engine.start_nodes([order()])

    @property
    def wire(self) -> Wire:
        return self.board.wires[-1]

    def take(self, wire: Wire, frame: AgentFrame) -> None:
        if isinstance(frame, Hello):
            wire.send(setup(self.slots, confirmed=[(h.key, h.run) for h in frame.held]), JOB)
        elif isinstance(frame, Report):
            self.over.update(e.key for e in frame.entries if isinstance(e, Ended | Returned))
            wire.send(Ack(frame.seq, []))

    def act(self, verb: str, amount: int) -> None:
        keys = [(key, 1) for key in range(amount, len(self.sent), 3)]
        if verb == "runs":
            new = range(len(self.sent), len(self.sent) + amount)
            self.sent |= set(new)
            self.wire.send(Runs([run(k, id="x" * k, requiredSlots=1 + k % 2) for k in new]))
        elif verb == "revoke":
            self.wire.send(Revoke(keys))
        elif verb == "kill":
            self.wire.send(Kill(keys))
        elif verb == "reconnect":
            self.engine.cut("one")
            self.engine.advance_to(self.engine.now_us() + amount * S)
            self.engine.mend("one")
        else:
            self.engine.advance_to(self.engine.now_us() + amount * S)


@given(
    st.integers(2, 4),
    st.lists(
        st.tuples(
            st.sampled_from(["runs", "revoke", "kill", "advance", "reconnect"]),
            st.integers(0, 9),
        ),
        max_size=30,
    ),
)
def test_every_run_is_over_exactly_once(slots: int, acts: list[tuple[str, int]]):
    ledger = Ledger(slots)
    for verb, amount in acts:
        ledger.act(verb, amount)
        assert ledger.engine.count_running("one") <= slots
        assert max(ledger.over.values(), default=1) == 1
    ledger.engine.advance_to(ledger.engine.now_us() + 10_000 * S)
    assert set(ledger.over) == ledger.sent
