"""What is always true of an account's database between two transactions.

For tests, and for people who wonder about a damaged folder: nothing on a request path reads this.
Each rule is a query for the rows that break it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lote.store.database import Connection
from lote.store.dependencies import number_of
from lote.store.records import (
    BLOCKED,
    COMPLETED,
    IS_MULTI_INSTANCE,
    PLACED,
    RUNNING,
    SATISFIES,
)

SHOWN_MAX = 5  # rows shown of one broken rule

_HELD = f"phase BETWEEN {PLACED} AND {RUNNING}"


class Rule(NamedTuple):
    """A rule in words, and the query for what breaks it."""

    text: str
    query: str


_RULES = (
    Rule(
        "every task has a spec",
        "SELECT key FROM task WHERE key NOT IN (SELECT key FROM task_spec)",
    ),
    Rule(
        "every spec has a task",
        "SELECT key FROM task_spec WHERE key NOT IN (SELECT key FROM task)",
    ),
    Rule(
        "every task has a job",
        "SELECT key FROM task WHERE job_key NOT IN (SELECT key FROM job)",
    ),
    Rule(
        "every job has counts",
        "SELECT id FROM job WHERE key NOT IN (SELECT job_key FROM job_count)",
    ),
    Rule(
        "counts belong to a job",
        "SELECT job_key FROM job_count WHERE job_key NOT IN (SELECT key FROM job)",
    ),
    Rule(
        "a node that has not gone has a pool",
        "SELECT id FROM node WHERE gone_us IS NULL AND pool_key NOT IN (SELECT key FROM pool)",
    ),
    Rule(
        "what was sampled or evaluated belongs to a pool, the samples to one that scales itself",
        "SELECT pool_key FROM scale_evaluation WHERE pool_key NOT IN (SELECT key FROM pool)"
        " UNION SELECT pool_key FROM scale_sample"
        " WHERE pool_key NOT IN (SELECT key FROM pool WHERE enable_auto_scale = 1)",
    ),
    Rule(
        "what was measured belongs to a pool, and to some time",
        "SELECT pool_key FROM pool_use WHERE pool_key NOT IN (SELECT key FROM pool)"
        " OR measured_s <= 0 OR last_us < first_us",
    ),
    Rule(
        "a run of a special task has a job and a node",
        "SELECT job_key, node_key FROM special_run WHERE job_key NOT IN (SELECT key FROM job)"
        " OR node_key NOT IN (SELECT key FROM node)",
    ),
    Rule(
        "a node that is to remove something has not gone",
        "SELECT node_key, directory FROM cleaning"
        " WHERE node_key NOT IN (SELECT key FROM node WHERE gone_us IS NULL)",
    ),
    Rule(
        "a completed job has no special task at work",
        "SELECT job_key, node_key FROM special_run JOIN job ON job.key = job_key"
        " WHERE job.state = 'completed' AND special_run.state <> 'completed'",
    ),
    Rule(
        "a task in a node's hands has a node that has not gone, and a run",
        f"SELECT task.key FROM task LEFT JOIN node ON node.key = node_key WHERE {_HELD}"
        " AND (node.key IS NULL OR gone_us IS NOT NULL OR run < 1)"
        " AND NOT EXISTS (SELECT 1 FROM instance"
        " JOIN node AS other ON other.key = instance.node_key"
        " WHERE task_key = task.key AND instance.state <> 'completed' AND other.gone_us IS NULL)",
    ),
    Rule(
        "a multi-instance task has a row that says so, and no other task has",
        f"SELECT key FROM task WHERE ((flags & {IS_MULTI_INSTANCE}) <> 0)"
        " <> (key IN (SELECT task_key FROM multi_instance))"
        " UNION ALL SELECT task_key FROM multi_instance"
        " WHERE task_key NOT IN (SELECT key FROM task)",
    ),
    Rule(
        "an instance belongs to a multi-instance task; one at work to one in nodes' hands",
        "SELECT task_key, number FROM instance LEFT JOIN task ON task.key = task_key"
        f" WHERE coalesce((flags & {IS_MULTI_INSTANCE}) = 0, 1) OR instance.run > task.run"
        f" OR (instance.state <> 'completed' AND (NOT {_HELD} OR instance.run <> task.run))",
    ),
    Rule(
        "a completed job has an end, and no task in a node's hands",
        "SELECT id FROM job WHERE state = 'completed' AND (end_us IS NULL"
        f" OR EXISTS (SELECT 1 FROM task WHERE job_key = job.key AND {_HELD}))",
    ),
    Rule(
        "a completed task has an end and a result, and a failure if that is one",
        f"SELECT key, id FROM task WHERE phase = {COMPLETED} AND (end_us IS NULL OR result IS NULL"
        " OR (result = 1) <> (failure IS NULL) OR coalesce(start_us > end_us, 0))",
    ),
    Rule(
        "a task that is not completed has no end and no result",
        f"SELECT key, id FROM task WHERE phase <> {COMPLETED} AND (end_us IS NOT NULL"
        f" OR result IS NOT NULL OR exit_code IS NOT NULL OR failure IS NOT NULL"
        f" OR (flags & {SATISFIES}) <> 0)",
    ),
    Rule(
        "a running task has a start",
        f"SELECT key, id FROM task WHERE phase = {RUNNING} AND start_us IS NULL",
    ),
    Rule(
        "only blocked tasks have open requirements, and blocked ones have",
        f"SELECT key, id, waiting FROM task WHERE (phase = {BLOCKED}) <> (waiting > 0)"
        f" AND phase <> {COMPLETED}",
    ),
    Rule(
        "what is waited for by id or range is waited for by a task",
        "SELECT child_key FROM dependency WHERE child_key NOT IN (SELECT key FROM task)"
        " UNION ALL SELECT child_key FROM dependency_range"
        " WHERE child_key NOT IN (SELECT key FROM task)",
    ),
    Rule(
        "a number that is forgotten belongs to a job, and no task is to come that has had it",
        "SELECT job_key, number FROM forgotten_number WHERE job_key NOT IN (SELECT key FROM job)"
        " OR until_key >= coalesce((SELECT value FROM fact WHERE name = 'next_task_key'), 0)",
    ),
    Rule(
        "tasks that run on a node fit into its slots, or there is one",
        "SELECT node.id, sum(task.slots) FROM task JOIN node ON node.key = node_key"
        f" JOIN pool ON pool.key = pool_key WHERE phase = {RUNNING} GROUP BY node.key"
        " HAVING sum(task.slots) > pool.slots AND count(*) > 1",
    ),
    Rule(
        "no task key is still to be given out",
        "SELECT max(key) FROM task HAVING max(key) >="
        " coalesce((SELECT value FROM fact WHERE name = 'next_task_key'), 0)",
    ),
    Rule(
        "what counts say of a job is true",
        "SELECT job.id, counted.* FROM job JOIN job_count AS counted ON job_key = job.key"
        " WHERE (active, running, succeeded, failed, active_slots, running_slots, succeeded_slots,"
        " failed_slots) <> (SELECT"
        f" count(*) FILTER (WHERE phase <= {PLACED}),"
        f" count(*) FILTER (WHERE phase > {PLACED} AND phase < {COMPLETED}),"
        f" count(*) FILTER (WHERE phase = {COMPLETED} AND result = 1),"
        f" count(*) FILTER (WHERE phase = {COMPLETED} AND result = 0),"
        f" total(slots) FILTER (WHERE phase <= {PLACED}),"
        f" total(slots) FILTER (WHERE phase > {PLACED} AND phase < {COMPLETED}),"
        f" total(slots) FILTER (WHERE phase = {COMPLETED} AND result = 1),"
        f" total(slots) FILTER (WHERE phase = {COMPLETED} AND result = 0)"
        " FROM task WHERE job_key = job.key) AND job.state <> 'deleting'",
    ),
)


def check_invariants(db: Connection) -> list[str]:
    """The rules that this database breaks, with some of the rows that do; empty when it is sound.

    Reads the whole database; any connection will do, between transactions.
    """
    violations = [f"damaged: {row[0]}" for row in db.execute("PRAGMA integrity_check(5)")]
    violations = [one for one in violations if one != "damaged: ok"]
    for rule in _RULES:
        found = [tuple(row) for row in db.execute(rule.query)]
        if found:
            violations.append(f"not so: {rule.text}: {len(found)} rows, {found[:SHOWN_MAX]}")
    for check in _CHECKS:
        found = check(db)
        if found:
            violations.append(f"not so: {check.__doc__}: {len(found)} rows, {found[:SHOWN_MAX]}")
    return violations


def _miscounted_requirements(db: Connection) -> list[tuple[object, ...]]:
    """a task waits for just as many requirements as are open"""
    return [
        tuple(row)
        for row in db.execute(
            "SELECT key, id, waiting, open FROM (SELECT task.key, task.id, waiting,"
            " (SELECT count(*) FROM dependency WHERE child_key = task.key)"
            " + coalesce((SELECT sum(last - first + 1 - (SELECT count(*) FROM satisfied_number"
            " AS done WHERE done.job_key = wanted.job_key AND number BETWEEN first AND last)"
            " - (SELECT count(*) FROM forgotten_number AS had"
            " WHERE had.job_key = wanted.job_key AND number BETWEEN first AND last"
            " AND until_key >= wanted.child_key AND NOT EXISTS (SELECT 1 FROM satisfied_number"
            " AS done WHERE done.job_key = had.job_key AND done.number = had.number)))"
            " FROM dependency_range AS wanted WHERE child_key = task.key), 0) AS open"
            " FROM task JOIN job ON job.key = task.job_key WHERE job.state <> 'deleting')"
            " WHERE max(waiting, 0) <> open"
        )
    ]


def _wrong_numbers(db: Connection) -> list[tuple[object, ...]]:
    """the numbers that are satisfied are those of tasks that satisfied"""
    known = {
        (row[0], row[1])
        for row in db.execute(
            "SELECT job_key, number FROM satisfied_number JOIN job ON job.key = job_key"
            " WHERE state <> 'deleting'"
        )
    }
    wanted = {
        (row[0], number)
        for row in db.execute(
            f"SELECT job_key, task.id FROM task JOIN job ON job.key = job_key"
            f" WHERE phase = {COMPLETED} AND (flags & {SATISFIES}) <> 0"
            " AND job.state <> 'deleting'"
        )
        if (number := number_of(row[1])) is not None
    }
    return sorted(known ^ wanted)


_CHECKS: tuple[Callable[[Connection], list[tuple[object, ...]]], ...] = (
    _miscounted_requirements,
    _wrong_numbers,
)
