"""Every state table: nothing unreachable, nothing stuck, and what the picture shows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.domain.job import JOB
from lote.domain.job_schedule import JOB_SCHEDULE
from lote.domain.machine import Machine, Move, WrongState
from lote.domain.node import FILE_SERVABLE, LOST, NODE, RETURN_EVENTS, SCHEDULABLE, is_schedulable
from lote.domain.pool import ALLOCATION, POOL
from lote.domain.task import TASK
from lote.store.records import STATE_OF_PHASE

MACHINES = (POOL, ALLOCATION, NODE, JOB, TASK, JOB_SCHEDULE)


def reachable(machine: Machine, start: str) -> set[str]:
    seen, todo = {start}, [start]
    while todo:
        state = todo.pop()
        for event in machine.events:
            if machine.allows(state, event) and (after := machine.after(state, event)) not in seen:
                seen.add(after)
                todo.append(after)
    return seen


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_every_state_is_reachable(machine: Machine) -> None:
    assert reachable(machine, machine.initial) == set(machine.states)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_every_state_can_end(machine: Machine) -> None:
    for state in machine.states:
        assert reachable(machine, state) & machine.final, state


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_rule_and_guard_agree(machine: Machine) -> None:
    for event in machine.events:
        sources = machine.sources(event)
        assert len(sources) == len(set(sources))
        for state in machine.states:
            assert machine.allows(state, event) == (state in sources)
            if state not in sources:
                with pytest.raises(WrongState, match=event):
                    machine.after(state, event)


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_picture_has_every_edge_once(machine: Machine) -> None:
    lines = machine.mermaid().splitlines()
    edges = [line for line in lines if ": " in line]
    assert lines[0] == "stateDiagram-v2"
    assert len(edges) == len(set(edges)) == sum(len(move.sources) for move in machine.moves)
    for move in machine.moves:
        for source in move.sources:
            assert f"    {source} --> {move.target}: {move.event}" in edges


@given(machine=st.sampled_from(MACHINES), draws=st.lists(st.integers(0, 99), max_size=40))
def test_any_walk_stays_inside(machine: Machine, draws: list[int]) -> None:
    state = machine.initial
    for draw in draws:
        events = [event for event in machine.events if machine.allows(state, event)]
        if not events:
            assert state in machine.final
            return
        state = machine.after(state, events[draw % len(events)])
        assert state in machine.states


def test_two_rows_for_one_edge_are_refused() -> None:
    with pytest.raises(ValueError, match="two rows"):
        Machine("odd", "a", [Move("go", ("a",), "b"), Move("go", ("a",), "c")], {"b"})


def test_edges_of_a_task_are_explicit() -> None:
    assert TASK.after("active", "terminate") == "completed"
    assert TASK.after("preparing", "fail_preparation") == "active"
    assert TASK.after("completed", "reactivate") == "active"
    assert TASK.after("running", "requeue") == "active"
    assert not TASK.allows("completed", "terminate")
    assert not TASK.allows("active", "retry")


def test_every_state_of_a_task_has_its_phases_in_the_store() -> None:
    assert set(STATE_OF_PHASE) == set(TASK.states)


def test_disabling_twice_is_harmless() -> None:
    for machine, state in ((JOB, "disabled"), (JOB, "disabling"), (JOB_SCHEDULE, "disabled")):
        assert machine.after(state, "disable") == state


def test_sets_of_node_states_name_real_states() -> None:
    assert set(NODE.states) >= LOST | FILE_SERVABLE | SCHEDULABLE
    assert not LOST & SCHEDULABLE
    assert SCHEDULABLE <= FILE_SERVABLE


def test_a_node_returns_to_what_it_was() -> None:
    for state, event in RETURN_EVENTS.items():
        assert NODE.after(NODE.after(state, "lose_contact"), event) == state
    assert set(NODE.sources("lose_contact")) == set(RETURN_EVENTS)


def test_a_node_may_leave_from_anywhere() -> None:
    assert set(NODE.sources("leave")) == set(NODE.states) - {"leavingpool"}


def test_only_ready_and_enabled_nodes_take_tasks() -> None:
    taking = {state for state in NODE.states if is_schedulable(state, True)}
    assert taking == {"idle", "running"}
    assert not any(is_schedulable(state, False) for state in NODE.states)
