"""What tasks used, and its sums, where some of it is told late and some of it never."""

from __future__ import annotations

import pytest

from conformance.store_suite import NOW_US, a_job, a_task, an_end
from lote.store import database, jobs, statistics, tasks
from lote.store.database import open_writer
from lote.store.records import READY, RUNNING
from lote.store.statistics import Use

ON_A_NODE = 1
MORE = (None, 10, 20, 30, 40)


@pytest.fixture
def db(tmp_path):
    made = open_writer(tmp_path / "account.db")
    jobs.add_job(made, a_job())
    yield made
    made.close()


def end_unmeasured(key: int) -> tuple[object, ...]:
    return (*an_end(key)[:11], *(None,) * 5, key)


def begin(db, *keys: int) -> None:
    tasks.add_tasks(db, [a_task(key, f"t{key}") for key in keys])
    for key in keys:
        tasks.place_tasks(db, [(ON_A_NODE, key)])
        tasks.start_tasks(db, [(NOW_US, NOW_US, 0, None, key, 1)])


def measured(use: Use) -> tuple[int | None, ...]:
    return use.wall_us, use.user_us, use.kernel_us, use.read_blocks, use.write_blocks


def of_task(db, key: int) -> tuple[int | None, ...]:
    return measured(statistics.tasks_use(db, [key])[key])


def of_job(db) -> tuple[int | None, ...]:
    return measured(statistics.jobs_use(db, [1])[1])


def test_what_nobody_measured_is_not_zero(db):
    begin(db, 1, 2)
    tasks.end_tasks(db, [end_unmeasured(1)])
    unknown = (2, None, None, None, None)
    assert (of_task(db, 1), of_job(db)) == (unknown, unknown)
    assert measured(statistics.account_use(db)) == unknown
    tasks.end_tasks(db, [an_end(2)])
    assert of_job(db) == (4, 1, 1, 8, 16)
    assert measured(statistics.account_use(db)) == (4, 1, 1, 8, 16)


def test_what_never_ran_used_nothing(db):
    tasks.add_tasks(db, [a_task(1, "t")])
    waited = (READY, NOW_US, NOW_US, None, NOW_US, None, 0, "{}", *(None,) * 8, 1)
    tasks.end_tasks(db, [waited])
    assert (of_task(db, 1), of_job(db)) == ((0,) * 5, (0,) * 5)
    assert measured(statistics.schedule_use(db, 7)) == (0,) * 5


def test_what_is_told_after_the_end_is_added_to_task_and_job(db):
    begin(db, 1)
    tasks.end_tasks(db, [end_unmeasured(1)])
    statistics.add_task_use(db, 1, 1, MORE)
    assert (of_task(db, 1), of_job(db)) == ((2, *MORE[1:]), (2, *MORE[1:]))
    statistics.add_task_use(db, 1, 1, (None,) * 5)
    statistics.add_task_use(db, 1, 1, MORE)
    assert (of_task(db, 1), of_job(db)) == ((2, 20, 40, 60, 80), (2, 20, 40, 60, 80))
    statistics.add_task_use(db, 1, 2, MORE)  # another run
    statistics.add_task_use(db, 9, 1, MORE)  # no such task
    assert of_job(db) == (2, 20, 40, 60, 80)


def test_what_is_told_before_the_end_is_in_it(db):
    begin(db, 1)
    statistics.add_task_use(db, 1, 1, (7, *MORE[1:]))
    assert statistics.jobs_use(db, [1]) == {}
    tasks.requeue_tasks(db, [(NOW_US, 0, 0, None, 1)])
    tasks.place_tasks(db, [(ON_A_NODE, 1)])
    tasks.end_tasks(db, [an_end(1)])
    assert (of_task(db, 1), of_job(db)) == ((9, 11, 21, 38, 56), (9, 11, 21, 38, 56))


def test_a_reactivated_task_begins_anew_and_its_job_keeps_what_it_used(db):
    begin(db, 1)
    tasks.end_tasks(db, [an_end(1)])
    tasks.reactivate_task(db, 1, READY, NOW_US, NOW_US)
    tasks.place_tasks(db, [(ON_A_NODE, 1)])
    tasks.end_tasks(db, [(RUNNING, *an_end(1)[1:])])
    assert of_task(db, 1) == (2, 1, 1, 8, 16)
    assert of_job(db) == (4, 2, 2, 16, 32)


def test_sums_of_an_older_database_are_kept(tmp_path, monkeypatch):
    before = database.MIGRATIONS.index("0016_unmeasured.sql")
    with monkeypatch.context() as patch:
        patch.setattr(database, "MIGRATIONS", database.MIGRATIONS[:before])
        old = open_writer(tmp_path / "old.db")
        old.execute("INSERT INTO job_use VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)")
        old.execute("INSERT INTO past_use VALUES (0, 1, 20, 30, 40, 50, 60, 70, 80, 90, 100)")
        old.close()
    made = open_writer(tmp_path / "old.db")
    assert statistics.jobs_use(made, [1]) == {1: Use(2, 3, 4, 5, 6, 7, 8, 9, 10)}
    assert statistics.account_use(made) == Use(22, 33, 44, 55, 66, 77, 88, 99, 110)
    made.close()
