"""Outputs that outlive their nodes: stdout and stderr of tasks, up to a size, kept by the server.

They lie in ``<data>/kept/<node id>/workitems/…`` as they lay on the node. Where both are on one
file system a kept file is a link and costs nothing.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from lote.server.node_files import FileFacts, Listed
from lote.wire.errors import Refused

log = logging.getLogger("lote.kept")

KEPT_NAMES = frozenset({"stdout.txt", "stderr.txt"})
TASK_DEPTH = 3  # workitems/<job>/<job-n>/<task>


class KeptFiles:
    """The folder of kept files. ``file_bytes_max``: larger ones are cut off with their node;
    ``folder_bytes_max``: beyond it the nodes that went first are forgotten."""

    def __init__(self, folder: Path, file_bytes_max: int, folder_bytes_max: int) -> None:
        self._folder = folder
        self._file_bytes_max = file_bytes_max
        self._folder_bytes_max = folder_bytes_max

    def keep(self, node_id: str, root: Path) -> None:
        """Keep the outputs of a node that is about to go. A file that can't be kept is logged."""
        for directory in _task_directories(root / "workitems"):
            target = self._folder / node_id / directory.relative_to(root)
            for name in KEPT_NAMES:
                try:
                    self._keep_file(directory / name, target / name)
                except OSError as error:
                    log.error(
                        "file_not_kept", extra={"file": str(target / name), "why": str(error)}
                    )
        self._bound(node_id)

    def directory(self, node_id: str, directory: str) -> Path | None:
        """Where the files of a directory of a node that has gone are kept, if they are."""
        kept = self._folder / node_id / directory
        return kept if kept.is_dir() else None

    def forget(self, directories: list[str]) -> None:
        """Remove what is kept of these directories, of all nodes."""
        if not self._folder.is_dir():
            return
        for node in self._folder.iterdir():
            for directory in directories:
                shutil.rmtree(node / directory, ignore_errors=True)

    def _keep_file(self, source: Path, target: Path) -> None:
        try:
            status = os.lstat(source)
        except FileNotFoundError:
            return
        if not os.path.isfile(source) or os.path.islink(source):
            return  # a task may have put anything in its place
        if status.st_size > self._file_bytes_max:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            return
        except OSError:  # another file system
            shutil.copy2(source, target, follow_symlinks=False)

    def _bound(self, newest: str) -> None:
        if not self._folder.is_dir():
            return
        nodes = sorted(self._folder.iterdir(), key=lambda one: one.stat().st_mtime)
        sizes = {node: _bytes_of(node) for node in nodes}
        total = sum(sizes.values())
        for node in nodes:
            if total <= self._folder_bytes_max or node.name == newest:
                return
            shutil.rmtree(node, ignore_errors=True)
            total -= sizes[node]


def _task_directories(folder: Path, depth: int = TASK_DEPTH) -> Iterator[Path]:
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            if depth == 1:
                yield Path(entry.path)
            else:
                yield from _task_directories(Path(entry.path), depth - 1)


def _bytes_of(folder: Path) -> int:
    total = 0
    for directory, _, names in os.walk(folder):
        for name in names:
            total += os.lstat(os.path.join(directory, name)).st_size
    return total


# -- reading --------------------------------------------------------------------------------


def list_kept(folder: Path) -> list[Listed]:
    """The files kept of one task."""
    found = []
    for name in sorted(KEPT_NAMES):
        if (folder / name).exists():
            facts = kept_facts(folder, name)
            found.append(
                Listed(name, False, facts.size, facts.modified_us, facts.mode, facts.content_type)
            )
    return found


def kept_facts(folder: Path, name: str) -> FileFacts:
    """What is known of a kept file. Refuses: FileNotFound."""
    if name not in KEPT_NAMES:
        raise Refused("FileNotFound")
    try:
        status = os.lstat(folder / name)
    except FileNotFoundError:
        raise Refused("FileNotFound") from None
    return FileFacts(
        size=status.st_size,
        modified_us=status.st_mtime_ns // 1000,
        mode=f"0o{status.st_mode:o}",
        content_type="text/plain",
        length=status.st_size,
    )


def open_kept(
    folder: Path, name: str, start: int | None, end: int | None
) -> tuple[FileFacts, AsyncGenerator[bytes]]:
    """A kept file and its bytes from ``start`` to ``end`` (inclusive). Refuses: FileNotFound,
    InvalidRange."""
    facts = kept_facts(folder, name)
    first = start or 0
    if start is not None and first >= facts.size:
        raise Refused("InvalidRange")
    last = facts.size - 1 if end is None else min(end, facts.size - 1)
    facts.start, facts.length = first, max(0, last - first + 1)
    content = (folder / name).read_bytes()[first : last + 1]  # bounded by the size that is kept
    return facts, _one_piece(content)


async def _one_piece(content: bytes) -> AsyncGenerator[bytes]:
    if content:
        yield content
