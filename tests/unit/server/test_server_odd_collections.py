"""Collections and ranges that few would send: thousands, the same ids again, children first."""

from __future__ import annotations

import pytest
from bench import a_task, depends_on


@pytest.fixture
def linked(bench):
    bench.add_pool(nodes=4, slots=16)
    bench.add_job(usesTaskDependencies=True)
    return bench


def collect(bench, *tasks):
    """What became of each: the code of its error, or success."""
    body = {"value": list(tasks)}
    shown = bench.ask("create_task_collection", body, job_id="j")["value"]
    return [(one["taskId"], one.get("error", {}).get("code", one["status"])) for one in shown]


def numbered(bench, count):
    for start in range(0, count, 100):
        numbers = range(start, min(start + 100, count))
        collect(bench, *[a_task(str(number), seconds=0.01) for number in numbers])


def test_the_first_that_is_right_has_the_id(linked):
    found = collect(
        linked,
        a_task("a", slots=0),
        a_task("a", seconds=1),
        a_task("A", seconds=50),
        a_task("b", seconds=50) | depends_on("nobody"),
        a_task("b", seconds=1),
    )
    assert found == [
        ("a", "InvalidPropertyValue"),
        ("a", "success"),
        ("A", "TaskExists"),
        ("b", "success"),
        ("b", "TaskExists"),
    ]
    linked.advance(3)
    assert linked.task_states() == {"a": "completed", "b": "active"}
    linked.check()


def test_who_is_refused_waits_for_nobody(linked):
    """What a refused entry depends on is not added to the task that has its id."""
    collect(linked, a_task("t", seconds=1), a_task("T", seconds=1) | depends_on("nobody"))
    linked.advance(3)
    assert linked.task_states() == {"t": "completed"}
    linked.check()


def test_children_may_come_before_their_parents(linked):
    collect(
        linked,
        a_task("last", seconds=1) | depends_on("middle"),
        a_task("middle", seconds=1) | depends_on("FIRST", ranges=[(7, 7)]),
        a_task("first", seconds=1),
        a_task("007", seconds=1),
        a_task("circle", seconds=1) | depends_on("ring"),
        a_task("ring", seconds=1) | depends_on("circle"),
        a_task("self", seconds=1) | depends_on("self"),
    )
    linked.advance(5)
    waits = {name for name, state in linked.task_states().items() if state != "completed"}
    assert waits == {"circle", "ring", "self"}
    linked.check()


def test_an_id_with_zeros_is_another_id(linked):
    """Only ranges take it for the number."""
    collect(
        linked,
        a_task("7", seconds=1),
        a_task("07", seconds=20),
        a_task("by-id", seconds=1) | depends_on("07"),
        a_task("by-range", seconds=1) | depends_on(ranges=[(7, 7)]),
    )
    linked.advance(3)
    states = linked.task_states()
    assert (states["by-range"], states["by-id"]) == ("completed", "active")
    linked.advance(20)
    assert linked.task_states()["by-id"] == "completed"
    linked.check()


def test_a_range_of_thousands(linked):
    linked.add_task("sum", seconds=1, **depends_on(ranges=[(0, 1499), (1000, 1999)]))
    numbered(linked, 1999)
    linked.advance(10)
    assert linked.task("sum")["state"] == "active"
    linked.add_task("1999", seconds=0)
    linked.advance(2)
    assert linked.task("sum")["state"] == "completed"
    assert linked.counts()["succeeded"] == 2001
    linked.check()


def test_members_of_a_range_may_go_when_they_are_done(linked):
    """Each has counted, though it is there no more when the last one ends."""
    linked.add_task("sum", seconds=1, **depends_on(ranges=[(0, 400)]))
    numbered(linked, 400)
    linked.advance(5)
    for number in (*range(0, 400, 2), *range(1, 400, 2)):
        linked.ask("delete_task", job_id="j", task_id=str(number), settled=False)
    linked.check()
    rows = linked.reader.execute("SELECT first, last FROM dependency_range").fetchall()
    assert rows == [(0, 400)]  # in one piece
    linked.restart()
    numbered(linked, 3)  # they have been had
    linked.advance(2)
    assert linked.task("sum")["state"] == "active"
    linked.add_task("400", seconds=0)
    linked.advance(2)
    assert linked.task("sum")["state"] == "completed"
    linked.check()
