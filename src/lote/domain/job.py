"""Jobs: their states, and which error code refuses what in which state."""

from __future__ import annotations

from lote.domain.machine import Machine, Move

# REST: BatchJobState.
JOB = Machine(
    "job",
    initial="active",
    final={"completed", "deleting"},
    moves=(
        Move("disable", ("active",), "disabling"),
        # Disabling again is harmless and changes nothing.
        Move("disable", ("disabling",), "disabling"),
        Move("disable", ("disabled",), "disabled"),
        Move("settle_disable", ("disabling",), "disabled"),
        Move("enable", ("disabled",), "enabling"),
        Move("settle_enable", ("enabling",), "active"),
        Move("terminate", ("active", "disabling", "disabled", "enabling"), "terminating"),
        Move("settle_terminate", ("terminating",), "completed"),
        Move("give_up", ("active",), "completed"),  # its auto pool could not be made
        Move(
            "delete",
            (
                "active",
                "disabling",
                "disabled",
                "enabling",
                "terminating",
                "completed",
            ),
            "deleting",
        ),
    ),
)

SCHEDULABLE = frozenset({"active"})  # new tasks start only here

# Writes on a job, or on its tasks, that do not change the job's state: where they are allowed.
# Tasks may be added while a job is disabled; they queue.
JOB_WRITES: dict[str, frozenset[str]] = {
    "add_task": frozenset({"active", "disabling", "disabled", "enabling"}),
    "update": frozenset({"active", "disabling", "disabled", "enabling"}),
    "move_pool": frozenset({"disabled"}),  # REST: Update Job, poolInfo
    "reactivate_task": frozenset({"active", "disabling", "disabled", "enabling"}),
}


def allows_write(state: str, event: str) -> bool:
    """True when ``event``, a move of JOB or one of JOB_WRITES, is allowed in ``state``."""
    allowed = JOB_WRITES.get(event)
    return JOB.allows(state, event) if allowed is None else state in allowed


def job_refusal(state: str, event: str) -> str:
    """The error code that refuses ``event`` on a job in ``state``.

    Source: REST: Disable Job, Enable Job, Terminate Job, Update Job, Add Task.
    """
    if state in _REFUSALS:
        return _REFUSALS[state]
    if event == "disable":
        return "JobNotActive"  # it is being enabled
    if event == "move_pool" and state == "active":
        return "OperationInvalidForCurrentState"  # it must be disabled first
    if state in ("disabling", "disabled") and event != "enable":
        return "JobDisabled"
    return "OperationInvalidForCurrentState"


_REFUSALS = {
    "deleting": "JobBeingDeleted",
    "terminating": "JobBeingTerminated",
    "completed": "JobCompleted",
}
