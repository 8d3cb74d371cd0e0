"""Files of a node as clients see them: list, read, look at, delete; never outside the root."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator

import msgspec

from lote.agent.beneath import Escapes, open_beneath, opened_folder, path_parts, real_parts
from lote.agent.layout import ROOT_FOLDERS

CHUNK_BYTES = 256 * 1024


class FileRefused(Exception):
    """A request that can't be answered: HTTP status and the protocol's error code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class FileFacts(msgspec.Struct, kw_only=True, omit_defaults=False):
    """Properties of a file. ``start`` and ``length`` are the part that is sent, in bytes."""

    size: int
    modified_us: int
    mode: str
    is_directory: bool
    content_type: str
    start: int = 0
    length: int = 0


class ListedFile(msgspec.Struct, kw_only=True):
    """One line of a list; ``name`` is relative to the path that was asked for."""

    name: str
    is_directory: bool
    size: int
    modified_us: int
    mode: str
    content_type: str


def open_file(root: str, path: str) -> tuple[int, FileFacts]:
    """A descriptor of a file or directory, and its properties. Raises FileRefused."""
    try:
        descriptor = open_beneath(root, path, os.O_RDONLY)
    except OSError as error:
        raise _refusal(error) from error
    status = os.fstat(descriptor)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        os.close(descriptor)
        raise FileRefused(404, "FileNotFound")  # a pipe or a socket is no file to clients
    return descriptor, _facts(path, status)


def select_range(facts: FileFacts, start: int | None, end: int | None) -> None:
    """Set the part of a file to be sent; ``end`` is inclusive. Raises FileRefused (416)."""
    if facts.is_directory:
        raise FileRefused(409, "OperationInvalidForCurrentState")
    first = start or 0
    last = facts.size - 1 if end is None else min(end, facts.size - 1)
    if start is not None and (first >= facts.size or first > last):
        raise FileRefused(416, "InvalidRange")
    facts.start = first
    facts.length = max(0, last - first + 1)


def read_range(descriptor: int, start: int, length: int) -> Iterator[bytes]:
    """The bytes, in chunks; fewer if the file becomes shorter meanwhile."""
    while length > 0:
        chunk = os.pread(descriptor, min(length, CHUNK_BYTES), start)
        if not chunk:
            return
        yield chunk
        start += len(chunk)
        length -= len(chunk)


def list_files(root: str, path: str, *, recursive: bool) -> list[ListedFile]:
    """What is below a directory, by name. Links that lead out are left out. Raises FileRefused."""
    try:
        parts = real_parts(root, path)
        found: list[ListedFile] = []
        with opened_folder(root, parts) as folder:
            _walk(root, folder, parts, "", recursive, found)
    except OSError as error:
        raise _refusal(error) from error
    return sorted(found, key=lambda one: one.name)


def delete_file(root: str, path: str, *, recursive: bool) -> None:
    """Remove a file, or a directory (if not empty only when ``recursive``). Raises FileRefused.

    The root and its standing folders stay.
    """
    try:
        parts = path_parts(path)
        if not parts or (len(parts) == 1 and parts[0] in ROOT_FOLDERS):
            raise FileRefused(409, "OperationInvalidForCurrentState")
        parent_parts = real_parts(root, "/".join(parts[:-1]))
        with opened_folder(root, parent_parts) as parent:
            name = parts[-1]
            status = os.stat(name, dir_fd=parent, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=parent)
            elif recursive:
                shutil.rmtree(name, dir_fd=parent)
            else:
                os.rmdir(name, dir_fd=parent)
    except OSError as error:
        raise _refusal(error) from error


def _walk(
    root: str,
    folder: int,
    parts: list[str],
    prefix: str,
    recursive: bool,
    found: list[ListedFile],
) -> None:
    for name in os.listdir(folder):
        try:
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                real_parts(root, "/".join([*parts, name]))
                status = os.stat(name, dir_fd=folder)
                if stat.S_ISDIR(status.st_mode):
                    continue  # its files are listed where they are
        except OSError:  # gone meanwhile, or a link that leads out or nowhere
            continue
        facts = _facts(name, status)
        found.append(
            ListedFile(
                name=prefix + name,
                is_directory=facts.is_directory,
                size=facts.size,
                modified_us=facts.modified_us,
                mode=facts.mode,
                content_type=facts.content_type,
            )
        )
        if recursive and facts.is_directory:
            try:
                with opened_folder(root, [*parts, name]) as below:
                    _walk(root, below, [*parts, name], f"{prefix}{name}/", recursive, found)
            except (FileNotFoundError, NotADirectoryError):
                continue


def _facts(path: str, status: os.stat_result) -> FileFacts:
    is_directory = stat.S_ISDIR(status.st_mode)
    size = 0 if is_directory else status.st_size
    return FileFacts(
        size=size,
        modified_us=status.st_mtime_ns // 1000,
        mode=f"0o{status.st_mode:o}",
        is_directory=is_directory,
        content_type="" if is_directory else content_type(path),
        length=size,
    )


def content_type(path: str) -> str:
    """The media type by a file's name."""
    import mimetypes  # only nodes whose files are looked at need it

    return mimetypes.guess_type(path)[0] or "application/octet-stream"


def _refusal(error: OSError) -> FileRefused:
    if isinstance(error, (Escapes, FileNotFoundError, NotADirectoryError)):
        return FileRefused(404, "FileNotFound")
    if error.errno in (39, 17):  # ENOTEMPTY, EEXIST: rmdir may say either
        return FileRefused(409, "OperationInvalidForCurrentState")
    if error.errno == 40:  # ELOOP: a link where none was a moment ago
        return FileRefused(404, "FileNotFound")
    return FileRefused(403, "IOError")
