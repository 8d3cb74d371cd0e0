"""Resource files: from what a task asks for to files in its working directory."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import quote

from lote.agent.beneath import Escapes, create_beneath
from lote.agent.cache import Cache, copy_file
from lote.agent.disk import is_disk_full
from lote.agent.failures import failure
from lote.agent.task_spec import ResourceFile
from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobError, BlobStopped
from lote.blobs.urls import blob_url, redact
from lote.wire.frames import AutoStorage, Failure

FILE_MODE_DEFAULT = 0o770  # REST: ResourceFile, fileMode

DOWNLOAD_CODES = {
    "not_found": "BlobNotFound",
    "access_denied": "BlobAccessDenied",
    "timed_out": "BlobDownloadTimedOut",
    "misc": "BlobDownloadMiscError",
}
LIST_CODES = {
    "not_found": "ResourceContainerNotFound",
    "access_denied": "ResourceContainerAccessDenied",
    "timed_out": "ResourceContainerListMiscError",
    "misc": "ResourceContainerListMiscError",
}


class InputFailed(Exception):
    """An input could not be had; ``failure`` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


class Input(NamedTuple):
    """One file to fetch; ``path`` is relative to the working directory."""

    url: str
    path: str
    mode: int


def expand_inputs(
    files: list[ResourceFile],
    storage: AutoStorage | None,
    client: BlobClient,
    stop: threading.Event,
) -> Iterator[Input]:
    """All files that these entries stand for; containers are listed. Raises InputFailed."""
    for file in files:
        mode = _file_mode(file)
        if file.http_url is not None:
            yield Input(file.http_url, file.file_path or "", mode)
            continue
        container_url = file.storage_container_url or _auto_storage_url(file, storage)
        folder = (file.file_path or "").rstrip("/")
        try:
            for item in client.list_blobs(container_url, file.blob_prefix or "", stop=stop):
                if item.name.endswith("/"):  # a marker of an empty folder, not a file
                    continue
                path = f"{folder}/{item.name}" if folder else item.name
                yield Input(blob_url(container_url, item.name), path, mode)
        except BlobError as error:
            raise InputFailed(_blob_failure(LIST_CODES, error, file.file_path or "")) from error


def fetch_input(
    wanted: Input,
    working_directory: str,
    owner: tuple[int, int] | None,
    cache: Cache,
    stop: threading.Event,
) -> None:
    """Bring one file into the working directory. Raises InputFailed, BlobStopped."""
    try:
        source = cache.open(wanted.url, stop)
    except BlobError as error:
        raise InputFailed(_blob_failure(DOWNLOAD_CODES, error, wanted.path)) from error
    except OSError as error:
        raise InputFailed(_disk_failure("ResourceFileWriteFailed", error, wanted.path)) from error
    try:
        if stop.is_set():
            raise BlobStopped
        _place(source, wanted, working_directory, owner)
    finally:
        os.close(source)


def _place(
    source: int, wanted: Input, working_directory: str, owner: tuple[int, int] | None
) -> None:
    try:
        target = create_beneath(working_directory, wanted.path, wanted.mode, owner)
    except Escapes as error:
        trouble = failure(
            "ResourceFileCreateFailed",
            ("FilePath", wanted.path),
            ("Message", "The path leaves the task's working directory"),
        )
        raise InputFailed(trouble) from error
    except OSError as error:
        # Making the folder or the file: a folder's name is what a link or a file stands in for.
        is_folder = error.errno in (errno.ENOTDIR, errno.ELOOP) and "/" in wanted.path
        code = "ResourceDirectoryCreateFailed" if is_folder else "ResourceFileCreateFailed"
        raise InputFailed(_disk_failure(code, error, wanted.path)) from error
    try:
        copy_file(source, target)
    except OSError as error:
        raise InputFailed(_disk_failure("ResourceFileWriteFailed", error, wanted.path)) from error
    finally:
        os.close(target)


def _file_mode(file: ResourceFile) -> int:
    if not file.file_mode:
        return FILE_MODE_DEFAULT
    try:
        return int(file.file_mode, 8) & 0o777
    except ValueError as error:
        trouble = failure(
            "ResourceFileCreateFailed",
            ("FilePath", file.file_path or ""),
            ("Message", f"not an octal file mode: {file.file_mode[:20]}"),
        )
        raise InputFailed(trouble) from error


def _auto_storage_url(file: ResourceFile, storage: AutoStorage | None) -> str:
    container = file.auto_storage_container_name or ""
    if storage is None or not container:
        message = "The account has no linked storage account"
        raise InputFailed(failure("ResourceContainerListMiscError", ("Message", message)))
    return f"{storage.blob_endpoint.rstrip('/')}/{quote(container)}?{storage.sas.lstrip('?')}"


def _blob_failure(codes: dict[str, str], error: BlobError, path: str) -> Failure:
    return failure(
        codes[error.kind],
        ("FilePath", path),
        ("BlobUrl", redact(error.url)),
        ("HttpStatusCode", str(error.status) if error.status else ""),
        ("Message", error.reason),
    )


def _disk_failure(code: str, error: OSError, path: str) -> Failure:
    if is_disk_full(error):
        code = "DiskFull"
    return failure(code, ("FilePath", path), ("Message", error.strerror or str(error)))
