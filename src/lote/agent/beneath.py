"""Opening paths that tasks and clients name, without ever leaving a folder.

Links are followed only where they stay inside; whoever swaps a folder for a link while we walk
gets a refusal, because the walk itself follows none.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

NO_LINK = frozenset({errno.EXDEV, errno.EMLINK, errno.EPERM, errno.ENOENT, errno.EOPNOTSUPP})
IS_LINK = frozenset({errno.ELOOP, errno.ENOTDIR})  # what O_NOFOLLOW makes of a link
_linking = threading.Lock()  # a file's mode is looked at, changed and used in one go
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Escapes(OSError):
    """A path that would leave its folder."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.EPERM, "the path leaves its folder", path)


def path_parts(path: str) -> list[str]:
    """The parts of a relative path, ``.`` and doubled slashes dropped.

    Raises Escapes for absolute paths, ``..`` and NUL.
    """
    if path.startswith("/") or "\0" in path:
        raise Escapes(path)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Escapes(path)
    return parts


def real_parts(folder: str, path: str) -> list[str]:
    """The parts of what a relative path leads to, links resolved. Raises Escapes.

    ``folder`` itself must hold no links.
    """
    real = os.path.realpath("/".join([folder, *path_parts(path)]))
    if real != folder and not real.startswith(folder + "/"):
        raise Escapes(path)
    return [part for part in real[len(folder) :].split("/") if part]


@contextmanager
def opened_folder(folder: str, parts: list[str]) -> Iterator[int]:
    """A descriptor of the folder these parts lead to; no part may be a link."""
    descriptor = os.open(folder, _FOLDER)
    try:
        for part in parts:
            below = os.open(part, _FOLDER, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def open_beneath(folder: str, path: str, flags: int, mode: int = 0o600) -> int:
    """Open what a relative path names beneath a folder; never blocks on a pipe.

    Raises Escapes, or what ``os.open`` raises.
    """
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        return _open_parts(folder, path_parts(path), flags, mode)
    except OSError as error:
        if error.errno not in IS_LINK:
            raise
    return _open_parts(folder, real_parts(folder, path), flags, mode)


def _open_parts(folder: str, parts: list[str], flags: int, mode: int) -> int:
    """Open a file by the parts of its path, none of which may be a link."""
    if not parts:
        return os.open(folder, _FOLDER)
    with opened_folder(folder, parts[:-1]) as parent:
        return os.open(parts[-1], flags, mode, dir_fd=parent)


def create_beneath(folder: str, path: str, mode: int, owner: tuple[int, int] | None) -> int:
    """Make a new file for writing, with the folders it needs; what had its name is unlinked.

    Follows no link at all: earlier attempts of a task may have left some. New folders and the
    file belong to ``owner`` (uid, gid). Raises Escapes or OSError.
    """
    with Nest(folder, owner) as nest:
        return nest.create(path, mode)


class Nest:
    """A folder in which files are made, as `create_beneath` does; keeps the folders below it
    open meanwhile. For one thread, and for so few files that descriptors do not run out."""

    def __init__(self, folder: str, owner: tuple[int, int] | None) -> None:
        self._owner = owner
        self._folders: dict[tuple[str, ...], int] = {(): os.open(folder, _FOLDER)}

    def __enter__(self) -> Nest:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._folders.values():
            os.close(descriptor)

    def create(self, path: str, mode: int) -> int:
        """Make a file; gives a descriptor for writing. Raises Escapes or OSError."""
        parent, name = self._parent(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            created = os.open(name, flags, 0o600, dir_fd=parent)
        except FileExistsError:
            os.unlink(name, dir_fd=parent)
            created = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            self._give(created, mode)
        except OSError:
            os.close(created)
            raise
        return created

    def adopt(self, descriptor: int, source: str, path: str, mode: int) -> None:
        """Move a file here; it was opened as ``descriptor``. Raises Escapes or OSError."""
        parent, name = self._parent(path)
        self._give(descriptor, mode)
        os.rename(source, name, dst_dir_fd=parent)

    def link(self, descriptor: int, source: str, path: str, mode: int) -> bool:
        """Give a file of somebody else's a name here too; it gets the mode if it has no other
        name yet, else it must have it already. Gives whether that went. Raises Escapes or OSError.
        """
        parent, name = self._parent(path)
        with _linking:
            status = os.fstat(descriptor)
            if status.st_nlink == 1:
                os.fchmod(descriptor, mode)
            elif stat.S_IMODE(status.st_mode) != mode:
                return False
            try:
                os.link(source, name, dst_dir_fd=parent, follow_symlinks=False)
            except FileExistsError:
                os.unlink(name, dir_fd=parent)
                os.link(source, name, dst_dir_fd=parent, follow_symlinks=False)
            except OSError as error:
                if error.errno not in NO_LINK:
                    raise
                return False
        return True

    def _parent(self, path: str) -> tuple[int, str]:
        *folders, name = path_parts(path) or [""]
        if not name:
            raise Escapes(path)
        return self._enter(tuple(folders)), name

    def _enter(self, folders: tuple[str, ...]) -> int:
        found = self._folders.get(folders)
        if found is None:
            found = _enter(self._enter(folders[:-1]), folders[-1], self._owner)
            self._folders[folders] = found
        return found

    def _give(self, descriptor: int, mode: int) -> None:
        if self._owner is not None:
            os.fchown(descriptor, *self._owner)
        os.fchmod(descriptor, mode)


def _enter(parent: int, name: str, owner: tuple[int, int] | None) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except FileNotFoundError:
        with suppress(FileExistsError):  # several downloads make the same folder
            os.mkdir(name, 0o755, dir_fd=parent)
    below = os.open(name, _FOLDER, dir_fd=parent)
    if owner is not None:
        os.fchown(below, *owner)
    return below
