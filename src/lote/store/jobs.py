"""Rows of jobs and their exact task counts."""

from __future__ import annotations

from collections.abc import Iterable

from lote.store.database import Connection
from lote.store.records import JobCount, JobRecord, columns
from lote.store.statistics import drop_job_use

_COLUMNS = columns(JobRecord)
_BY_ID = f"SELECT {_COLUMNS} FROM job WHERE id = ?"
_BY_KEY = f"SELECT {_COLUMNS} FROM job WHERE key = ?"
_ALIVE = f"SELECT {_COLUMNS} FROM job WHERE state <> 'completed' ORDER BY key"
_COUNT_COLUMNS = columns(JobCount)
_GET_COUNT = f"SELECT {_COUNT_COLUMNS} FROM job_count WHERE job_key = ?"
_GET_COUNT_BY_ID = (
    f"SELECT {columns(JobCount, 'job_count.')} FROM job"
    " JOIN job_count ON job_count.job_key = job.key WHERE job.id = ?"
)
_SAVE_COUNT = (
    f"INSERT OR REPLACE INTO job_count (job_key, {_COUNT_COLUMNS})"
    f" VALUES ({', '.join('?' * (1 + len(JobCount.__struct_fields__)))})"
)
_CHANGEABLE = frozenset(JobRecord.__struct_fields__) - {"key", "id", "created_us"}


def get_job(db: Connection, job_id: str) -> JobRecord | None:
    """The job of that id, in any spelling of its letters."""
    row = db.execute(_BY_ID, (job_id,)).fetchone()
    return JobRecord(*row) if row else None


def get_job_by_key(db: Connection, key: int) -> JobRecord | None:
    """The job of that row key."""
    row = db.execute(_BY_KEY, (key,)).fetchone()
    return JobRecord(*row) if row else None


def list_living_jobs(db: Connection) -> list[JobRecord]:
    """Every job that is not completed, oldest first."""
    return [JobRecord(*row) for row in db.execute(_ALIVE)]


def add_job(db: Connection, record: JobRecord) -> int:
    """Insert the job (its ``key`` is not looked at) with zero counts; returns the row key."""
    fields = JobRecord.__struct_fields__[1:]
    values = [getattr(record, name) for name in fields]
    marks = ", ".join("?" * len(fields))
    cursor = db.execute(f"INSERT INTO job ({', '.join(fields)}) VALUES ({marks})", values)
    key = int(cursor.lastrowid or 0)
    db.execute("INSERT INTO job_count (job_key) VALUES (?)", (key,))
    return key


def save_job(db: Connection, key: int, **changes: object) -> None:
    """Set these columns of the job."""
    unknown = changes.keys() - _CHANGEABLE
    if unknown:
        raise ValueError(f"not columns of a job that change: {sorted(unknown)}")
    sets = ", ".join(f"{name} = ?" for name in changes)
    db.execute(f"UPDATE job SET {sets} WHERE key = ?", (*changes.values(), key))


def delete_job(db: Connection, key: int) -> None:
    """Remove the job's own rows; its tasks must be gone (see ``tasks.delete_some_tasks``)."""
    db.execute("DELETE FROM satisfied_number WHERE job_key = ?", (key,))
    db.execute("DELETE FROM forgotten_number WHERE job_key = ?", (key,))
    db.execute("DELETE FROM special_run WHERE job_key = ?", (key,))
    db.execute("DELETE FROM job_count WHERE job_key = ?", (key,))
    drop_job_use(db, key)
    db.execute("DELETE FROM job WHERE key = ?", (key,))


def get_job_count(db: Connection, key: int) -> JobCount:
    """The counts of a job's tasks; zeros when there is no such job."""
    row = db.execute(_GET_COUNT, (key,)).fetchone()
    return JobCount(*row) if row else JobCount()


def get_job_count_by_id(db: Connection, job_id: str) -> JobCount | None:
    """The counts of the tasks of the job of that id, if there is one."""
    row = db.execute(_GET_COUNT_BY_ID, (job_id,)).fetchone()
    return JobCount(*row) if row else None


def save_job_counts(db: Connection, counts: Iterable[tuple[int, JobCount]]) -> None:
    """Write the counts of these jobs."""
    db.executemany(
        _SAVE_COUNT,
        [
            (key, *(getattr(count, name) for name in JobCount.__struct_fields__))
            for key, count in counts
        ],
    )
