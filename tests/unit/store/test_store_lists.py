"""A filter in SQL finds what the wire's own evaluation of it finds, whatever the rows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.store_suite import a_job, a_pool, a_task
from lote.store import jobs, lists, pools, tasks
from lote.store.database import open_writer
from lote.store.records import STATE_OF_PHASE, JobRecord, PoolRecord, TaskRecord
from lote.wire.filters import FILTERS
from lote.wire.odata import (
    FILTER_CHARS_MAX,
    And,
    Compare,
    Not,
    Or,
    StartsWith,
    evaluate,
    parse_filter,
)

# Few values, so that they meet; those that LIKE and NOCASE treat in ways of their own among them.
LETTERS = "aAbB_%\\-1[`"
WORDS = st.text(LETTERS, max_size=3)
NAMES = st.text(LETTERS, min_size=1, max_size=4)
TIMES = st.integers(0, 3)
STATES = {
    "pools": ["active", "deleting", "Active"],
    "jobs": ["active", "Disabled", "completed"],
    "tasks": ["active", "Running", "preparing", "completed", "odd"],
}
SPECIAL = {
    "executionInfo/result": st.sampled_from(["success", "Failure", "odd"]),
    "allocationState": st.sampled_from(["steady", "RESIZING"]),
}
KINDS = {
    "string": WORDS,
    "int": st.integers(-2, 2),
    "bool": st.booleans(),
    "time": TIMES,
}


def filters(noun):
    """Trees over the properties of a list."""

    def leaf(name):
        rule = FILTERS[noun][name]
        values = KINDS[rule.kind]
        if name == "state":
            values = st.sampled_from(STATES[noun])
        values = SPECIAL.get(name, values)
        compares = st.builds(
            Compare, st.just(rule.prop), st.sampled_from(sorted(rule.ops - {"startswith"})), values
        )
        if "startswith" not in rule.ops:
            return compares
        return compares | st.builds(StartsWith, st.just(rule.prop), WORDS)

    leaves = st.sampled_from(sorted(FILTERS[noun])).flatmap(leaf)
    return st.recursive(
        leaves,
        lambda deeper: st.one_of(
            st.lists(deeper, min_size=2, max_size=3).map(lambda items: And(tuple(items))),
            st.lists(deeper, min_size=2, max_size=3).map(lambda items: Or(tuple(items))),
            deeper.map(Not),
        ),
        max_leaves=6,
    )


def of_task(task: TaskRecord):
    return {
        "id": task.id,
        "state": STATE_OF_PHASE[task.phase],
        "stateTransitionTime": task.state_us,
        "creationTime": task.created_us,
        "lastModified": task.modified_us,
        "executionInfo/startTime": task.start_us,
        "executionInfo/endTime": task.end_us,
        "executionInfo/exitCode": task.exit_code,
        "executionInfo/result": None
        if task.result is None
        else ["failure", "success"][task.result],
    }.get


def of_job(job: JobRecord):
    return {
        "id": job.id,
        "state": job.state,
        "stateTransitionTime": job.state_us,
        "creationTime": job.created_us,
        "lastModified": job.modified_us,
        "executionInfo/startTime": job.start_us,
        "executionInfo/endTime": job.end_us,
        "executionInfo/poolId": job.pool_id,
    }.get


def of_pool(pool: PoolRecord):
    return {
        "id": pool.id,
        "state": pool.state,
        "stateTransitionTime": pool.state_us,
        "creationTime": pool.created_us,
        "lastModified": pool.modified_us,
        "allocationState": pool.allocation_state,
        "allocationStateTransitionTime": pool.allocation_us,
        "enableAutoScale": bool(pool.enable_auto_scale),
        "vmSize": pool.vm_size,
        "enableInterNodeCommunication": bool(pool.inter_node),
    }.get


def unique_by_id(row):
    return row["id"].lower()


TASK_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": NAMES,
            "phase": st.integers(0, 5),
            "state_us": TIMES,
            "created_us": TIMES,
            "modified_us": TIMES,
            "start_us": st.none() | TIMES,
            "end_us": st.none() | TIMES,
            "exit_code": st.none() | st.integers(-2, 2),
            "result": st.none() | st.integers(0, 1),
        }
    ),
    unique_by=unique_by_id,
    max_size=12,
)
JOB_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": NAMES,
            "state": st.sampled_from(["active", "disabled", "completed"]),
            "state_us": TIMES,
            "modified_us": TIMES,
            "start_us": TIMES,
            "end_us": st.none() | TIMES,
            "pool_id": st.none() | NAMES,
        }
    ),
    unique_by=unique_by_id,
    max_size=12,
)
POOL_ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": NAMES,
            "state": st.sampled_from(["active", "deleting"]),
            "allocation_state": st.sampled_from(["steady", "resizing"]),
            "allocation_us": TIMES,
            "created_us": TIMES,
            "vm_size": NAMES,
            "enable_auto_scale": st.integers(0, 1),
            "inter_node": st.integers(0, 1),
        }
    ),
    unique_by=unique_by_id,
    max_size=12,
)


@pytest.fixture(scope="module")
def db():
    connection = open_writer(Path(":memory:"))
    yield connection
    connection.close()


def walk(listing, where):
    """The ids of all pages of three."""
    ids = []
    after = None
    while True:
        page = listing(lists.Page(after, 3, where))
        ids += [record.id for record in page[:3]]
        if len(page) <= 3:
            return ids
        after = page[2].id


def walk_short(listing, where):
    """The ids of all pages of three, however short the pages are."""
    ids = []
    after = None
    while True:
        page, after = listing(lists.Page(after, 3, where))
        assert len(page) <= 3
        ids += [record.id for record in page]
        if after is None:
            return ids


def expected(records, where, getter_of):
    return [one.id for one in records if evaluate(where, getter_of(one))]


@given(TASK_ROWS, filters("tasks"))
def test_tasks(db, rows, where):
    db.execute("BEGIN")
    for key, row in enumerate(rows, 1):
        tasks.add_tasks(db, [a_task(key, row["id"])])
        sets = ", ".join(f"{name} = ?" for name in row)
        db.execute(f"UPDATE task SET {sets} WHERE key = ?", (*row.values(), key))
    records = sorted(
        tasks.get_tasks_by_key(db, range(1, len(rows) + 1)), key=lambda one: one.id.lower()
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "SCAN_MAX", 2)  # so that pages end before their lists do
        found = walk_short(lambda page: lists.list_tasks(db, 1, page), where)
    db.execute("ROLLBACK")
    assert found == expected(records, where, of_task)


@given(JOB_ROWS, filters("jobs"))
def test_jobs(db, rows, where):
    db.execute("BEGIN")
    records = [a_job(row["id"], **row) for row in rows]
    for record in records:
        jobs.add_job(db, record)
    records.sort(key=lambda one: one.id.lower())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "SCAN_MAX", 2)
        found = walk_short(lambda page: lists.list_jobs(db, page), where)
    db.execute("ROLLBACK")
    assert found == expected(records, where, of_job)


@given(POOL_ROWS, filters("pools"))
def test_pools(db, rows, where):
    db.execute("BEGIN")
    records = [a_pool(row["id"], **row) for row in rows]
    for record in records:
        pools.add_pool(db, record)
    records.sort(key=lambda one: one.id.lower())
    found = walk(lambda page: lists.list_pools(db, page), where)
    db.execute("ROLLBACK")
    assert found == expected(records, where, of_pool)


@pytest.mark.parametrize("word", ["or", "and"])
def test_a_filter_may_be_as_long_as_filters_may_be(db, word):
    term = "id eq 'a'"
    count = FILTER_CHARS_MAX // len(f"{term} {word} ")
    where = parse_filter(f" {word} ".join([term] * count), FILTERS["tasks"])
    assert lists.list_tasks(db, 1, lists.Page(None, 5, where)) == ([], None)


def test_a_filter_may_be_as_deep_as_filters_may_be(db):
    text = "not (" * 20 + "id eq 'a'" + ")" * 20
    where = parse_filter(text, FILTERS["tasks"])
    assert lists.list_tasks(db, 1, lists.Page(None, 5, where)) == ([], None)


# -- what changes between two pages -------------------------------------------------------------

IDS = [f"{letter}{number}" for letter in "aBc" for number in range(8)]
CHANGES = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(["add", "delete"]), st.sampled_from(IDS)),
    max_size=30,
)


@given(st.sets(st.sampled_from(IDS)), CHANGES, st.sampled_from([None, "state eq 'active'"]))
def test_what_stays_is_listed_once_whatever_comes_and_goes_meanwhile(db, first, changes, text):
    """Between any two pages tasks are added and deleted, the last one shown among them."""
    where = text and parse_filter(text, FILTERS["tasks"])
    db.execute("BEGIN")
    keys = dict(zip(sorted(first), range(1, 100), strict=False))
    tasks.add_tasks(db, [a_task(key, name) for name, key in keys.items()])
    stays, next_key = set(first), 1000
    seen, after, page_number = [], None, 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "SCAN_MAX", 4)
        while True:
            page, after = lists.list_tasks(db, 1, lists.Page(after, 3, where))
            seen += [one.id for one in page]
            for _, what, name in (one for one in changes if one[0] == page_number):
                if what == "delete" and name in keys:
                    tasks.delete_task(db, keys.pop(name))
                    stays.discard(name)
                elif what == "add" and name not in keys:
                    next_key += 1
                    keys[name] = next_key
                    tasks.add_tasks(db, [a_task(next_key, name)])
            page_number += 1
            if after is None:
                break
    db.execute("ROLLBACK")
    assert seen == sorted(seen, key=str.lower)
    assert len(set(seen)) == len(seen)
    assert stays <= set(seen)
