"""Job schedules: their states and refusals."""

from __future__ import annotations

from lote.domain.machine import Machine, Move

# REST: BatchJobScheduleState.
JOB_SCHEDULE = Machine(
    "job_schedule",
    initial="active",
    final={"completed", "deleting"},
    moves=(
        Move("disable", ("active",), "disabled"),
        Move("disable", ("disabled",), "disabled"),  # again: harmless
        Move("enable", ("disabled",), "active"),
        Move("enable", ("active",), "active"),  # again: harmless
        Move("terminate", ("active", "disabled"), "terminating"),
        Move("settle_terminate", ("terminating",), "completed"),
        Move("finish", ("active", "disabled"), "completed"),  # nothing more will ever be due
        Move("delete", ("active", "disabled", "terminating", "completed"), "deleting"),
    ),
)

# Writes that do not change the state.
_UPDATABLE = frozenset({"active", "disabled"})


def allows_write(state: str, event: str) -> bool:
    """True when ``event``, a move of JOB_SCHEDULE or ``update``, is allowed in ``state``."""
    return state in _UPDATABLE if event == "update" else JOB_SCHEDULE.allows(state, event)


def job_schedule_refusal(state: str) -> str:
    """The error code that refuses a write on a schedule in ``state``.

    Source: REST: Enable Job Schedule, Terminate Job Schedule, Update Job Schedule.
    """
    return _REFUSALS.get(state, "OperationInvalidForCurrentState")


_REFUSALS = {
    "deleting": "JobScheduleBeingDeleted",
    "terminating": "JobScheduleBeingTerminated",
    "completed": "JobScheduleCompleted",
}
