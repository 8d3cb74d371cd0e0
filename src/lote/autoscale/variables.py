"""The names that every formula finds defined: variables of the service, and constants."""

from __future__ import annotations

from typing import NamedTuple

from lote.autoscale.values import TICKS_PER_S, Interval, Option

DEDICATED = "$TargetDedicatedNodes"
LOW_PRIORITY = "$TargetLowPriorityNodes"
DEALLOCATION = "$NodeDeallocationOption"

TARGETS: dict[str, str] = {  # what a formula may set
    DEDICATED: "dedicated nodes the pool should have; starts as its present target",
    LOW_PRIORITY: "spot nodes the pool should have; starts as its present target",
    DEALLOCATION: "what becomes of tasks on nodes that leave; starts as `requeue`",
}

METRICS: dict[str, str] = {  # what a formula may read: series of samples
    "$CPUPercent": "mean use of the pool's processors, 0 to 100",
    "$ActiveTasks": "tasks ready to run that do not run",
    "$RunningTasks": "tasks that run",
    "$PendingTasks": "`$ActiveTasks` and `$RunningTasks` together",
    "$SucceededTasks": "tasks that ended well",
    "$FailedTasks": "tasks that failed",
    "$TaskSlotsPerNode": "the pool's setting",
    "$CurrentDedicatedNodes": "dedicated nodes there are",
    "$CurrentLowPriorityNodes": "spot nodes there are, preempted ones too",
    "$PreemptedNodeCount": "nodes that are preempted",
    "$UsableNodeCount": "nodes that can run tasks",
    "$SampleNodeCount": "nodes that reported in the sample (older)",
    "$WallClockSeconds": "seconds of use (older)",
    "$MemoryBytes": "memory in use, in MB (older)",
    "$DiskBytes": "disk in use, in GB (older)",
    "$DiskReadBytes": "bytes read (older)",
    "$DiskWriteBytes": "bytes written (older)",
    "$DiskReadOps": "reads (older)",
    "$DiskWriteOps": "writes (older)",
    "$NetworkInBytes": "bytes received (older)",
    "$NetworkOutBytes": "bytes sent (older)",
    "$ActiveTaskSlots": "slots that `$ActiveTasks` want; ours, the service has no such variable",
    "$RunningTaskSlots": "slots that `$RunningTasks` fill; ours",
    "$PendingTaskSlots": "both together; ours",
}

ALIASES: dict[str, str] = {  # names of older versions
    "$TargetDedicated": DEDICATED,
    "$TargetLowPriority": LOW_PRIORITY,
    "$CurrentDedicated": "$CurrentDedicatedNodes",
}

OPTIONS = {
    word: Option(word) for word in ("requeue", "terminate", "taskcompletion", "retaineddata")
}

_MINUTE = 60 * TICKS_PER_S
_DAY = 24 * 60 * _MINUTE

INTERVALS = {
    "TimeInterval_Zero": Interval(0),
    "TimeInterval_100ns": Interval(1),
    "TimeInterval_Microsecond": Interval(TICKS_PER_S // 1_000_000),
    "TimeInterval_Millisecond": Interval(TICKS_PER_S // 1000),
    "TimeInterval_Second": Interval(TICKS_PER_S),
    "TimeInterval_Minute": Interval(_MINUTE),
    "TimeInterval_Hour": Interval(60 * _MINUTE),
    "TimeInterval_Day": Interval(_DAY),
    "TimeInterval_Week": Interval(7 * _DAY),
    "TimeInterval_Year": Interval(365 * _DAY),
}

CONSTANTS: dict[str, Option | Interval] = {**OPTIONS, **INTERVALS}


class Named(NamedTuple):
    """A variable of the service that a formula calls by ``written``."""

    written: str
    name: str  # in full, as the tables above have it
    is_exact: bool  # as opposed to equal but for the case of its letters

    @property
    def is_target(self) -> bool:
        return self.name in TARGETS

    @property
    def is_alias(self) -> bool:
        return self.name.lower() != self.written.lower()


_EXACT = {name: name for name in (*TARGETS, *METRICS)} | ALIASES
_FOLDED = {name.lower(): full for name, full in _EXACT.items()}


def find_variable(written: str) -> Named | None:
    """The variable of the service of this name; published formulas get the case wrong."""
    if not written.startswith("$"):
        return None
    full = _EXACT.get(written) or _FOLDED.get(written.lower())
    return None if full is None else Named(written, full, written in _EXACT)
