"""What scripted nodes do: how long they take to start, how their tasks go, how they fail."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from lote.engines.seam import NodeOrder
from lote.wire.frames import Failure

_SLEEP = re.compile(r"\bsleep\s+([0-9]{1,9}(?:\.[0-9]{1,9})?)\b")
_EXIT = re.compile(r"\bexit\s+([0-9]{1,9})\b")
_COMMANDS_REMEMBERED_MAX = 10_000


class Constraints(msgspec.Struct, rename="camel", gc=False):
    """Limits of a scripted task."""

    max_task_retry_count: int | None = None


class MultiInstance(msgspec.Struct, rename="camel", gc=False):
    """What the instances of a scripted task begin with."""

    coordination_command_line: str = ""


class ScriptedTask(msgspec.Struct, rename="camel", gc=False):
    """A task as scripted nodes see it; other members of the client's JSON are ignored."""

    id: str = ""
    command_line: str = ""
    required_slots: int | None = None
    constraints: Constraints | None = None
    max_task_retry_count: int | None = None  # start tasks have it here
    multi_instance_settings: MultiInstance | None = None


class Outcome(msgspec.Struct, frozen=True):
    """How one attempt at a task goes: its length, and its end.

    ``exit_code`` None says that no process could be started; give the ``failure`` then. A nonzero
    exit code without a failure is reported as FailureExitCode.
    """

    seconds: float = 0.0
    exit_code: int | None = 0
    failure: Failure | None = None


class NodeFate(msgspec.Struct, frozen=True):
    """How a node begins and ends. ``start_s`` None: its agent never says Hello, and lives.

    ``dies_after_s`` is counted from the order, whether or not the node has started by then.
    """

    start_s: float | None = 0.0
    dies_after_s: float | None = None


def outcome_of_command(task: ScriptedTask, retries: int) -> Outcome:
    """What the words of a command line say: ``sleep N`` takes N seconds, ``exit N`` exits with N.

    All sleeps count together and the last exit holds; ``false`` exits with 1. Anything else ends
    at once with 0. The words may stand anywhere, as in ``/bin/sh -c "sleep 2; exit 3"``.
    """
    known = _remembered.get(task.command_line)
    if known is None:
        if len(_remembered) >= _COMMANDS_REMEMBERED_MAX:
            _remembered.clear()
        known = _remembered[task.command_line] = _read_command(task.command_line)
    return known


def outcome_of_coordination(task: ScriptedTask, number: int) -> Outcome:
    """What the words of the coordination command line say, alike for each instance."""
    settings = task.multi_instance_settings
    return _read_command(settings.coordination_command_line if settings is not None else "")


def _read_command(command_line: str) -> Outcome:
    seconds = sum(float(n) for n in _SLEEP.findall(command_line))
    exits = _EXIT.findall(command_line)
    if exits:
        return Outcome(seconds, int(exits[-1]) & 0xFF)
    return Outcome(seconds, 1 if command_line in ("false", "/bin/false") else 0)


_remembered: dict[str, Outcome] = {}


class Script(msgspec.Struct, kw_only=True):
    """Decides over scripted nodes. ``fate`` is asked once an order, ``outcome`` once an attempt.

    ``outcome`` gets the task and how often it was retried before; ``start_outcome`` gets the
    pool's start task; ``coordination`` gets a multi-instance task and the number of the instance
    whose coordination command begins; ``removal`` gets the id of a node that is to be stopped, and
    says why that cannot be, or None. Functions may keep count of their calls: they are called one
    at a time, in the order of the scripted time.
    """

    fate: Callable[[NodeOrder], NodeFate] = lambda order: NodeFate()
    outcome: Callable[[ScriptedTask, int], Outcome] = outcome_of_command
    start_outcome: Callable[[ScriptedTask, int], Outcome] = outcome_of_command
    coordination: Callable[[ScriptedTask, int], Outcome] = outcome_of_coordination
    removal: Callable[[str], str | None] = lambda node_id: None
