"""Output files: from patterns of a finished task to blobs in containers."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from lote.agent.batches import in_batches, work_off
from lote.agent.beneath import create_beneath, open_beneath
from lote.agent.disk import is_disk_full
from lote.agent.failures import failure
from lote.agent.pattern import Pattern, PatternError, expand_variables
from lote.agent.task_spec import NO_IDENTITY, ContainerDestination, OutputFile, is_signed
from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobError, BlobStopped
from lote.blobs.permit import Permit
from lote.blobs.urls import blob_url
from lote.wire.frames import Failure

SMALL_BYTES = 64 * 1024  # a thread takes several of these at once
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
# What the client says by itself, or what would make another request of it.
OWN_HEADERS = frozenset(
    ("x-ms-blob-type", "x-ms-version", "x-ms-date", "x-ms-copy-source", "x-ms-lease-id",
     "x-ms-content-crc64", "x-ms-client-request-id")
)  # fmt: skip


class Upload(NamedTuple):
    """One file to send: its path in the task directory, the blob's name, its size when found."""

    path: str
    blob: str
    size_bytes: int


class OutputFailed(Exception):
    """An output could not be sent; ``failure`` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


def is_wanted(output: OutputFile, exit_code: int) -> bool:
    """Whether an output's condition holds after this exit code."""
    condition = output.upload_options.upload_condition.lower()
    return condition == "taskcompletion" or (condition == "tasksuccess") == (exit_code == 0)


def plan_uploads(
    output: OutputFile, task_directory: str, variables: dict[str, str]
) -> Iterator[Upload]:
    """The files an output means, with their blobs' names. Raises PatternError, OSError.

    A plain pattern goes to the blob ``path`` (or the file's name); one with wildcards to
    ``path/`` and what follows the pattern's fixed leading directories.
    """
    container = output.destination.container
    prefix = ((container.path if container else None) or "").strip("/")
    pattern = Pattern(expand_variables(output.file_pattern, variables), task_directory)
    for parts, size_bytes in _files_below(task_directory, pattern):
        if not pattern.matches(parts):
            continue
        if pattern.is_plain:
            name = prefix or parts[-1]
        else:
            relative = "/".join(parts[len(pattern.fixed) :])
            name = f"{prefix}/{relative}" if prefix else relative
        yield Upload("/".join(parts), name, size_bytes)


def _files_below(task_directory: str, pattern: Pattern) -> Iterator[tuple[list[str], int]]:
    """Files under the pattern's fixed directory, with their sizes; folders that are links are not
    entered."""
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
                if not entry.is_dir(follow_symlinks=False):
                    yield parts, _size_of(entry)
                elif pattern.depth_max is None or len(parts) < pattern.depth_max:
                    folders.append(parts)


def _size_of(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # somebody is still at work there; opening it will tell
        return 0


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


class Sender:
    """Sends the outputs of one run; for several threads.

    ``stop`` ends it for good. After a failure of one output the rest of that output is left.
    """

    def __init__(
        self,
        task_directory: str,
        variables: dict[str, str],
        client: BlobClient,
        log: UploadLog,
        stop: threading.Event,
        permit: Permit,
        files: ThreadPoolExecutor,
    ) -> None:
        self._directory = task_directory
        self._variables = variables
        self._client = client
        self._log = log
        self._stop = stop
        self._permit = permit
        self._files = files

    def send(self, output: OutputFile) -> Failure | None:
        """Send what one output means. Raises BlobStopped.

        Each blob becomes visible only with the permit.
        """
        container = output.destination.container
        if container is None:
            return None
        try:
            if container.identity_reference is not None and not is_signed(container.container_url):
                raise OutputFailed(_no_identity(output))
            self._send_files(output, container)
        except OutputFailed as failed:
            return failed.failure
        except (PatternError, OSError) as error:
            self._log.complain(f"{output.file_pattern}: {error}")
            return failure(
                "FileUploadMiscError", ("FilePath", output.file_pattern), ("Message", str(error))
            )
        return None

    def _send_files(self, output: OutputFile, container: ContainerDestination) -> None:
        over = threading.Event()
        headers = put_headers(container)
        found = False

        def planned() -> Iterator[Upload]:
            nonlocal found
            for upload in plan_uploads(output, self._directory, self._variables):
                found = True
                yield upload

        def send_batch(batch: list[Upload]) -> None:
            for upload in batch:
                if self._stop.is_set():
                    raise BlobStopped
                if not over.is_set():
                    self._send_file(upload, container.container_url, headers)

        batches = in_batches(planned(), lambda upload: upload.size_bytes <= SMALL_BYTES)
        work_off(batches, lambda batch: self._files.submit(send_batch, batch), over.set)
        if not found:
            self._log.say(f"{output.file_pattern}: no file matches")

    def _send_file(self, upload: Upload, container_url: str, headers: dict[str, str]) -> None:
        try:
            source = open_beneath(self._directory, upload.path, os.O_RDONLY)
        except OSError as error:
            self._log.complain(f"{upload.path}: not uploaded: {error.strerror}")
            return  # a link that leads out, or a file that is gone: not the task's output
        try:
            if not stat.S_ISREG(os.fstat(source).st_mode):
                self._log.say(f"{upload.path}: not a file, not uploaded")
                return
            url = blob_url(container_url, _blob_name(upload.blob))
            self._client.upload_open(source, url, headers, stop=self._stop, permit=self._permit)
        except BlobError as error:
            self._log.complain(f"{upload.path}: {error}")
            raise OutputFailed(_blob_failure(error, upload.path)) from error
        except OSError as error:
            self._log.complain(f"{upload.path}: {error}")
            text = error.strerror or ""
            trouble = failure(
                "FileUploadMiscError", ("FilePath", shown(upload.path)), ("Message", text)
            )
            raise OutputFailed(trouble) from error
        finally:
            os.close(source)
        self._log.say(f"{upload.path}: uploaded as {upload.blob}")


def _blob_name(name: str) -> str:
    """Refuses (``OSError``): a name that is not text, which no blob can have."""
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise OSError(errno.EILSEQ, "the file's name is not UTF-8") from error
    return name


def shown(path: str) -> str:
    """A path as text, whatever bytes it has."""
    return path.encode(errors="replace").decode()


def _blob_failure(error: BlobError, path: str) -> Failure:
    return failure(
        UPLOAD_CODES[error.kind],
        ("FilePath", shown(path)),
        ("BlobUrl", error.url),
        ("HttpStatusCode", str(error.status) if error.status else ""),
        ("Message", error.reason),
    )


def _no_identity(output: OutputFile) -> Failure:
    return failure(
        "FileUploadAccessDenied", ("FilePath", output.file_pattern), ("Message", NO_IDENTITY)
    )


def put_headers(container: ContainerDestination) -> dict[str, str]:
    """The headers of a blob's request that a task may set; the others are the client's own."""
    headers = {}
    for header in container.upload_headers or []:
        name = header.name.lower()
        if name in PROPERTY_HEADERS:
            name = f"x-ms-blob-{name}"
        if name.startswith(("x-ms-", "if-")) and name not in OWN_HEADERS:
            headers[name] = header.value or ""
    return headers
