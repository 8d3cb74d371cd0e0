"""Rows of job schedules."""

from __future__ import annotations

from lote.store.database import Connection
from lote.store.records import JobRecord, JobScheduleRecord, columns
from lote.store.statistics import drop_schedule_use

_COLUMNS = columns(JobScheduleRecord)
_BY_ID = f"SELECT {_COLUMNS} FROM job_schedule WHERE id = ?"
_BY_KEY = f"SELECT {_COLUMNS} FROM job_schedule WHERE key = ?"
_PAGE = f"SELECT {_COLUMNS} FROM job_schedule WHERE id > ? ORDER BY id LIMIT ?"
_LIVING = f"SELECT {_COLUMNS} FROM job_schedule WHERE state <> 'completed' ORDER BY key"
_JOBS = f"SELECT {columns(JobRecord)} FROM job WHERE schedule_key = ? AND state <> 'deleting'"
_CHANGEABLE = frozenset(JobScheduleRecord.__struct_fields__) - {"key", "id", "created_us"}


def get_job_schedule(db: Connection, schedule_id: str) -> JobScheduleRecord | None:
    """The schedule of that id, in any spelling of its letters."""
    row = db.execute(_BY_ID, (schedule_id,)).fetchone()
    return JobScheduleRecord(*row) if row else None


def get_job_schedule_by_key(db: Connection, key: int) -> JobScheduleRecord | None:
    """The schedule of that row key."""
    row = db.execute(_BY_KEY, (key,)).fetchone()
    return JobScheduleRecord(*row) if row else None


def list_job_schedules(db: Connection, after_id: str | None, limit: int) -> list[JobScheduleRecord]:
    """Schedules in order of their ids, those behind ``after_id``."""
    return [JobScheduleRecord(*row) for row in db.execute(_PAGE, (after_id or "", limit))]


def list_living_schedules(db: Connection) -> list[JobScheduleRecord]:
    """Every schedule that is not completed, oldest first."""
    return [JobScheduleRecord(*row) for row in db.execute(_LIVING)]


def count_living_schedules(db: Connection) -> int:
    """How many schedules are not completed."""
    row = db.execute("SELECT count(*) FROM job_schedule WHERE state <> 'completed'").fetchone()
    return int(row[0])


def add_job_schedule(db: Connection, record: JobScheduleRecord) -> int:
    """Insert the schedule (its ``key`` is not looked at); returns the row key."""
    fields = JobScheduleRecord.__struct_fields__[1:]
    cursor = db.execute(
        f"INSERT INTO job_schedule ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})",
        [getattr(record, name) for name in fields],
    )
    return int(cursor.lastrowid or 0)


def save_job_schedule(db: Connection, key: int, **changes: object) -> None:
    """Set these columns of the schedule."""
    unknown = changes.keys() - _CHANGEABLE
    if unknown:
        raise ValueError(f"not columns of a job schedule that change: {sorted(unknown)}")
    sets = ", ".join(f"{name} = ?" for name in changes)
    db.execute(f"UPDATE job_schedule SET {sets} WHERE key = ?", (*changes.values(), key))


def delete_job_schedule(db: Connection, key: int) -> None:
    """Drop the schedule's row; its jobs must be gone."""
    drop_schedule_use(db, key)
    db.execute("DELETE FROM job_schedule WHERE key = ?", (key,))


def list_jobs_to_delete(db: Connection, key: int, limit: int) -> list[JobRecord]:
    """Some jobs of the schedule that are not being deleted yet."""
    return [JobRecord(*row) for row in db.execute(f"{_JOBS} LIMIT ?", (key, limit))]


def has_jobs(db: Connection, key: int) -> bool:
    """Whether any job of the schedule still exists, one that is being deleted included."""
    row = db.execute("SELECT 1 FROM job WHERE schedule_key = ? LIMIT 1", (key,)).fetchone()
    return row is not None
