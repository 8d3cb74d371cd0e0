"""Opening and migrating, and that every query on a request path is led by an index."""

from __future__ import annotations

import re
import sqlite3
from importlib import resources

import pytest

from conformance.store_suite import a_task
from lote.store import (
    database,
    dependencies,
    events,
    instances,
    job_schedules,
    jobs,
    lists,
    nodes,
    pools,
    scaling,
    statistics,
    tasks,
)
from lote.store.database import MIGRATIONS, SchemaTooNew, open_reader, open_writer
from lote.store.records import HAS_MOVED
from lote.wire.filters import FILTERS
from lote.wire.odata import parse_filter


def shape_of(db):
    """Columns of every table, and what the indexes are over."""
    tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    columns = {table: db.execute(f"PRAGMA table_info({table})").fetchall() for table in tables}
    indexes = sorted(
        (table, *row[2:4], str(db.execute(f"PRAGMA index_info({row[1]})").fetchall()))
        for table in tables
        for row in db.execute(f"PRAGMA index_list({table})").fetchall()
    )
    texts = "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY name"
    return columns, indexes, db.execute(texts).fetchall()


def test_the_schema_after_all_migrations_is_the_one_that_is_written_down(tmp_path):
    migrated = open_writer(tmp_path / "migrated.db")
    written = sqlite3.connect(":memory:")
    written.executescript(resources.files("lote.store").joinpath("schema.sql").read_text())
    assert shape_of(migrated) == shape_of(written)
    assert migrated.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
    migrated.close()
    written.close()


def test_opening_again_migrates_nothing(tmp_path):
    path = tmp_path / "account.db"
    first = open_writer(path)
    pools_before = shape_of(first)
    first.close()
    again = open_writer(path)
    assert shape_of(again) == pools_before
    again.close()


def test_a_newer_database_is_refused(tmp_path):
    path = tmp_path / "account.db"
    db = open_writer(path)
    db.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(SchemaTooNew, match="Use a newer one"):
        open_writer(path)


def test_a_migration_that_fails_leaves_the_step_before(tmp_path, monkeypatch):
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001.sql").write_text("CREATE TABLE one (key INTEGER);")
    (folder / "0002.sql").write_text("CREATE TABLE two (key INTEGER); CREATE TABLE one (x);")
    monkeypatch.setattr(database, "MIGRATIONS", ("0001.sql", "0002.sql"))
    monkeypatch.setattr(database.resources, "files", lambda name: tmp_path)
    db = sqlite3.connect(tmp_path / "account.db", isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        database.migrate(db)
    db.close()
    db = sqlite3.connect(tmp_path / "account.db", isolation_level=None)
    assert list(shape_of(db)[0]) == ["one"]
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    (folder / "0002.sql").write_text("CREATE TABLE two (key INTEGER);")
    database.migrate(db)
    assert sorted(shape_of(db)[0]) == ["one", "two"]
    db.close()


def test_jobs_from_before_their_ends_were_summed_keep_their_counts(tmp_path, monkeypatch):
    path = tmp_path / "account.db"
    with monkeypatch.context() as older:
        older.setattr(database, "MIGRATIONS", MIGRATIONS[: MIGRATIONS.index("0013_past_use.sql")])
        db = open_writer(path)
    db.execute("INSERT INTO job_count (job_key, succeeded, failed) VALUES (1, 5, 2), (2, 3, 0)")
    db.execute("INSERT INTO job_count (job_key) VALUES (3)")
    db.execute("INSERT INTO job_use VALUES (1, 4, 10, 20, 30, 40, 50, 60)")
    db.close()
    db = open_writer(path)
    assert statistics.jobs_use(db, [1, 2, 3]) == {
        1: statistics.Use(4, 10, 20, 30, 40, 50, 60, 5, 2),
        2: statistics.Use(succeeded=3),
    }
    db.close()


def test_tasks_that_were_placed_again_in_an_older_database_have_moved(tmp_path, monkeypatch):
    path = tmp_path / "account.db"
    before = MIGRATIONS.index("0018_moved_tasks.sql")
    with monkeypatch.context() as older:
        older.setattr(database, "MIGRATIONS", MIGRATIONS[:before])
        db = open_writer(path)
    tasks.add_tasks(db, [a_task(key, f"t{key}") for key in (1, 2, 3)])
    db.execute("UPDATE task SET run = key - 1")
    db.close()
    db = open_writer(path)
    assert [one.key for one in tasks.get_tasks_by_key(db, [1, 2, 3]) if one.flags & HAS_MOVED] == [
        3
    ]
    db.close()


def test_commits_are_durable(tmp_path):
    db = open_writer(tmp_path / "account.db")
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    db.close()


def test_readers_see_what_is_committed_and_change_nothing(tmp_path):
    path = tmp_path / "account.db"
    writer, reader = open_writer(path), open_reader(path)
    writer.execute("BEGIN IMMEDIATE")
    tasks.reserve_task_keys(writer)
    assert reader.execute("SELECT count(*) FROM fact").fetchone() == (0,)
    writer.execute("COMMIT")
    assert reader.execute("SELECT count(*) FROM fact").fetchone() == (1,)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM fact")
    reader.close()
    writer.close()


# -- plans ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def db(tmp_path_factory):
    connection = open_writer(tmp_path_factory.mktemp("plans") / "account.db")
    yield connection
    connection.close()


def plans_of(db, act):
    """The query plan of each statement that ``act`` makes, in one text a statement."""
    texts = []
    db.set_trace_callback(texts.append)
    act(db)
    db.set_trace_callback(None)
    plans = []
    for text in texts:
        if re.match(r"\s*(SELECT|UPDATE|DELETE)", text):
            steps = db.execute(f"EXPLAIN QUERY PLAN {text}").fetchall()
            plans.append("; ".join(step[3] for step in steps))
    return plans


BY_TASK_ID = "task USING INDEX task_by_id (job_key=? AND id=?)"
OF_JOB = "INDEX task_by_id (job_key=?"
BY_KEY = "task USING INTEGER PRIMARY KEY (rowid=?)"
BEGINNING = lists.Page(None, 10)
BEHIND = lists.Page("m", 10)

SORTED = ("placed", "nodes of a pool")  # once a start; few


def satisfy_and_forget(db, task_id):
    dependencies.satisfy(db, 1, 3, task_id)
    dependencies.forget_parent(db, 1, 3, task_id)


LED_BY = {
    "task by id": (lambda db: tasks.get_task(db, 1, "t"), BY_TASK_ID),
    "task with its job": (lambda db: tasks.get_task_with_job(db, "j", "t"), BY_TASK_ID),
    "counts by the job's id": (
        lambda db: jobs.get_job_count_by_id(db, "j"),
        "job_count USING INTEGER PRIMARY KEY",
    ),
    "task by key": (lambda db: tasks.get_task_by_key(db, 1), BY_KEY),
    "tasks by key": (lambda db: tasks.get_tasks_by_key(db, [1, 2]), BY_KEY),
    "ready window": (
        lambda db: tasks.list_ready_tasks(db, 1, 5, 10),
        "task USING INDEX task_ready (job_key=? AND key>?)",
    ),
    "ready rows": (lambda db: tasks.get_ready_rows(db, [1, 2]), BY_KEY),
    "placed": (lambda db: tasks.list_placed_tasks(db), "task USING INDEX task_at_work"),
    "place": (lambda db: tasks.place_tasks(db, [(1, 1)]), BY_KEY),
    "start": (lambda db: tasks.start_tasks(db, [(1, 1, 0, None, 1, 1)]), BY_KEY),
    "end": (lambda db: tasks.end_tasks(db, [(*(None,) * 16, 1)]), BY_KEY),
    "more use": (lambda db: statistics.add_task_use(db, 1, 1, (None,) * 5), BY_KEY),
    "requeue": (lambda db: tasks.requeue_tasks(db, [(1, 0, 0, None, 1)]), BY_KEY),
    "unplace": (lambda db: tasks.unplace_tasks(db, [1]), BY_KEY),
    "some of a job": (lambda db: tasks.delete_some_tasks(db, 1, 5), OF_JOB),
    "page of tasks": (lambda db: lists.list_tasks(db, 1, BEGINNING), OF_JOB),
    "next page of tasks": (
        lambda db: lists.list_tasks(db, 1, BEHIND),
        "task USING INDEX task_by_id (job_key=? AND id>?)",
    ),
    "next page of pools": (lambda db: lists.list_pools(db, BEHIND), "pool USING INDEX"),
    "next page of schedules": (
        lambda db: job_schedules.list_job_schedules(db, "m", 10),
        "job_schedule USING INDEX",
    ),
    "next page of jobs": (lambda db: lists.list_jobs(db, BEHIND), "job USING INDEX"),
    "pool": (lambda db: pools.get_pool(db, "p"), "pool USING INDEX"),
    "node": (lambda db: nodes.get_node(db, "p", "n"), "node USING INDEX"),
    "nodes of a pool": (
        lambda db: nodes.list_pool_nodes(db, 1),
        "node USING INDEX node_of_pool (pool_key=?)",
    ),
    "instances": (
        lambda db: instances.list_instances(db, 1),
        "instance USING PRIMARY KEY (task_key=?)",
    ),
    "end of instances": (
        lambda db: instances.end_instances(db, [(*(None,) * 5, 1, 1, 1)]),
        "instance USING PRIMARY KEY (task_key=? AND number=?)",
    ),
    "instances of jobs": (
        lambda db: instances.count_further_instances(db, [1, 2]),
        "multi_instance USING INDEX multi_instance_of_job (job_key=?)",
    ),
    "instances on a node": (
        lambda db: instances.numbers_on_node(db, 1, [1, 2]),
        "instance USING PRIMARY KEY (task_key=?)",
    ),
    "job": (lambda db: jobs.get_job(db, "j"), "job USING INDEX"),
    "counts": (lambda db: jobs.get_job_count(db, 1), "job_count USING INTEGER PRIMARY KEY"),
    "is a parent done": (
        lambda db: dependencies.add_dependencies(db, 1, 9, ["a"], []),
        BY_TASK_ID,
    ),
    "open numbers": (
        lambda db: dependencies.add_dependencies(db, 1, 8, [], [(1, 2)]),
        "satisfied_number USING PRIMARY KEY (job_key=? AND number>? AND number<?)",
    ),
    "satisfy": (
        lambda db: dependencies.satisfy(db, 1, 3, "77"),
        "dependency_range USING INDEX dependency_range_of_job (job_key=? AND first<?)",
    ),
    "forget a number": (lambda db: satisfy_and_forget(db, "78"), BY_TASK_ID),
    "events": (lambda db: events.list_events(db, 5), "event"),
    "samples": (lambda db: scaling.list_samples(db, 1, 0, 9), "scale_sample USING PRIMARY KEY"),
    "evaluations": (
        lambda db: scaling.list_evaluations(db, 1),
        "scale_evaluation USING INDEX scale_evaluation_of_pool",
    ),
    "blocked tasks": (
        lambda db: scaling.count_blocked(db, 1),
        "task USING COVERING INDEX task_blocked (job_key=? AND phase=?)",
    ),
    "tasks of completed jobs": (
        lambda db: scaling.count_ended(db, "p"),
        "job USING INDEX job_of_pool (pool_id=?)",
    ),
}


@pytest.mark.parametrize("name", LED_BY)
def test_hot_queries_are_led_by_an_index(db, name):
    act, wanted = LED_BY[name]
    plans = plans_of(db, act)
    assert any(wanted in plan for plan in plans), plans
    for plan in plans:
        assert "TEMP B-TREE" not in plan or name in SORTED, plan
        steps = [step for step in plan.split("; ") if step.startswith("SCAN")]
        steps = [step for step in steps if "json_each" not in step]  # the keys that are given
        assert all("USING" in step for step in steps) or name == "events", plan


VALUES = {"string": "'a'", "int": "1", "bool": "true", "time": "datetime'2025-01-01T00:00:00Z'"}
EVERY_FILTER = [
    (noun, name, op)
    for noun in ("pools", "jobs", "tasks")
    for name, rule in FILTERS[noun].items()
    for op in sorted(rule.ops)
]


@pytest.mark.parametrize(("noun", "name", "op"), EVERY_FILTER)
def test_every_filter_walks_in_the_order_of_ids(db, noun, name, op):
    """So that a page costs what it reads, and never a sort of all that there is."""
    value = VALUES[FILTERS[noun][name].kind]
    text = f"startswith({name},{value})" if op == "startswith" else f"{name} {op} {value}"
    page = lists.Page("m", 10, parse_filter(text, FILTERS[noun]))
    listing = {
        "pools": lambda db: lists.list_pools(db, page),
        "jobs": lambda db: lists.list_jobs(db, page),
        "tasks": lambda db: lists.list_tasks(db, 1, page),
    }[noun]
    plan = plans_of(db, listing)[0]  # a page looks at ids first, then takes its rows
    steps = [step for step in plan.split("; ") if step.startswith("SCAN")]
    table = noun.removesuffix("s")
    assert steps in ([], [f"SCAN {table}"]), "what is scanned is no more than a page may look at"
    assert "USING INDEX" in plan
    if (noun, name, op) != ("pools", "id", "eq"):  # found at once, then sorted
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    ("text", "index"),
    [
        ("state eq 'running'", "task_at_work (job_key=? AND id>?)"),
        ("state eq 'preparing' and id gt 'a'", "task_at_work (job_key=? AND id>?)"),
        ("executionInfo/result eq 'failure'", "task_failed (job_key=? AND id>?)"),
        (
            "executionInfo/exitCode eq 3 and id lt 'x'",
            "task_with_code (job_key=? AND id>? AND id<?)",
        ),
        ("executionInfo/exitCode eq 0", "task_by_id (job_key=? AND id>?)"),
        ("startswith(id,'a')", "task_by_id (job_key=? AND id>? AND id<?)"),
        ("not (id eq 'a') or state eq 'running'", "task_by_id (job_key=? AND id>?)"),
    ],
)
def test_rare_tasks_are_found_by_an_index_of_them(db, text, index):
    page = lists.Page(None, 10, parse_filter(text, FILTERS["tasks"]))
    plan = plans_of(db, lambda db: lists.list_tasks(db, 1, page))[0]
    assert f"SEARCH task USING INDEX {index}" in plan


def test_no_filter_makes_a_page_look_at_more_than_its_bound(db):
    where = parse_filter(
        "executionInfo/result eq 'failure' and "
        + " and ".join(["executionInfo/exitCode eq 77"] * 31),
        FILTERS["tasks"],
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lists, "SCAN_MAX", 40)
        texts = []
        db.set_trace_callback(texts.append)
        lists.list_tasks(db, 1, lists.Page(None, 10, where))
        db.set_trace_callback(None)
    # 32 comparisons of a row, four times as many as are free: a quarter of the rows
    assert "LIMIT 10)" in texts[0]
