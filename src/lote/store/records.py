"""Rows as values: one struct a table, fields in the order of its columns.

``spec`` is what the user sent, whole, as JSON bytes; the other fields are the few facts that rules
and filters need.
"""

from __future__ import annotations

import msgspec

# Phases of a task. The wire knows fewer states: see STATE_OF_PHASE.
BLOCKED, READY, PLACED, PREPARING, RUNNING, COMPLETED = range(6)
STATE_OF_PHASE = ("active", "active", "active", "preparing", "running", "completed")

# Flags of a task: what its spec contains, so that the hot path need not look.
HAS_EXIT_CONDITIONS = 1
IS_MULTI_INSTANCE = 2
HAS_AFFINITY = 4
HAS_SECRET = 8
SATISFIES = 16
IS_MANAGER = 32
IS_EXCLUSIVE = 64  # of managers: runs on an otherwise empty node
IS_DEDICATED_ONLY = 128  # of managers: not on low-priority nodes
HAS_TOKEN = 256
IS_PREEMPTED = 512  # of what runs: it is being taken off its node for another
HAS_MOVED = 1024  # it may have begun on a node before: there is more to remove than on its last one

NO_START_TASK = "{}"  # start_task of a node that booted when its pool had none


class PoolRecord(msgspec.Struct, gc=False):
    """A row of ``pool``."""

    key: int
    id: str
    state: str
    state_us: int
    allocation_state: str
    allocation_us: int
    created_us: int
    modified_us: int
    vm_size: str
    engine: str
    slots: int
    target_dedicated: int
    target_low_priority: int
    current_dedicated: int
    current_low_priority: int
    enable_auto_scale: int
    inter_node: int
    resize_started_us: int | None
    resize_timeout_s: float
    deallocation: str
    resize_errors: str | None
    spec: bytes
    scale_formula: str | None = None
    scale_interval_s: float | None = None
    scale_us: int | None = None
    scale_run: str | None = None
    scale_enabled_us: int | None = None


class NodeRecord(msgspec.Struct, gc=False):
    """A row of ``node``. Rows of nodes that have gone stay, with ``gone_us``."""

    key: int
    pool_key: int
    pool_id: str
    id: str
    state: str
    state_us: int
    scheduling: str
    is_dedicated: int
    secret_digest: bytes
    allocated_us: int
    booted_us: int | None
    boot: str | None
    ip_address: str
    agent_version: str | None
    operating_system: str | None
    seen_us: int | None
    tasks_run: int
    tasks_succeeded: int
    start_task: str | None
    errors: str | None
    replaces: int | None
    deallocation: str | None
    gone_us: int | None
    vm_size: str = ""
    recent: str | None = None
    """Keys of the tasks that ended there last, the oldest first, with commas."""


class JobRecord(msgspec.Struct, gc=False):
    """A row of ``job``."""

    key: int
    id: str
    pool_id: str | None
    state: str
    state_us: int
    previous_state: str | None
    previous_us: int | None
    created_us: int
    modified_us: int
    start_us: int
    end_us: int | None
    priority: int
    disable_option: str | None
    terminate_reason: str | None
    spec: bytes
    schedule_key: int | None = None
    scheduling_error: str | None = None


PREPARATION, RELEASE = range(2)  # kinds of special runs


class SpecialRun(msgspec.Struct, gc=False):
    """A row of ``special_run``: a job preparation or job release task on a node. ``boot`` is that
    of the agent which ran it; a void one was wiped from its node. A preparation is used once tasks
    may have run after it: the job is to be released there."""

    job_key: int
    node_key: int
    kind: int
    run: int
    boot: str | None
    state: str
    start_us: int
    end_us: int | None = None
    exit_code: int | None = None
    failure: str | None = None
    retries: int = 0
    last_retry_us: int | None = None
    is_void: int = 0
    is_used: int = 0
    container: str | None = None


class JobCount(msgspec.Struct, gc=False):
    """Tasks of a job by state, and the same weighed by their slots. Preparing counts as running."""

    active: int = 0
    running: int = 0
    succeeded: int = 0
    failed: int = 0
    active_slots: int = 0
    running_slots: int = 0
    succeeded_slots: int = 0
    failed_slots: int = 0

    @property
    def is_all_complete(self) -> bool:
        """No task is outside ``completed``; true of a job without tasks."""
        return self.active == 0 and self.running == 0


class JobScheduleRecord(msgspec.Struct, gc=False):
    """A row of ``job_schedule``. ``jobs_made`` numbers its jobs; occurrences due up to
    ``served_us`` are over: their job was made, or its time was missed."""

    key: int
    id: str
    state: str
    state_us: int
    previous_state: str | None
    previous_us: int | None
    created_us: int
    modified_us: int
    served_us: int | None
    end_us: int | None
    jobs_made: int
    recent_job_id: str | None
    spec: bytes
    auto_pool_id: str | None = None


class NodeUserRecord(msgspec.Struct, gc=False):
    """A row of ``node_user``. No password: nothing here would use it."""

    node_key: int
    name: str
    is_admin: int
    expires_us: int
    ssh_public_key: str | None


class CertificateRecord(msgspec.Struct, gc=False):
    """A row of ``certificate``. Its private key is not kept: nothing here would use it."""

    key: int
    algorithm: str
    thumbprint: str
    state: str
    state_us: int
    previous_state: str | None
    previous_us: int | None
    public_data: str
    delete_error: str | None

    @property
    def id(self) -> str:
        """What lists of certificates are in order of."""
        return f"{self.algorithm}-{self.thumbprint}".lower()


class TaskRecord(msgspec.Struct, gc=False):
    """A row of ``task``, with its node's id and pool (None when never placed) and its spec."""

    key: int
    job_key: int
    id: str
    phase: int
    flags: int
    slots: int
    waiting: int
    created_us: int
    modified_us: int
    state_us: int
    run: int
    retries: int
    requeues: int
    reruns: int
    node_key: int | None
    previous_phase: int | None
    previous_us: int | None
    start_us: int | None
    end_us: int | None
    exit_code: int | None
    result: int | None
    failure: str | None
    last_retry_us: int | None
    last_requeue_us: int | None
    spans: str | None
    container: str | None
    node_id: str | None
    node_pool_id: str | None
    spec: bytes


def columns(record: type[msgspec.Struct], prefix: str = "") -> str:
    """The record's columns, for a SELECT."""
    return ", ".join(prefix + name for name in record.__struct_fields__)
