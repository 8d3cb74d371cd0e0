"""Job preparation and job release tasks: where they stand, by node."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from lote.server.handlers.job import existing_job
from lote.server.pages import answer_list, chosen, filter_of, paged
from lote.server.request import Answer, Request
from lote.server.views import task_directory
from lote.store.database import Connection
from lote.store.records import PREPARATION, RELEASE, SpecialRun
from lote.store.special_runs import list_runs_of_job
from lote.wire.check_jobs import PREPARATION_ID, RELEASE_ID
from lote.wire.errors import Refused
from lote.wire.formats import format_timestamp, parse_timestamp
from lote.wire.job import JobPreparationAndReleaseTaskStatus
from lote.wire.odata import Value, evaluate

_MEMBERS = {PREPARATION: "jobPreparationTask", RELEASE: "jobReleaseTask"}
_DEFAULT_IDS = {PREPARATION: PREPARATION_ID, RELEASE: RELEASE_ID}


class _Row(NamedTuple):
    id: str  # of the node, which the list is in order of
    shown: dict[str, Any]


def list_job_preparation_and_release_task_status(db: Connection, request: Request) -> Answer:
    """One page of the nodes on which special tasks of the job ran, also of those that have gone.

    Refuses: JobNotFound, JobPreparationTaskNotSpecified for a job that has neither.
    """
    record = existing_job(db, request.params["job_id"])
    spec = msgspec.json.decode(record.spec)
    if not any(member in spec for member in _MEMBERS.values()):
        raise Refused("JobPreparationTaskNotSpecified")
    where = filter_of(request)
    found: dict[str, _Row] = {}
    for pool_id, node_id, run in list_runs_of_job(db, record.key):
        url = f"{request.base_url}/pools/{pool_id}/nodes/{node_id}"
        start = {"poolId": pool_id, "nodeId": node_id, "nodeUrl": url}
        row = found.setdefault(node_id, _Row(node_id, start))
        member = _MEMBERS[run.kind]
        task_id = spec[member].get("id", _DEFAULT_IDS[run.kind])
        directory = task_directory(record.id, task_id)
        row.shown[f"{member}ExecutionInfo"] = _view(run, directory, f"{url}/files/{directory}")
    rows = [row for row in found.values() if where is None or evaluate(where, _getter(row.shown))]
    page, next_id = paged(request, sorted(rows, key=lambda row: row.id.lower()))
    struct = JobPreparationAndReleaseTaskStatus
    return answer_list(request, [chosen(request, struct, row.shown) for row in page], next_id)


def _view(run: SpecialRun, directory: str, url: str) -> dict[str, Any]:
    shown: dict[str, Any] = {"startTime": format_timestamp(run.start_us), "state": run.state}
    if run.end_us is not None:
        shown["endTime"] = format_timestamp(run.end_us)
    shown |= {"taskRootDirectory": directory, "taskRootDirectoryUrl": url}
    if run.exit_code is not None:
        shown["exitCode"] = run.exit_code
    if run.container is not None:
        shown["containerInfo"] = msgspec.json.decode(run.container)
    if run.failure is not None:
        shown["failureInfo"] = msgspec.json.decode(run.failure)
    if run.kind == PREPARATION:
        shown["retryCount"] = run.retries
        if run.last_retry_us is not None:
            shown["lastRetryTime"] = format_timestamp(run.last_retry_us)
    if run.state == "completed":
        shown["result"] = "failure" if run.failure is not None else "success"
    return shown


def _getter(shown: dict[str, Any]) -> Any:  # noqa: ANN401 - a reader of decoded JSON
    def read(prop: str) -> Value | None:
        value: Any = shown
        for name in prop.split("/"):
            value = value.get(name) if isinstance(value, dict) else None
        is_time = prop.endswith("Time") and value is not None
        return parse_timestamp(value) if is_time else value

    return read
