"""One run in the agent's hands, from its frame to its end."""

from __future__ import annotations

import asyncio
import threading

import msgspec

from lote.agent.instance import WORKING, Role, remote_shell_variables
from lote.agent.layout import Layout
from lote.agent.lease import RunPermit
from lote.agent.orders import User
from lote.agent.task_spec import ResourceFile, TaskSpec, wall_clock_limit_s
from lote.wire.frames import Container, Failure, JobFacts, Run

WAITING = 0  # no slot yet
QUEUED = 1  # in the spawners' queue, begun by none as far as the talker knows
PREPARING = 2  # its inputs are on their way
RUNNING = 3  # its process is at work
PAUSING = 4  # between two attempts
CONFIRMING = 5  # done; may its outputs be uploaded?
UPLOADING = 6
ENDED = 7
COORDINATED = 8  # an instance that waits for the others

PHASE_ON_THE_WIRE = (0, 0, 1, 1, 1, 1, 1, 2, 1)

KILLED_BY_SERVER = "server"
KILLED_BY_LIMIT = "limit"
SIMPLE_MAX_BYTES = 32 * 1024  # of JSON: such an order surely fits the spawners' queue

DROPPED = "dropped"  # the server does not want it: no report


class Work:
    """A run: what it is, where it stands and what it has cost so far."""

    __slots__ = (
        "attempt", "container", "directory", "download_us", "end_s", "ended_by", "exit_code",
        "failure", "instance", "is_simple", "job", "kernel_us", "key", "last_retry_s", "limit_s",
        "permit",
        "phase",
        "read_blocks", "retries", "run", "run_us", "slots", "spec", "start_s", "stop", "timer",
        "token", "upload_us", "user", "user_us", "wall_us",
        "write_blocks",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        job: JobFacts,
        spec: TaskSpec,
        directory: str,
        instance: Role | None = None,
    ) -> None:
        self.instance = instance
        self.key = run.key
        self.run = run.run
        self.job = job
        self.spec = spec
        self.directory = directory
        self.retries = run.retries
        self.token = run.token
        self.slots = spec.required_slots or 1
        # Nothing but a process in one slot: it may wait with the spawners.
        self.is_simple = (
            self.slots == 1
            and not spec.resource_files
            and not spec.output_files
            and instance is None
            and spec.container_settings is None
            and len(run.spec) < SIMPLE_MAX_BYTES
        )
        self.phase = WAITING
        self.attempt = 0
        self.user: User | None = None
        self.ended_by: str | None = None
        self.start_s: float | None = None
        self.end_s: float | None = None
        self.last_retry_s: float | None = None
        self.limit_s: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.stop: threading.Event | None = None  # of the transfer under way
        self.permit: RunPermit | None = None  # of the upload under way
        self.exit_code: int | None = None
        self.container: Container | None = None
        self.failure: Failure | None = None
        self.download_us = self.run_us = self.upload_us = 0
        self.wall_us = 0
        # Of all attempts; None once one of them was not measured.
        self.user_us: int | None = 0
        self.kernel_us: int | None = 0
        self.read_blocks: int | None = 0
        self.write_blocks: int | None = 0

    @property
    def name(self) -> tuple[int, int]:
        """What frames call it."""
        return (self.key, self.run)

    @property
    def base_id(self) -> int:
        """The environment beneath it: of its job, or of those of the job's tasks with a token."""
        return -self.job.job_key if self.token else self.job.job_key

    def add_use(
        self,
        user_s: float | None,
        kernel_s: float | None,
        read_blocks: int | None,
        write_blocks: int | None,
    ) -> None:
        """What an attempt used."""
        self.user_us = _sum(self.user_us, None if user_s is None else int(user_s * 1e6))
        self.kernel_us = _sum(self.kernel_us, None if kernel_s is None else int(kernel_s * 1e6))
        self.read_blocks = _sum(self.read_blocks, read_blocks)
        self.write_blocks = _sum(self.write_blocks, write_blocks)

    def halt(self) -> None:
        """Tell the transfer under way to end."""
        if self.stop is not None:
            self.stop.set()
        if self.permit is not None:
            self.permit.answer()

    def amend(self, spec: TaskSpec) -> None:
        """Take over the constraints of this task; all else stays as it was begun with.

        Raises ValueError for a time limit that is none.
        """
        self.limit_s = self._limit_of(spec)
        self.spec = msgspec.structs.replace(self.spec, constraints=spec.constraints)

    def set_limit(self) -> None:
        """Take the time limit of its task. Raises ValueError for one that is none."""
        self.limit_s = self._limit_of(self.spec)

    def _limit_of(self, spec: TaskSpec) -> float | None:
        if self.instance is not None and not self.instance.is_primary:
            return None  # it ends with the primary
        return wall_clock_limit_s(spec.constraints)

    @property
    def inputs(self) -> list[ResourceFile]:
        """The files that come into its working directory."""
        if self.instance is not None and not self.instance.is_primary:
            return []
        return self.spec.resource_files or []

    @property
    def common_inputs(self) -> list[ResourceFile]:
        """The files that come into its directory, as into that of every instance."""
        settings = self.spec.multi_instance_settings
        if self.instance is None or settings is None:
            return []
        return settings.common_resource_files or []

    @property
    def is_fetched_for(self) -> bool:
        """Whether anything but its process belongs to an attempt of it."""
        is_plain = self.instance is None and self.spec.container_settings is None
        return bool(self.inputs) or not is_plain

    @property
    def command_line(self) -> str:
        """What it runs now."""
        settings = self.spec.multi_instance_settings
        if self.instance is None or settings is None or self.instance.stage == WORKING:
            return self.spec.command_line
        return settings.coordination_command_line

    def own_variables(self, layout: Layout) -> list[tuple[str, str]]:
        """What the task sets, its token, and what it is told of being an instance; the last of
        equal names counts."""
        settings = self.spec.environment_settings
        own = [(one.name, one.value or "") for one in settings] if settings else []
        if self.token:
            own.append(("AZ_BATCH_AUTHENTICATION_TOKEN", self.token))
        if self.instance is not None:
            shell = remote_shell_variables(layout, self.instance)
            own = [*shell, *own, *self.instance.variables(self.directory)]
        return own

    def retries_max(self) -> int:
        """How often a nonzero exit is tried again; -1 without end."""
        constraints = self.spec.constraints
        if constraints is not None and constraints.max_task_retry_count is not None:
            return constraints.max_task_retry_count
        return self.job.retries_max

    def may_retry(self) -> bool:
        """Whether another attempt is allowed after this one failed. Instances of a task are tried
        again together, which is the server's business."""
        return self.instance is None and self._has_retries_left()

    def _has_retries_left(self) -> bool:
        retries_max = self.retries_max()
        return retries_max < 0 or self.retries < retries_max

    def has_outputs(self) -> bool:
        """Whether it has outputs to be stored after its exit: of instances only the primary has,
        and not when all of them are about to be tried again."""
        if not self.spec.output_files:
            return False
        if self.instance is None:
            return True
        return self.instance.is_primary and not (self.exit_code and self._has_retries_left())


def _sum(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other
