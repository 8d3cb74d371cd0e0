"""Resource files: from what a task asks for to files in its working directory."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote

from lote.agent.beneath import Escapes, Nest
from lote.agent.cache import SMALL_BYTES, Cache, Content, Wanted, let_go
from lote.agent.copying import copy_file
from lote.agent.disk import is_disk_full
from lote.agent.failures import failure
from lote.agent.task_spec import NO_IDENTITY, ResourceFile, is_signed
from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobError, BlobStopped
from lote.blobs.files import write_all
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
    """One file to fetch; ``path`` is relative to the working directory. ``size_bytes`` if known."""

    content: Wanted
    path: str
    mode: int
    size_bytes: int | None = None


def expand_inputs(
    files: list[ResourceFile],
    storage: AutoStorage | None,
    client: BlobClient,
    stop: threading.Event,
) -> Iterator[Input]:
    """All files that these entries stand for; containers are listed. Raises InputFailed."""
    for file in files:
        mode = _file_mode(file)
        _check_identity(file)
        if file.http_url is not None:
            yield Input(Wanted(file.http_url), file.file_path or "", mode)
            continue
        container_url = file.storage_container_url or _auto_storage_url(file, storage)
        folder = (file.file_path or "").rstrip("/")
        try:
            for item in client.list_blobs(container_url, file.blob_prefix or "", stop=stop):
                if item.name.endswith("/"):  # a marker of an empty folder, not a file
                    continue
                path = f"{folder}/{item.name}" if folder else item.name
                url = blob_url(container_url, item.name)
                yield Input(Wanted(url, item.etag, container_url), path, mode, item.size)
        except BlobError as error:
            raise InputFailed(_blob_failure(LIST_CODES, error, file.file_path or "")) from error


def fetch_inputs(
    inputs: Sequence[Input],
    working_directory: str,
    owner: tuple[int, int] | None,
    cache: Cache,
    stop: threading.Event,
) -> None:
    """Bring some files into the working directory. Raises InputFailed, BlobStopped."""
    with Nest(working_directory, owner) as nest:
        for one in inputs:
            if stop.is_set():
                raise BlobStopped
            fetch_input(one, nest, cache, stop, may_link=owner is not None and is_shareable(one))


def is_small(wanted: Input) -> bool:
    """Whether it is known to be so small that a thread should take several of its kind."""
    return wanted.size_bytes is not None and wanted.size_bytes <= SMALL_BYTES


def is_shareable(wanted: Input) -> bool:
    """Whether tasks may have one file in common: its mode lets nobody write, and lets others do
    what the owner may, as it belongs to the agent."""
    mode = wanted.mode
    return not mode & 0o222 and mode & 0o7 == mode >> 6 == mode >> 3 & 0o7


def fetch_input(
    wanted: Input, nest: Nest, cache: Cache, stop: threading.Event, *, may_link: bool
) -> None:
    """Bring one file. Raises InputFailed, BlobStopped."""
    try:
        content = cache.get(wanted.content, stop, may_link=may_link)
    except BlobError as error:
        raise InputFailed(_blob_failure(DOWNLOAD_CODES, error, wanted.path)) from error
    except OSError as error:
        raise InputFailed(_disk_failure("ResourceFileWriteFailed", error, wanted.path)) from error
    try:
        if stop.is_set():
            raise BlobStopped
        _place(content, wanted, nest, stop, may_link=may_link)
    finally:
        let_go(content)


def _place(
    content: Content, wanted: Input, nest: Nest, stop: threading.Event, *, may_link: bool
) -> None:
    source, path, mode = content.descriptor, wanted.path, wanted.mode
    try:
        if content.is_own:
            nest.adopt(source, content.path, path, mode)
            return
        if may_link and content.path and nest.link(source, content.path, path, mode):
            return
        target = nest.create(path, mode)
    except Escapes as error:
        trouble = failure(
            "ResourceFileCreateFailed",
            ("FilePath", path),
            ("Message", "The path leaves the task's working directory"),
        )
        raise InputFailed(trouble) from error
    except OSError as error:
        # Making the folder or the file: a folder's name is what a link or a file stands in for.
        is_folder = error.errno in (errno.ENOTDIR, errno.ELOOP) and "/" in path
        code = "ResourceDirectoryCreateFailed" if is_folder else "ResourceFileCreateFailed"
        raise InputFailed(_disk_failure(code, error, path)) from error
    try:
        if content.small is not None:
            write_all(target, memoryview(content.small), 0)
        else:
            copy_file(source, target, stop)
    except OSError as error:
        raise InputFailed(_disk_failure("ResourceFileWriteFailed", error, path)) from error
    finally:
        os.close(target)


def _check_identity(file: ResourceFile) -> None:
    """Refuses: what only a managed identity could read."""
    url = file.http_url or file.storage_container_url
    if file.identity_reference is None or url is None or is_signed(url):
        return
    code = "BlobAccessDenied" if file.http_url else "ResourceContainerAccessDenied"
    detail = ("BlobUrl", redact(url)), ("Message", NO_IDENTITY)
    raise InputFailed(failure(code, ("FilePath", file.file_path or ""), *detail))


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
