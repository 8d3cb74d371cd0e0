"""The part of a task that its agent needs. Other members of the client's JSON are ignored."""

from __future__ import annotations

import re

import msgspec

RETENTION_DEFAULT_S = 7 * 86400.0  # REST: task constraints, retentionTime
UNLIMITED_S = 10_000_000 * 86400.0  # .NET's longest timespan means "no limit"

_DURATION = re.compile(
    r"P(?:(\d+(?:\.\d+)?)D)?(?:T(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)


class _Member(msgspec.Struct, rename="camel", frozen=True, gc=False, kw_only=True):
    """Base of the structs here: names as on the wire, unknown ones ignored."""


class EnvironmentSetting(_Member, frozen=True):
    name: str
    value: str | None = None


class IdentityReference(_Member, frozen=True):
    """A managed identity that should be used instead of a signature."""

    resource_id: str | None = None


class ResourceFile(_Member, frozen=True):
    """One source of input files; exactly one of the first three is given."""

    http_url: str | None = None
    storage_container_url: str | None = None
    auto_storage_container_name: str | None = None
    blob_prefix: str | None = None
    file_path: str | None = None
    file_mode: str | None = None
    identity_reference: IdentityReference | None = None


class UploadHeader(_Member, frozen=True):
    name: str
    value: str | None = None


class ContainerDestination(_Member, frozen=True):
    container_url: str
    path: str | None = None
    upload_headers: list[UploadHeader] | None = None
    identity_reference: IdentityReference | None = None


class Destination(_Member, frozen=True):
    container: ContainerDestination | None = None


class UploadOptions(_Member, frozen=True):
    upload_condition: str = "taskcompletion"


class OutputFile(_Member, frozen=True):
    """Files of a task that go to a container when it is done."""

    file_pattern: str
    destination: Destination
    upload_options: UploadOptions = UploadOptions()


class AutoUser(_Member, frozen=True):
    scope: str | None = None
    elevation_level: str | None = None


class UserIdentity(_Member, frozen=True):
    username: str | None = None
    auto_user: AutoUser | None = None


class Constraints(_Member, frozen=True):
    max_wall_clock_time: str | None = None
    retention_time: str | None = None
    max_task_retry_count: int | None = None


class MultiInstance(_Member, frozen=True):
    """What the instances of a task begin with."""

    coordination_command_line: str = ""
    common_resource_files: list[ResourceFile] | None = None


class ContainerRegistry(_Member, frozen=True):
    """Where an image comes from. The password goes nowhere but to that server."""

    registry_server: str | None = None
    username: str | None = None
    password: str | None = None


class BindMount(_Member, frozen=True):
    """A part of the node's root that a container sees."""

    source: str | None = None
    is_read_only: bool | None = None


class ContainerSettings(_Member, frozen=True):
    """The container that a task runs in. No list of bind mounts: all of the node's root."""

    image_name: str
    container_run_options: str | None = None
    registry: ContainerRegistry | None = None
    working_directory: str | None = None
    container_host_batch_bind_mounts: list[BindMount] | None = None


class TaskSpec(_Member, frozen=True):
    """A task as its agent sees it."""

    id: str = ""
    command_line: str = ""
    resource_files: list[ResourceFile] | None = None
    output_files: list[OutputFile] | None = None
    environment_settings: list[EnvironmentSetting] | None = None
    constraints: Constraints | None = None
    required_slots: int | None = None
    user_identity: UserIdentity | None = None
    max_task_retry_count: int | None = None  # start tasks have it here
    wait_for_success: bool = True
    multi_instance_settings: MultiInstance | None = None
    container_settings: ContainerSettings | None = None


NO_IDENTITY = "This node has no managed identity: the URL needs a signature of its own"


def is_signed(url: str) -> bool:
    """Whether a URL brings its own right, a SAS."""
    return "sig=" in url.partition("?")[2]


_DECODER = msgspec.json.Decoder(TaskSpec)


def decode_task(spec: bytes) -> TaskSpec:
    """The task in these JSON bytes. Raises msgspec.DecodeError."""
    return _DECODER.decode(spec)


def duration_s(text: str) -> float:
    """Seconds of a duration (``PT1M``, ``P1DT02H00M03.5S``). Raises ValueError on what is none."""
    found = _DURATION.fullmatch(text)
    if found is None or text.endswith(("P", "T")):
        # Rare spellings; loaded only for them, because an agent should stay small.
        from lote.wire.formats import parse_duration

        seconds_in_all = parse_duration(text)
        return UNLIMITED_S if seconds_in_all is None else seconds_in_all
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def wall_clock_limit_s(constraints: Constraints | None) -> float | None:
    """How long an attempt may take; None without a limit."""
    if constraints is None or constraints.max_wall_clock_time is None:
        return None
    limit_s = duration_s(constraints.max_wall_clock_time)
    return limit_s if limit_s < UNLIMITED_S else None


def retention_s(constraints: Constraints | None) -> float:
    """How long a task's directory stays after its end."""
    if constraints is None or constraints.retention_time is None:
        return RETENTION_DEFAULT_S
    return duration_s(constraints.retention_time)
