"""Why tasks fail: the failure codes an agent reports, with category and text.

Codes are the contract; texts are for people. Details never hold a signature.
"""

from __future__ import annotations

import signal
from typing import NamedTuple

from lote.agent.orders import Trouble
from lote.wire.frames import UPLOAD_FAILED_TOO, Failure


class FailureRow(NamedTuple):
    """A failure code's category and text."""

    category: str
    text: str


USER = "usererror"
SERVER = "servererror"

FAILURES: dict[str, FailureRow] = {
    "FailureExitCode": FailureRow(USER, "The task exited with an exit code representing a failure"),
    "TaskEnded": FailureRow(USER, "The task was ended by user request"),
    "CommandProgramNotFound": FailureRow(USER, "The specified command program is not found"),
    "CommandLaunchFailed": FailureRow(USER, "The specified command could not be launched"),
    "BlobNotFound": FailureRow(USER, "A resource file was not found at its source"),
    "BlobAccessDenied": FailureRow(USER, "Access to the source of a resource file was denied"),
    "BlobDownloadTimedOut": FailureRow(SERVER, "The download of a resource file timed out"),
    "BlobDownloadMiscError": FailureRow(SERVER, "A resource file could not be downloaded"),
    "ResourceContainerAccessDenied": FailureRow(
        USER, "Access to the container of the resource files was denied"
    ),
    "ResourceContainerNotFound": FailureRow(
        USER, "The container of the resource files was not found"
    ),
    "ResourceContainerListMiscError": FailureRow(
        USER, "The container of the resource files could not be listed"
    ),
    "ResourceDirectoryCreateFailed": FailureRow(
        SERVER, "A directory of the task could not be created"
    ),
    "ResourceFileCreateFailed": FailureRow(SERVER, "A resource file could not be created"),
    "ResourceFileWriteFailed": FailureRow(SERVER, "A resource file could not be written"),
    "DiskFull": FailureRow(SERVER, "There is not enough space on the node's disk"),
    "FileUploadContainerNotFound": FailureRow(
        USER, "One of the specified containers was not found while uploading an output file"
    ),
    "FileUploadAccessDenied": FailureRow(
        USER, "Access to a container was denied while uploading an output file"
    ),
    "FileUploadMiscError": FailureRow(SERVER, "An output file could not be uploaded"),
    "ContainerInvalidImage": FailureRow(
        USER, "One or more of the specified container images could not be had"
    ),
    "ContainerInvalidSettings": FailureRow(
        USER, "At least one of the container settings is not valid"
    ),
    "ContainerFailedToStart": FailureRow(USER, "The container of the task did not start"),
    "ContainerRuntimeUnavailable": FailureRow(SERVER, "The node cannot run containers"),
    "TaskSchedulingConstraintFailed": FailureRow(
        USER, "The task can never run on the nodes of its pool"
    ),
    "Unknown": FailureRow(SERVER, "The task failed for a reason unknown to the agent"),
}

WALL_CLOCK_TEXT = "The task was ended because it exceeded its maximum wall clock time"

NO_CONTAINERS_TEXT = "The task asks for a container; its pool has no containerConfiguration"
NO_SETTINGS_TEXT = "The pool has a containerConfiguration; the task has no containerSettings"

_SIGNAL_HINTS = {
    signal.SIGKILL: "often the kernel's answer to a lack of memory, if nobody ended the task",
    signal.SIGSEGV: "the program used memory it must not",
    signal.SIGABRT: "the program gave up by itself",
    signal.SIGXFSZ: "a file grew over its limit",
    signal.SIGXCPU: "over its limit of processor time",
}


def failure(code: str, *details: tuple[str, str], text: str | None = None) -> Failure:
    """The failure of this code; ``text`` instead of the table's."""
    row = FAILURES[code]
    return Failure(row.category, code, text or row.text, [one for one in details if one[1]])


def upload_failed_too(cause: Failure, upload: Failure) -> Failure:
    """The failure of a task whose process failed, and whose outputs could not be stored either."""
    where = [one for one in upload.details if one[0] == "FilePath"]
    details = [*cause.details, (UPLOAD_FAILED_TOO, upload.code), *where]
    return Failure(cause.category, cause.code, cause.message, details)


def container_mismatch(*, is_contained: bool) -> Failure:
    """Why a task never runs in this kind of pool."""
    text = NO_CONTAINERS_TEXT if is_contained else NO_SETTINGS_TEXT
    return failure("TaskSchedulingConstraintFailed", ("Message", text))


def exit_failure(exit_code: int) -> Failure | None:
    """What an exit code means: None for zero; a negative one is explained."""
    if exit_code == 0:
        return None
    if exit_code > 0:
        return failure("FailureExitCode", ("Message", f"Exit code {exit_code}"))
    return failure("FailureExitCode", ("Message", signal_text(-exit_code)))


def signal_text(number: int) -> str:
    """``killed by signal 9 (SIGKILL): …``."""
    try:
        name = signal.Signals(number).name
    except ValueError:  # a real-time signal
        name = f"SIGRTMIN+{number - signal.SIGRTMIN}"
    hint = _SIGNAL_HINTS.get(number)  # type: ignore[call-overload]
    return f"killed by signal {number} ({name})" + (f": {hint}" if hint else "")


_SUBJECTS = {
    "DiskFull": "FilePath",
    "ResourceDirectoryCreateFailed": "FilePath",
    "ContainerInvalidImage": "ImageName",
    "ContainerInvalidSettings": "Setting",
}


def launch_failure(trouble: Trouble) -> Failure:
    """The failure for what a spawner could not start."""
    code, text, subject = trouble
    return failure(code, ("Message", text), (_SUBJECTS.get(code, "Command"), subject))
