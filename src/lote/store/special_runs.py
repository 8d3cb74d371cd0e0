"""Rows of the runs of job preparation and job release tasks, one a job, node and kind."""

from __future__ import annotations

from lote.store.database import Connection
from lote.store.records import SpecialRun, columns

_COLUMNS = columns(SpecialRun)
_SAVE = (
    f"INSERT OR REPLACE INTO special_run ({_COLUMNS})"
    f" VALUES ({', '.join('?' * len(SpecialRun.__struct_fields__))})"
)
_PRESENT = (
    f"SELECT {columns(SpecialRun, 'special_run.')} FROM special_run"
    " JOIN job ON job.key = job_key JOIN node ON node.key = node_key"
    " WHERE job.state <> 'completed' AND gone_us IS NULL"
)
_OF_JOB = (
    f"SELECT node.pool_id, node.id, {columns(SpecialRun, 'special_run.')} FROM special_run"
    " JOIN node ON node.key = node_key WHERE job_key = ? ORDER BY node.id, kind"
)


def save_special_run(db: Connection, run: SpecialRun) -> None:
    """Write where a run stands."""
    db.execute(_SAVE, [getattr(run, name) for name in SpecialRun.__struct_fields__])


def list_present_runs(db: Connection) -> list[SpecialRun]:
    """The runs of jobs that are not completed, on nodes that have not gone."""
    return [SpecialRun(*row) for row in db.execute(_PRESENT)]


def list_runs_of_job(db: Connection, job_key: int) -> list[tuple[str, str, SpecialRun]]:
    """(pool id, node id, run) of a job, in order of nodes' ids; also of those that have gone."""
    return [(row[0], row[1], SpecialRun(*row[2:])) for row in db.execute(_OF_JOB, (job_key,))]


def list_nodes_of_job(db: Connection, job_key: int) -> list[int]:
    """The nodes where a special task of the job ran, by row key."""
    rows = db.execute("SELECT DISTINCT node_key FROM special_run WHERE job_key = ?", (job_key,))
    return [row[0] for row in rows]
