"""Frames of the node channel: what server and agent say to each other over one WebSocket.

Every WebSocket message is binary and holds one msgpack array of frames, so that several travel
at once. The agent opens ``{server}/node/channel`` with ``Authorization: Lote <node id> <secret>``
and sends ``Hello`` first; the server answers with ``Setup``.

A task is named by its row key, which is never used twice, and by its *run*: the run is raised in
the commit before a ``Runs`` frame is sent, so a report of another run is known to be stale.

Clocks of server and nodes need not agree. The agent reports *ages*: how long before the moment of
sending a thing happened, in microseconds.

Transfers of node files do not ride on the channel: on ``Open`` the agent dials a second connection,
``POST {server}/node/streams/<stream>`` with the same Authorization, and sends the answer as its
body, so that back-pressure holds the file and not the reports.
"""

from __future__ import annotations

import msgspec

PROTOCOL = 1  # raised when a frame changes its meaning


class _Frame(msgspec.Struct, array_like=True, tag_field="t", frozen=True, gc=False):
    """Base of all frames: a msgpack array that begins with its tag."""


# -- agent to server ------------------------------------------------------------------------


class Held(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One run in an agent's hands. ``phase``: 0 waiting for a slot, 1 at work, 2 ended."""

    key: int
    run: int
    phase: int


class Hello(_Frame, tag="hello", frozen=True):
    """First frame of a connection: who calls and what it holds.

    ``boot`` is new for each start of the agent. Runs that ended and were never acknowledged are
    held in phase 2 and reported again right after the Setup.
    """

    protocol: int
    node_id: str
    boot: str
    version: str
    cores: int
    memory_bytes: int
    ip_address: str
    operating_system: str
    held: list[Held]


# The detail of a FailureExitCode that says, with its code, that outputs could not be stored either.
UPLOAD_FAILED_TOO = "FileUploadError"


class Failure(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Why a task failed: a row of the task failure codes. Category usererror or servererror."""

    category: str
    code: str
    message: str
    details: list[tuple[str, str]] = []


class Container(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The container a task ran in, as its runtime told last; ``error`` is empty when all went."""

    container_id: str
    state: str
    error: str = ""


class Started(_Frame, tag="s", frozen=True):
    """Work on a run began (its inputs are downloaded inside it), or began again as a retry.

    ``retries`` counts the task's retries in all, those of earlier runs included.
    """

    key: int
    run: int
    age_us: int
    retries: int = 0
    last_retry_age_us: int | None = None


class Ended(_Frame, tag="e", frozen=True):
    """A run is over and no process of it is left.

    ``exit_code`` is None when no process ran; minus the signal number when one was killed.
    ``retries`` counts the task's retries in all, those of earlier runs included. The spans
    ``download_us``, ``run_us`` and ``upload_us`` say where the time of the last attempt went;
    ``wall_us``, the processor's times and the blocks are of all attempts of the run; None are those
    that nobody measures. A block is one of getrusage(2), 512 bytes on Linux.
    """

    key: int
    run: int
    start_age_us: int
    end_age_us: int
    exit_code: int | None = None
    failure: Failure | None = None
    retries: int = 0
    last_retry_age_us: int | None = None
    download_us: int = 0
    run_us: int = 0
    upload_us: int = 0
    user_cpu_us: int | None = 0
    kernel_cpu_us: int | None = 0
    wall_us: int = 0
    read_blocks: int | None = 0
    write_blocks: int | None = 0
    container: Container | None = None


class Confirm(_Frame, tag="c", frozen=True):
    """May the outputs of this run be uploaded? The Ack of its batch says no by refusing it."""

    key: int
    run: int


class Coordinated(_Frame, tag="co", frozen=True):
    """The coordination command of an instance of a multi-instance task has succeeded, and the
    instance waits for the others. Said again after each reconnection."""

    key: int
    run: int


class Returned(_Frame, tag="r", frozen=True):
    """A revoked run that had not begun: it is the server's again."""

    key: int
    run: int


class StartTaskReport(_Frame, tag="st", frozen=True):
    """Where the node's start task stands. ``state`` running or completed; one that runs and has an
    end waits to be tried again."""

    state: str
    start_age_us: int
    end_age_us: int | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    retries: int = 0
    last_retry_age_us: int | None = None
    container: Container | None = None


class SpecialReport(_Frame, tag="sp", frozen=True):
    """Where a job preparation (kind 0) or job release task (kind 1) stands. ``state`` running or
    completed; a failure says that it did not succeed."""

    job_key: int
    kind: int
    run: int
    state: str
    start_age_us: int
    end_age_us: int | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    retries: int = 0
    last_retry_age_us: int | None = None
    container: Container | None = None


class NodeTrouble(_Frame, tag="nt", frozen=True):
    """The node's present errors, all of them; an empty list says that it is well again."""

    errors: list[Failure]


class ContainersReady(_Frame, tag="cr", frozen=True):
    """The node can run containers, and has the images that its pool names. Said after each Setup
    that names containers, once it is so."""


class RetentionOver(_Frame, tag="ro", frozen=True):
    """No task's directory is left on the node. Said once after each AwaitRetention."""


Entry = (
    Started
    | Ended
    | Confirm
    | Coordinated
    | Returned
    | StartTaskReport
    | SpecialReport
    | NodeTrouble
    | ContainersReady
    | RetentionOver
)


class Report(_Frame, tag="report", frozen=True):
    """A batch of what happened. At most one batch is unacknowledged; ``seq`` grows by one."""

    seq: int
    entries: list[Entry]


class Samples(_Frame, tag="samples", frozen=True):
    """Use of the node over the last interval, for monitoring; not acknowledged."""

    interval_s: float
    cpu_percent: float
    memory_bytes: int
    disk_bytes: int
    disk_free_bytes: int
    disk_read_bytes: int = 0
    disk_write_bytes: int = 0
    disk_reads: int = 0
    disk_writes: int = 0
    network_in_bytes: int = 0
    network_out_bytes: int = 0


# -- server to agent ------------------------------------------------------------------------


class AutoStorage(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The linked storage account: endpoint without slash, and a SAS that reads and lists it."""

    blob_endpoint: str
    sas: str


class Registry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Where images come from, and who asks there. ``password`` is never written or shown."""

    server: str
    username: str = ""
    password: str = ""


class ContainerPool(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a pool that runs containers has every node do first."""

    images: list[str]
    registries: list[Registry]


class Account(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A user whom the pool's tasks may name. ``uid`` and ``gid`` if they were asked for."""

    name: str
    is_admin: bool
    uid: int | None = None
    gid: int | None = None


class Setup(_Frame, tag="setup", frozen=True):
    """What the node is. Sent as answer to Hello and again when one of these changes.

    ``start_task`` is the pool's start task as JSON bytes, or None; it is to be run when
    ``start_task_due`` is true (not on a reconnection of an agent that ran it).
    ``confirmed`` lists the held runs that are still wanted; all others are to be killed
    without a report. It counts in the first Setup after a Hello only. ``secure``: the account's
    https URL and the PEM text of the authority behind it, for tasks that have a token.
    ``containers``: None in a pool whose tasks run without. ``certificates``: to whom the pool shows
    certificates (REST: CertificateVisibility).
    """

    account_name: str
    account_url: str
    pool_id: str
    is_dedicated: bool
    slots: int
    start_task: bytes | None
    start_task_due: bool
    auto_storage: AutoStorage | None
    confirmed: list[tuple[int, int]]
    secure: tuple[str, str] | None = None
    accounts: list[Account] = []
    containers: ContainerPool | None = None
    certificates: list[str] = []


class JobFacts(_Frame, tag="job", frozen=True):
    """What the tasks of a job share; sent on a connection before the first of its runs.

    ``preparation_id``: the last part of its job preparation task's directory, if it has one.
    """

    job_key: int
    job_id: str
    directory: str
    environment: list[tuple[str, str]]
    retries_max: int
    preparation_id: str = ""


class Special(_Frame, tag="special", frozen=True):
    """Run a job preparation (kind 0) or job release task (kind 1) now, beside the slots, or say
    again how that run of it ended. ``spec`` is the task as JSON bytes."""

    job_key: int
    kind: int
    run: int
    spec: bytes


class KillSpecial(_Frame, tag="killspecial", frozen=True):
    """End this run of a special task now, and report its end."""

    job_key: int
    kind: int
    run: int


class Run(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One run of a task. ``spec`` is the task as JSON bytes, as the client sent it; ``token`` lets
    it call the service about its job, if it is to be able to."""

    key: int
    run: int
    job_key: int
    retries: int
    spec: bytes
    token: str = ""


class Runs(_Frame, tag="run", frozen=True):
    """Runs to begin, in this order, as slots become free."""

    runs: list[Run]


class Instance(_Frame, tag="inst", frozen=True):
    """Run one instance of a multi-instance task, on a node that has nothing else.

    All instances have the task's key and run. ``number`` 0 is the primary, which runs the command
    line once it hears Proceed; the others work until they are killed. ``hosts``: address and cores
    of each instance's node, by number. The agent does not retry: instances are retried together.
    """

    task: Run
    number: int
    hosts: list[tuple[str, int]]


class Proceed(_Frame, tag="go", frozen=True):
    """All instances of these runs, whose primaries the node has, are coordinated."""

    runs: list[tuple[int, int]]


class Revoke(_Frame, tag="revoke", frozen=True):
    """Give back these runs if they have not begun (answer Returned); else say nothing."""

    runs: list[tuple[int, int]]


class Kill(_Frame, tag="kill", frozen=True):
    """End these runs now: kill the process tree, upload nothing, report Ended."""

    runs: list[tuple[int, int]]


class Amend(_Frame, tag="amend", frozen=True):
    """Tasks have other constraints now, which hold for what runs, too: (key, run, JSON bytes of a
    task that has nothing else) each."""

    tasks: list[tuple[int, int, bytes]]


class Ack(_Frame, tag="ack", frozen=True):
    """The batch ``seq`` is recorded durably. ``refused`` are runs in it that are not current."""

    seq: int
    refused: list[tuple[int, int]]


class Open(_Frame, tag="open", frozen=True):
    """A request for node files; the answer goes to ``/node/streams/<stream>``.

    ``verb``: list, get, head, delete or logs. ``path`` is relative to the node's root directory.
    ``start`` and ``end`` (inclusive, None = to the end) select bytes of a get.

    ``logs`` uploads the agent's logs to the container whose signed URL is ``path``, under the name
    ``prefix``; ``start`` and ``end`` are then moments in microseconds. The answer is their number.
    """

    stream: str
    verb: str
    path: str
    recursive: bool = False
    start: int | None = None
    end: int | None = None
    prefix: str = ""


class Clean(_Frame, tag="clean", frozen=True):
    """Directories, relative to the node's root, that nobody needs any more."""

    directories: list[str]


class AwaitRetention(_Frame, tag="await", frozen=True):
    """The node is to go, or to restart, once all task directories have had their time: say when
    (RetentionOver)."""


class Leave(_Frame, tag="leave", frozen=True):
    """The node leaves its pool: kill what runs, remove the directory, exit."""

    reason: str


AgentFrame = Hello | Report | Samples
ServerFrame = (
    Setup
    | JobFacts
    | Special
    | KillSpecial
    | Runs
    | Instance
    | Proceed
    | Revoke
    | Kill
    | Amend
    | Ack
    | Open
    | Clean
    | AwaitRetention
    | Leave
)

_ENCODER = msgspec.msgpack.Encoder()
_AGENT_DECODER = msgspec.msgpack.Decoder(list[AgentFrame])
_SERVER_DECODER = msgspec.msgpack.Decoder(list[ServerFrame])


def encode_frames(frames: list[AgentFrame] | list[ServerFrame]) -> bytes:
    """One WebSocket message of these frames."""
    return _ENCODER.encode(frames)


def decode_agent_frames(message: bytes) -> list[AgentFrame]:
    """The frames an agent sent. Raises msgspec.DecodeError on anything else."""
    return _AGENT_DECODER.decode(message)


def decode_server_frames(message: bytes) -> list[ServerFrame]:
    """The frames the server sent. Raises msgspec.DecodeError on anything else."""
    return _SERVER_DECODER.decode(message)
