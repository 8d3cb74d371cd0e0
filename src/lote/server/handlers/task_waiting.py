"""Why a task does not run yet: an addition to the protocol, which leaves people to guess."""

from __future__ import annotations

from typing import Any

from lote.scheduler import reasons
from lote.scheduler.explain import explain
from lote.scheduler.plan import Reason
from lote.server.handlers.task import existing_task
from lote.server.owner import Tx
from lote.server.pages import answer_one
from lote.server.placing import ready_task
from lote.server.request import Answer, Request
from lote.store import dependencies
from lote.store import tasks as rows
from lote.store.records import (
    BLOCKED,
    PLACED,
    PREPARING,
    READY,
    STATE_OF_PHASE,
    TaskRecord,
)
from lote.wire.task import TaskWaiting

NAMED_MAX = 20  # tasks that a reason names


def explain_task(tx: Tx, request: Request) -> Answer:
    """What keeps a task from running, the weightiest first; nothing for one that runs or is
    completed. Refuses: JobNotFound, TaskNotFound."""
    _, record = existing_task(tx.db, request)
    shown = {"state": STATE_OF_PHASE[record.phase], "reasons": _reasons(tx, record)}
    return answer_one(request, shown, TaskWaiting, None)


def _reasons(tx: Tx, record: TaskRecord) -> list[dict[str, Any]]:
    if record.phase == PREPARING:
        return _shown([reasons.PREPARING])
    if record.phase == PLACED:
        return _shown([reasons.ON_ITS_NODE])
    if record.phase == BLOCKED:
        return _dependencies(tx, record)
    return _shown(_of_ready(tx, record)) if record.phase == READY else []


def _of_ready(tx: Tx, record: TaskRecord) -> list[Reason]:
    memory = tx.memory
    job = memory.jobs.get(record.job_key)
    if job is None:
        return [reasons.JOB_MISSING]
    task = ready_task(memory, job, rows.get_ready_rows(tx.db, [record.key])[record.key])
    return explain(memory.view, job.pool_key or 0, job.key, task)


def _dependencies(tx: Tx, record: TaskRecord) -> list[dict[str, Any]]:
    job = tx.memory.jobs.get(record.job_key)
    failed = dependencies.list_blocking(tx.db, record.job_key, record.key, NAMED_MAX)
    awaited = dependencies.list_awaited(tx.db, record.key, NAMED_MAX)
    found = explain(
        tx.memory.view,
        0 if job is None else job.pool_key or 0,
        record.job_key,
        None,
        depends=True,
        blocked=bool(failed),
    )
    return _shown(found, failed or awaited)


def _shown(found: list[Reason], tasks: list[str] | None = None) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = [{"code": one.code, "text": one.text} for one in found]
    if tasks:
        shown[0]["tasks"] = tasks
    return shown
