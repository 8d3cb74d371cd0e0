"""Every reason has a case in which it is given."""

from __future__ import annotations

import pytest

from lote.scheduler import reasons
from lote.scheduler.explain import explain
from lote.scheduler.plan import Reason
from lote.scheduler.view import ReadyTask, View

POOL, JOB, NODE = 1, 10, 5
TASK = ReadyTask(100)


def a_view(*, nodes: int = 1, slots: int = 2, **job: object) -> View:
    view = View()
    view.add_pool(POOL, slots_per_node=slots)
    for number in range(nodes):
        view.add_node(NODE + number, POOL, slots)
    view.add_job(JOB, POOL, created_us=0, **job)  # type: ignore[arg-type]
    view.push_ready(JOB, [TASK], more=False)
    return view


def codes(view: View, task: ReadyTask | None = None, **known: bool) -> list[str]:
    return [reason.code for reason in explain(view, POOL, JOB, task, **known)]


def test_reasons_have_codes_of_their_own_and_a_sentence() -> None:
    rows = [row for row in vars(reasons).values() if isinstance(row, Reason)]
    assert len({row.code for row in rows}) == len(rows) > 15
    assert all(row.text.endswith(".") for row in rows)


def test_nothing_against_it() -> None:
    assert codes(a_view()) == ["turn_to_come"]


def test_dependencies_come_from_the_caller() -> None:
    assert codes(a_view(), depends=True) == ["waiting_for_dependencies"]
    assert codes(a_view(), blocked=True, depends=True) == ["blocked"]


def test_pool_and_job() -> None:
    view = a_view()
    assert explain(view, 99, JOB, None) == [reasons.POOL_MISSING]
    assert explain(view, POOL, 99, None) == [reasons.JOB_MISSING]
    assert codes(a_view(active=False)) == ["job_disabled"]
    assert codes(a_view(max_parallel=0)) == ["job_at_max_parallel"]


def test_nodes() -> None:
    assert codes(a_view(nodes=0)) == ["no_nodes"]
    view = a_view()
    view.set_node(NODE, eligible=False)
    assert codes(view) == ["node_not_ready"]
    assert codes(a_view(), ReadyTask(101, slots=3)) == ["needs_more_slots_than_any_node"]
    view = a_view()
    view.bar(JOB, NODE)
    assert codes(view) == ["preparation_failed_on_nodes"]


def test_dedicated() -> None:
    view = a_view(nodes=0)
    view.add_node(NODE, POOL, 1, dedicated=False)
    assert codes(view, ReadyTask(101, dedicated_only=True)) == ["needs_dedicated_node"]


@pytest.mark.parametrize(("taken", "code"), [(2, "all_slots_busy"), (1, "needs_more")])
def test_slots(taken: int, code: str) -> None:
    view = a_view()
    view.occupy(NODE, JOB, 1, taken)
    assert codes(view, ReadyTask(101, slots=2))[0].startswith(code)


def test_a_higher_priority_goes_first() -> None:
    view = a_view()
    view.occupy(NODE, JOB, 1, 2)
    view.add_job(JOB + 1, POOL, created_us=0, priority=1)
    view.push_ready(JOB + 1, [ReadyTask(200)], more=False)
    assert codes(view) == ["all_slots_busy", "higher_priority_first"]


def test_earlier_tasks_and_empty_windows() -> None:
    view = a_view()
    assert codes(view, ReadyTask(101)) == ["earlier_tasks_first"]
    view.drop_ready(JOB, TASK.key)
    assert codes(view) == ["no_ready_tasks"]
    view.push_ready(JOB, [], more=True)
    assert codes(view) == ["turn_to_come"]
