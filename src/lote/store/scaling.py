"""Rows of pools that scale by a formula: what was sampled, what was evaluated, what is counted."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from lote.store.database import Connection
from lote.store.records import BLOCKED

EVALUATIONS_MAX = 100  # ours: of a pool; older ones are forgotten
EVALUATION_KEY_MAX = 2**63 - 1  # SQLite: rowid

Readings = dict[str, float]
"""What was sampled, by the name of the variable."""

_EVALUATION_COLUMNS = (
    "key, at_us, formula, results, error, target_dedicated, target_low_priority, variables,"
    " readings"
)
_readings = msgspec.json.Decoder(Readings).decode
_variables = msgspec.json.Decoder(dict[str, str]).decode


class EvaluationRecord(NamedTuple):
    """One evaluation of a pool's formula. ``error`` is the protocol's, as JSON.

    ``variables`` are the formula's own, as texts; ``readings`` what it could read as newest sample.
    Keys grow with each evaluation; None for a new one.
    """

    key: int | None
    at_us: int
    formula: str
    results: str
    error: str | None
    target_dedicated: int
    target_low_priority: int
    variables: dict[str, str]
    readings: Readings


def add_sample(
    db: Connection, pool_key: int, at_us: int, readings: Readings, *, keep_from_us: int
) -> None:
    """Record a sample of the pool. Those from before ``keep_from_us`` are forgotten, and those of
    later moments: the clock was set back since."""
    text = msgspec.json.encode(readings).decode()
    db.execute("INSERT OR REPLACE INTO scale_sample VALUES (?, ?, ?)", (pool_key, at_us, text))
    db.execute(
        "DELETE FROM scale_sample WHERE pool_key = ? AND at_us < ?", (pool_key, keep_from_us)
    )
    db.execute("DELETE FROM scale_sample WHERE pool_key = ? AND at_us > ?", (pool_key, at_us))


def list_samples(
    db: Connection, pool_key: int, first_us: int, last_us: int
) -> list[tuple[int, Readings]]:
    """(at_us, readings) of the pool's samples from the first to the last moment, oldest first."""
    found = db.execute(
        "SELECT at_us, readings FROM scale_sample WHERE pool_key = ? AND at_us BETWEEN ? AND ?"
        " ORDER BY at_us",
        (pool_key, first_us, last_us),
    )
    return [(at_us, _readings(text)) for at_us, text in found]


def delete_samples(db: Connection, pool_key: int) -> None:
    """Forget what was sampled of the pool."""
    db.execute("DELETE FROM scale_sample WHERE pool_key = ?", (pool_key,))


def add_evaluation(db: Connection, pool_key: int, record: EvaluationRecord) -> None:
    """Record an evaluation, and forget the oldest beyond ``EVALUATIONS_MAX``."""
    values = record._replace(
        variables=msgspec.json.encode(record.variables).decode(),  # type: ignore[arg-type]
        readings=msgspec.json.encode(record.readings).decode(),  # type: ignore[arg-type]
    )
    db.execute(
        f"INSERT INTO scale_evaluation (pool_key, {_EVALUATION_COLUMNS})"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (pool_key, *values),
    )
    db.execute(
        "DELETE FROM scale_evaluation WHERE pool_key = ?1 AND key <= (SELECT key FROM"
        " scale_evaluation WHERE pool_key = ?1 ORDER BY key DESC LIMIT 1 OFFSET ?2)",
        (pool_key, EVALUATIONS_MAX),
    )


def list_evaluations(
    db: Connection, pool_key: int, limit: int = EVALUATIONS_MAX, before_key: int | None = None
) -> list[EvaluationRecord]:
    """The newest evaluations of a pool, the last one first; of those before one if it is given."""
    bound = EVALUATION_KEY_MAX if before_key is None else min(before_key, EVALUATION_KEY_MAX)
    found = db.execute(
        f"SELECT {_EVALUATION_COLUMNS} FROM scale_evaluation WHERE pool_key = ? AND key < ?"
        " ORDER BY key DESC LIMIT ?",
        (pool_key, bound, limit),
    )
    return [_evaluation(row) for row in found]


def _evaluation(row: tuple[Any, ...]) -> EvaluationRecord:
    *facts, variables, readings = row
    return EvaluationRecord._make((*facts, _variables(variables), _readings(readings)))


def delete_evaluations(db: Connection, pool_key: int) -> None:
    """Forget what was evaluated for the pool."""
    db.execute("DELETE FROM scale_evaluation WHERE pool_key = ?", (pool_key,))


def count_blocked(db: Connection, job_key: int) -> tuple[int, int]:
    """How many tasks of a job wait for others, and how many slots they want."""
    row = db.execute(
        f"SELECT count(*), total(slots) FROM task WHERE phase = {BLOCKED} AND job_key = ?",
        (job_key,),
    ).fetchone()
    return int(row[0]), int(row[1])


def count_ended(db: Connection, pool_id: str) -> tuple[int, int]:
    """How many tasks succeeded and failed in the completed jobs of a pool."""
    row = db.execute(
        "SELECT total(succeeded), total(failed) FROM job JOIN job_count ON job_key = job.key"
        " WHERE pool_id = ? AND state = 'completed'",
        (pool_id,),
    ).fetchone()
    return int(row[0]), int(row[1])
