"""Tasks: their states, refusals, and what a task's end means for its job and its dependents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from lote.domain.machine import Machine, Move

# REST: BatchTaskState.
TASK = Machine(
    "task",
    initial="active",
    final={"completed"},
    moves=(
        Move("prepare", ("active",), "preparing"),  # the job preparation task runs first
        Move("start", ("active",), "running"),
        Move("start", ("preparing",), "running"),
        Move("retry", ("running",), "running"),  # the user's retries stay on their node
        Move("fail_preparation", ("preparing",), "active"),
        Move("requeue", ("preparing",), "active"),
        Move("requeue", ("running",), "active"),
        # A prefetched run may report its start and its end at once, so ``active`` ends too.
        Move("complete", ("active",), "completed"),
        Move("complete", ("preparing",), "completed"),
        Move("complete", ("running",), "completed"),
        Move("terminate", ("active",), "completed"),
        Move("terminate", ("preparing",), "completed"),
        Move("terminate", ("running",), "completed"),
        Move("reactivate", ("completed",), "active"),
    ),
)

FailureKind = Literal["pre_processing", "exit_code", "file_upload", "ended"]
# pre_processing: no process was started. exit_code: it ended with another code than 0.
# file_upload: its outputs could not be stored. ended: by request, its time was up, or its nodes
# were lost too often.


class EndActions(NamedTuple):
    """What the end of a task does: to its job, and to the tasks that depend on it."""

    job_action: str
    dependency_action: str


_ON_SUCCESS = EndActions("none", "satisfy")
_ON_FAILURE = EndActions("terminate", "block")  # the job's action needs onTaskFailure


def task_refusal(state: str, event: str, *, succeeded: bool = False) -> str | None:
    """The error code that refuses ``event`` on a task, or None when it is allowed.

    ``event``: update, terminate, reactivate or delete. ``succeeded``: it completed with exit
    code 0 and no failure. Source: REST: Update Task, Terminate Task, Reactivate Task.
    """
    if event == "delete":
        return None
    if event == "reactivate":
        if state != "completed":
            return "TaskNotCompleted"
        return "TaskSucceeded" if succeeded else None
    return "TaskCompleted" if state == "completed" else None


def exit_options(
    exit_conditions: object, exit_code: int | None, failure_kind: FailureKind | None
) -> EndActions:
    """What the final end of a task does to its job and its dependents.

    ``exit_conditions`` is the member of the task as decoded JSON, a struct of the wire, or None.
    A listed exit code beats a failed upload; ``default`` never covers exit code 0 with its
    uploads done. A task that was ended has no listed code. Source: REST: ExitConditions.
    """
    is_exit = exit_code is not None and failure_kind not in ("pre_processing", "ended")
    options = _listed_options(exit_conditions, exit_code) if is_exit else None
    if options is not None:
        return _filled(options, _ON_SUCCESS if exit_code == 0 else _ON_FAILURE)
    if is_exit and exit_code == 0 and failure_kind is None:
        return _ON_SUCCESS
    if failure_kind == "pre_processing":
        options = _member(exit_conditions, "preProcessingError")
    elif failure_kind == "file_upload":
        options = _member(exit_conditions, "fileUploadError")
    if options is None:
        options = _member(exit_conditions, "default")
    return _filled(options, _ON_FAILURE)


def _listed_options(conditions: object, exit_code: int | None) -> object:
    """Options of the code itself, else of the first range that holds it, else None."""
    for row in _member(conditions, "exitCodes") or ():
        if _member(row, "code") == exit_code:
            return _member(row, "exitOptions")
    for row in _member(conditions, "exitCodeRanges") or ():
        if exit_code is not None and _member(row, "start") <= exit_code <= _member(row, "end"):
            return _member(row, "exitOptions")
    return None


def _filled(options: object, built_in: EndActions) -> EndActions:
    return EndActions(
        _member(options, "jobAction") or built_in.job_action,
        _member(options, "dependencyAction") or built_in.dependency_action,
    )


_ATTRIBUTES = {
    "exitCodes": "exit_codes",
    "exitCodeRanges": "exit_code_ranges",
    "preProcessingError": "pre_processing_error",
    "fileUploadError": "file_upload_error",
    "exitOptions": "exit_options",
    "jobAction": "job_action",
    "dependencyAction": "dependency_action",
}


def _member(source: object, name: str) -> Any:  # noqa: ANN401 - decoded JSON
    """Member ``name`` of decoded JSON or of a wire struct; None when absent or unset."""
    if source is None:
        return None
    if isinstance(source, Mapping):
        return source.get(name)
    value = getattr(source, _ATTRIBUTES.get(name, name), None)
    return None if type(value).__name__ == "UnsetType" else value
