"""Compute nodes: their states, and what each state allows."""

from __future__ import annotations

from lote.domain.machine import Machine, Move

# REST: BatchNodeState. A node that has gone is no longer a row; ``leavingpool`` is the last state.
NODE = Machine(
    "node",
    initial="creating",
    final={"leavingpool"},
    moves=(
        # coming up
        Move("contact", ("creating",), "starting"),
        Move("begin_start_task", ("starting",), "waitingforstarttask"),
        Move("make_ready", ("starting", "waitingforstarttask"), "idle"),
        Move("fail_start_task", ("waitingforstarttask",), "starttaskfailed"),
        # at work
        Move("occupy", ("idle",), "running"),
        Move("vacate", ("running",), "idle"),
        Move("set_offline", ("idle", "running"), "offline"),  # disabled, and its last task left
        Move("enable", ("offline",), "idle"),
        # asked to restart; a node that hangs may be rebooted too, unlike at the provider
        Move(
            "reboot",
            (
                "idle",
                "running",
                "offline",
                "waitingforstarttask",
                "starttaskfailed",
                "unusable",
                "unknown",
            ),
            "rebooting",
        ),
        Move(
            "reimage",
            ("idle", "running", "offline", "starttaskfailed", "unusable", "unknown"),
            "reimaging",
        ),
        Move("upgrade_os", ("idle", "running"), "upgradingos"),
        Move("restart", ("rebooting", "reimaging", "upgradingos"), "starting"),
        Move("deallocate", ("idle", "running"), "deallocating"),
        Move("set_deallocated", ("deallocating",), "deallocated"),
        Move("start", ("deallocated",), "starting"),
        # spot capacity taken and given back
        Move(
            "preempt",
            (
                "creating",
                "starting",
                "waitingforstarttask",
                "starttaskfailed",
                "idle",
                "running",
                "offline",
                "rebooting",
                "reimaging",
                "upgradingos",
                "unknown",
                "unusable",
            ),
            "preempted",
        ),
        Move("restore", ("preempted",), "creating"),
        # contact lost and found
        Move(
            "lose_contact",
            ("starting", "waitingforstarttask", "starttaskfailed", "idle", "running", "offline"),
            "unknown",
        ),
        Move("return_starting", ("unknown",), "starting"),
        Move("return_waiting", ("unknown",), "waitingforstarttask"),
        Move("return_failed", ("unknown",), "starttaskfailed"),
        Move("return_idle", ("unknown",), "idle"),
        Move("return_running", ("unknown",), "running"),
        Move("return_offline", ("unknown",), "offline"),
        Move(
            "break",
            (
                "creating",
                "starting",
                "waitingforstarttask",
                "starttaskfailed",
                "idle",
                "running",
                "offline",
                "rebooting",
                "reimaging",
                "upgradingos",
                "deallocating",
                "unknown",
            ),
            "unusable",
        ),
        Move("recover", ("unusable",), "starting"),
        Move(
            "leave",
            (
                "creating",
                "starting",
                "waitingforstarttask",
                "starttaskfailed",
                "idle",
                "running",
                "offline",
                "rebooting",
                "reimaging",
                "upgradingos",
                "deallocating",
                "deallocated",
                "preempted",
                "unknown",
                "unusable",
            ),
            "leavingpool",
        ),
    ),
)

SCHEDULABLE = frozenset({"idle", "running"})  # REST: tasks start on ready nodes only

# The node's agent is to end, once nothing runs on it: to be started again, or to rest.
HALTING = frozenset({"rebooting", "reimaging", "deallocating"})

DRAINING = frozenset({"taskcompletion", "retaineddata"})  # options that let tasks finish
# Nothing of the node runs, and nobody waits for its agent.
SWITCHED_OFF = frozenset({"preempted", "deallocated"})

# No run can be alive here: what the node held is to be requeued. ``unknown`` is not among them,
# its node may come back within the grace; nor is ``leavingpool``, which may be draining.
LOST = frozenset({"creating", "preempted", "deallocated", "unusable"})

# An agent may answer for files here, provided that it is connected.
FILE_SERVABLE = frozenset(
    {
        "starting",
        "waitingforstarttask",
        "starttaskfailed",
        "idle",
        "running",
        "offline",
        "unusable",
        "leavingpool",
    }
)

# The move that takes an ``unknown`` node back to the state it had when contact was lost.
RETURN_EVENTS = {
    "starting": "return_starting",
    "waitingforstarttask": "return_waiting",
    "starttaskfailed": "return_failed",
    "idle": "return_idle",
    "running": "return_running",
    "offline": "return_offline",
}


def is_schedulable(state: str, scheduling_enabled: bool) -> bool:
    """True when new tasks may be put on the node."""
    return scheduling_enabled and state in SCHEDULABLE


def node_refusal(state: str, event: str) -> str:
    """The error code that refuses ``event`` on a node in ``state``. Source: REST: Reboot Node."""
    if event == "set_scheduling":
        return "NodeAlreadyInTargetSchedulingState"
    return _REFUSALS.get(state, "OperationNotValidOnNode")


_REFUSALS = {
    "creating": "NodeBeingCreated",
    "starting": "NodeBeingStarted",
    "waitingforstarttask": "NodeBeingStarted",
    "rebooting": "NodeBeingRebooted",
    "reimaging": "NodeBeingReimaged",
    "unusable": "NodeStateUnusable",
}
