"""Output files: from patterns of a finished task to blobs in containers."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from typing import NamedTuple

from lote.agent.beneath import create_beneath, open_beneath
from lote.agent.disk import is_disk_full
from lote.agent.failures import failure
from lote.agent.pattern import Pattern, PatternError, expand_variables
from lote.agent.task_spec import ContainerDestination, OutputFile
from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobError
from lote.blobs.permit import Permit
from lote.blobs.urls import blob_url
from lote.wire.frames import Failure

FILES_MAX = 1_000_000  # of one pattern; a runaway task must not take the agent's memory

UPLOAD_CODES = {
    "not_found": "FileUploadContainerNotFound",
    "access_denied": "FileUploadAccessDenied",
    "timed_out": "FileUploadMiscError",
    "misc": "FileUploadMiscError",
}
# Blob properties that clients name as plain HTTP headers (REST: Put Blob).
PROPERTY_HEADERS = frozenset(
    ("content-type", "content-encoding", "content-language", "cache-control",
     "content-disposition")
)  # fmt: skip


class Upload(NamedTuple):
    """One file to send: its path in the task directory and the blob's name."""

    path: str
    blob: str


def is_wanted(output: OutputFile, exit_code: int) -> bool:
    """Whether an output's condition holds after this exit code."""
    condition = output.upload_options.upload_condition.lower()
    return condition == "taskcompletion" or (condition == "tasksuccess") == (exit_code == 0)


def plan_uploads(
    output: OutputFile, task_directory: str, variables: dict[str, str]
) -> list[Upload]:
    """The files an output means, with their blobs' names, by path. Raises PatternError, OSError.

    A plain pattern goes to the blob ``path`` (or the file's name); one with wildcards to
    ``path/`` and what follows the pattern's fixed leading directories.
    """
    container = output.destination.container
    prefix = ((container.path if container else None) or "").strip("/")
    pattern = Pattern(expand_variables(output.file_pattern, variables), task_directory)
    uploads = []
    for parts in _files_below(task_directory, pattern):
        if not pattern.matches(parts):
            continue
        if pattern.is_plain:
            name = prefix or parts[-1]
        else:
            relative = "/".join(parts[len(pattern.fixed) :])
            name = f"{prefix}/{relative}" if prefix else relative
        uploads.append(Upload("/".join(parts), name))
        if len(uploads) > FILES_MAX:
            raise PatternError(f"the pattern stands for more than {FILES_MAX} files")
    return sorted(uploads)


def _files_below(task_directory: str, pattern: Pattern) -> Iterator[list[str]]:
    """Files under the pattern's fixed directory; folders that are links are not entered."""
    start = [task_directory, *pattern.fixed]
    for count in range(2, len(start) + 1):
        if os.path.islink("/".join(start[:count])):
            return
    folders = [pattern.fixed]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir("/".join([task_directory, *folder]))
        except (FileNotFoundError, NotADirectoryError):
            continue
        with entries:
            for entry in entries:
                parts = [*folder, entry.name]
                if entry.is_dir(follow_symlinks=False):
                    if pattern.depth_max is None or len(parts) < pattern.depth_max:
                        folders.append(parts)
                else:
                    yield parts


class UploadLog:
    """``fileuploadout.txt`` and ``fileuploaderr.txt`` of a task directory.

    On a full disk lines are lost: outputs can be sent all the same.
    """

    def __init__(self, task_directory: str, owner: tuple[int, int] | None) -> None:
        self._out = _create_log(task_directory, "fileuploadout.txt", owner)
        self._err = _create_log(task_directory, "fileuploaderr.txt", owner)

    def say(self, line: str) -> None:
        """A line for the task's people."""
        _append_line(self._out, line)

    def complain(self, line: str) -> None:
        """A line about what went wrong."""
        _append_line(self._err, line)

    def close(self) -> None:
        """Close both files."""
        for descriptor in (self._out, self._err):
            if descriptor is not None:
                os.close(descriptor)


def _create_log(task_directory: str, name: str, owner: tuple[int, int] | None) -> int | None:
    try:
        return create_beneath(task_directory, name, 0o644, owner)
    except OSError as error:
        if not is_disk_full(error):
            raise
        return None


def _append_line(descriptor: int | None, line: str) -> None:
    if descriptor is None:
        return
    try:
        os.write(descriptor, f"{line}\n".encode(errors="replace"))
    except OSError as error:
        if not is_disk_full(error):
            raise


def upload_output(
    output: OutputFile,
    task_directory: str,
    variables: dict[str, str],
    client: BlobClient,
    log: UploadLog,
    stop: threading.Event,
    permit: Permit,
) -> Failure | None:
    """Send what one output means; the first failure ends it. Raises BlobStopped.

    Each blob becomes visible only with the permit.
    """
    container = output.destination.container
    if container is None:
        return None
    try:
        uploads = plan_uploads(output, task_directory, variables)
    except (PatternError, OSError) as error:
        log.complain(f"{output.file_pattern}: {error}")
        return failure(
            "FileUploadMiscError", ("FilePath", output.file_pattern), ("Message", str(error))
        )
    if not uploads:
        log.say(f"{output.file_pattern}: no file matches")
    for upload in uploads:
        trouble = _upload_file(upload, container, task_directory, client, log, stop, permit)
        if trouble is not None:
            return trouble
    return None


def _upload_file(
    upload: Upload,
    container: ContainerDestination,
    task_directory: str,
    client: BlobClient,
    log: UploadLog,
    stop: threading.Event,
    permit: Permit,
) -> Failure | None:
    try:
        source = open_beneath(task_directory, upload.path, os.O_RDONLY)
    except OSError as error:
        log.complain(f"{upload.path}: not uploaded: {error.strerror}")
        return None  # a link that leads out, or a file that is gone: not the task's output
    try:
        if not stat.S_ISREG(os.fstat(source).st_mode):
            log.say(f"{upload.path}: not a file, not uploaded")
            return None
        url = blob_url(container.container_url, upload.blob)
        path = f"/proc/self/fd/{source}"
        client.upload(path, url, _headers(container), stop=stop, permit=permit)
    except BlobError as error:
        log.complain(f"{upload.path}: {error}")
        return failure(
            UPLOAD_CODES[error.kind],
            ("FilePath", upload.path),
            ("BlobUrl", error.url),
            ("HttpStatusCode", str(error.status) if error.status else ""),
            ("Message", error.reason),
        )
    except OSError as error:
        log.complain(f"{upload.path}: {error}")
        return failure(
            "FileUploadMiscError", ("FilePath", upload.path), ("Message", error.strerror or "")
        )
    finally:
        os.close(source)
    log.say(f"{upload.path}: uploaded as {upload.blob}")
    return None


def _headers(container: ContainerDestination) -> dict[str, str]:
    headers = {}
    for header in container.upload_headers or []:
        name = header.name.lower()
        if name in PROPERTY_HEADERS:
            name = f"x-ms-blob-{name}"
        if name.startswith("x-ms-"):  # not Authorization, Content-Length and the like
            headers[name] = header.value or ""
    return headers
