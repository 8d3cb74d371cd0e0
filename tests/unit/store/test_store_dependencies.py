"""What tasks wait for, against a plain model, and what it costs when what they wait for goes."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.store_suite import NOW_US, a_job, a_task, an_end
from lote.store import dependencies, jobs, tasks
from lote.store.database import open_writer
from lote.store.invariants import check_invariants
from lote.store.records import BLOCKED, READY

ABOUT_NUMBERS = ("requirements", "numbers", "a number", "is waited for")
_ids = itertools.count(1)


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    made = open_writer(tmp_path_factory.mktemp("dependencies") / "account.db")
    yield made
    made.close()


class Job:
    """A job with tasks in the database, and what should be so of them in sets."""

    def __init__(self, db):
        self.db = db
        self.key = jobs.add_job(db, a_job(f"j{next(_ids)}"))
        self._keys = iter(range(tasks.reserve_task_keys(db), 10**9))
        self.parents = {}  # id: key, of those that completed
        self.open = {}  # key of a child: the numbers that each of its ranges waits for, and ids

    @property
    def satisfied(self):
        return {int(task_id) for task_id, (_, satisfies) in self.parents.items() if satisfies}

    def add_child(self, ranges, ids=()):
        key = next(self._keys)
        tasks.add_tasks(self.db, [a_task(key, f"child{key}", job_key=self.key)])
        waiting = dependencies.add_dependencies(self.db, self.key, key, ids, ranges)
        if waiting:
            tasks.block_task(self.db, key, waiting)
        done = {task_id for task_id, (_, satisfies) in self.parents.items() if satisfies}
        wanted = [set(range(first, last + 1)) - self.satisfied for first, last in ranges]
        self.open[key] = [*wanted, set(ids) - done]
        return key

    def end_parent(self, task_id, *, satisfies=True):
        if task_id in self.parents:
            return
        key = next(self._keys)
        tasks.add_tasks(self.db, [a_task(key, task_id, job_key=self.key)])
        tasks.end_tasks(self.db, [an_end(key, result=int(satisfies))])
        self._parent_ended(task_id, key, satisfies)

    def _parent_ended(self, task_id, key, satisfies):
        is_news = int(task_id) not in self.satisfied
        self.parents[task_id] = (key, satisfies)
        if not satisfies:
            return
        blocked = {one for one, wanted in self.open.items() if any(wanted)}
        for wanted in self.open.values():
            wanted[-1].discard(task_id)
            for numbers in wanted[:-1] if is_news else ():
                numbers.discard(int(task_id))
        freed = sorted(one for one in blocked if not any(self.open[one]))
        assert dependencies.satisfy(self.db, self.key, key, task_id) == freed

    def run_again(self, task_id, *, satisfies=True):
        """Reactivate, and end anew."""
        if task_id not in self.parents:
            return
        key, _ = self.parents.pop(task_id)
        dependencies.forget_parent(self.db, self.key, key, task_id)
        tasks.reactivate_task(self.db, key, READY, NOW_US, NOW_US)
        self.check()
        tasks.end_tasks(self.db, [an_end(key, result=int(satisfies))])
        self._parent_ended(task_id, key, satisfies)

    def delete_parent(self, task_id):
        if task_id not in self.parents:
            return
        key, _ = self.parents.pop(task_id)
        dependencies.forget_parent(self.db, self.key, key, task_id)
        tasks.delete_task(self.db, key)

    def delete_child(self, which):
        if self.open:
            key = sorted(self.open)[which % len(self.open)]
            tasks.delete_task(self.db, key)
            del self.open[key]

    def check(self):
        for key, wanted in self.open.items():
            found = tasks.get_task_by_key(self.db, key)
            count = sum(map(len, wanted))
            assert (found.waiting, found.phase) == (count, BLOCKED if count else READY)
            failed = {one for one, (_, satisfies) in self.parents.items() if not satisfies}
            blocking = {one for one in failed if any(int(one) in some for some in wanted[:-1])}
            blocking |= failed & wanted[-1]
            assert set(dependencies.list_blocking(self.db, self.key, key, 99)) == blocking


PARENT = st.sampled_from(["0", "1", "2", "3", "03", "4", "004"])
RANGES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=3)
STEP = st.one_of(
    st.tuples(st.just("add_child"), RANGES, st.lists(PARENT, max_size=2, unique=True)),
    st.tuples(st.just("end_parent"), PARENT, st.booleans()),
    st.tuples(st.just("end_parent"), PARENT, st.just(True)),
    st.tuples(st.just("run_again"), PARENT, st.booleans()),
    st.tuples(st.just("delete_parent"), PARENT),
    st.tuples(st.just("delete_child"), st.integers(0, 9)),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEP, max_size=40))
def test_numbers_are_had_once_whatever_comes_and_goes(db, steps):
    job = Job(db)
    for name, *given_ in steps:
        if name in ("end_parent", "run_again"):
            getattr(job, name)(given_[0], satisfies=given_[1])
        else:
            getattr(job, name)(*given_)
        job.check()
    found = [one for one in check_invariants(db) if any(part in one for part in ABOUT_NUMBERS)]
    assert found == []
    while tasks.delete_some_tasks(db, job.key, 100):
        pass
    jobs.delete_job(db, job.key)
    for table in ("dependency", "dependency_range", "satisfied_number", "forgotten_number"):
        assert count_rows(job, table) == 0


def count_rows(job, table):
    query = f"SELECT count(*) FROM {table} WHERE job_key = ?"
    return job.db.execute(query, (job.key,)).fetchone()[0]


def test_what_goes_while_it_is_waited_for_leaves_a_range_in_one_piece(db):
    job = Job(db)
    child = job.add_child([(1, 200)])
    numbers = list(range(1, 200))
    random.Random(7).shuffle(numbers)
    for number in numbers:
        job.end_parent(str(number))
        job.delete_parent(str(number))
    assert count_rows(job, "dependency_range") == 1
    assert dependencies.list_awaited(db, child, 5) == ["1-200"]
    job.check()
    job.end_parent("200")
    job.check()
    assert (count_rows(job, "dependency_range"), count_rows(job, "forgotten_number")) == (0, 0)
    job.delete_parent("200")
    assert count_rows(job, "forgotten_number") == 0  # nobody waits for it


def test_what_is_forgotten_is_kept_for_others_that_wait(db):
    job = Job(db)
    job.add_child([(1, 2)])
    other = job.add_child([(2, 3)])
    job.end_parent("2")
    job.delete_parent("2")
    job.end_parent("1")
    assert count_rows(job, "forgotten_number") == 1
    job.end_parent("2")  # the other has had it
    job.check()
    job.end_parent("3")
    assert tasks.get_task_by_key(db, other).phase == READY
    assert count_rows(job, "forgotten_number") == 0


def test_who_has_had_a_number_does_not_wait_for_the_next_task_of_it(db):
    job = Job(db)
    before = job.add_child([(1, 2)])
    job.end_parent("2")
    job.delete_parent("2")
    after = job.add_child([(1, 2)])
    job.end_parent("2", satisfies=False)
    blocking = {key: dependencies.list_blocking(db, job.key, key, 9) for key in (before, after)}
    assert blocking == {before: [], after: ["2"]}
    job.check()
