"""Copies of a data folder, of a running service or a stopped one.

The rule. What a backup holds of each database is its state at one moment. The account's moment
comes first and the blob store's after it, so that outputs of tasks that the backup shows completed
are in it. Files that go meanwhile do not disturb: see `lote.upkeep.blobs`. Nodes are not part of a
backup, but the outputs that the server keeps of nodes that have gone are.

The copy grows beside its destination, in ``.<name>.part``, and gets its name in one step when all
of it is on the disk. What a killed backup leaves is removed by the next one to the same place.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

import lote
from lote.server.folder import AccountFile, write_private
from lote.store.copying import copy_database
from lote.store.database import DatabaseError
from lote.upkeep.blobs import Blobs
from lote.upkeep.failure import BackupFailed
from lote.upkeep.manifest import (
    CONTENT_NAME,
    FORMAT,
    MANIFEST_NAME,
    SUMS_NAME,
    Manifest,
    Part,
    Sum,
)
from lote.upkeep.step import Step, Watcher, unwatched
from lote.upkeep.tree import (
    Copied,
    claim_folder,
    copy_file,
    make_folders,
    sum_file,
    sync_folder,
    sync_tree,
)
from lote.wire.formats import format_timestamp
from lote.world import World

ACCOUNT_DATABASE = "account.db"
PLAIN_FILES = ("account.json", "ports.json")
PLAIN_FOLDERS = ("tls", "tokens", "kept")
BLOBS_FOLDER = "blobs"


def make_backup(folder: Path, target: Path, world: World, watch: Watcher = unwatched) -> Manifest:
    """Copy a data folder into ``target``, which must not exist or be empty; gives its manifest.

    Raises BackupFailed, and then nothing is left at ``target``.
    """
    folder, target = folder.absolute(), target.absolute()
    if not (folder / "account.json").is_file():
        raise BackupFailed(f"{folder} is not a data folder: it has no account.json.")
    if target == folder or folder in target.parents:
        raise BackupFailed(f"{target} is inside the data folder.")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupFailed(f"{target} exists and is not empty; name a new folder.")
    try:
        with _part_folder(target) as part:
            manifest = _fill(folder, part, world, watch)
            watch(Step("writing to the disk"))
            sync_tree(part)
            part.rename(target)
        sync_folder(target.parent)
    except (OSError, DatabaseError, msgspec.MsgspecError) as error:
        raise BackupFailed(f"The backup could not be made: {error}.") from error
    return manifest


@contextmanager
def _part_folder(target: Path) -> Iterator[Path]:
    """The folder that becomes the backup, for one backup at a time; gone if it did not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    lock = claim_folder(part)
    if lock is None:
        raise BackupFailed(f"Another backup to {target} is under way.")
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        os.close(lock)


def _fill(folder: Path, part: Path, world: World, watch: Watcher) -> Manifest:
    account = msgspec.json.decode((folder / "account.json").read_bytes(), type=AccountFile)
    made = format_timestamp(world.now_us())
    copy = Copy(folder, part, watch)
    try:
        schemas = {}
        if (folder / ACCOUNT_DATABASE).exists():
            schemas[ACCOUNT_DATABASE] = copy.database(ACCOUNT_DATABASE)
        for name in PLAIN_FILES:
            copy.file_if_there(name)
        for name in PLAIN_FOLDERS:
            copy.folder(name)
        lost = 0
        if (folder / BLOBS_FOLDER).is_dir():
            with Blobs(folder / BLOBS_FOLDER, part / CONTENT_NAME / BLOBS_FOLDER, watch) as blobs:
                for path, copied in blobs.copy():
                    copy.note(f"{BLOBS_FOLDER}/{path}", copied)
                schemas |= {f"{BLOBS_FOLDER}/{name}": n for name, n in blobs.schemas.items()}
                lost = blobs.lost
        manifest = Manifest(
            format=FORMAT,
            lote=lote.__version__,
            made=made,
            account=account.name,
            schemas=schemas,
            parts=copy.parts,
            sums_sha256=copy.close(),
            lost_blob_files=lost,
        )
    finally:
        copy.close()
    content = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    write_private(part / MANIFEST_NAME, content + b"\n")
    return manifest


class Copy:
    """The files of a backup as they are copied, with their sums."""

    def __init__(self, folder: Path, part: Path, watch: Watcher) -> None:
        self.parts: dict[str, Part] = {}
        self._folder = folder
        self._content = part / CONTENT_NAME
        self._content.mkdir(mode=0o700)
        self._watch = watch
        self._sums_path = part / SUMS_NAME
        descriptor = os.open(self._sums_path, os.O_WRONLY | os.O_CREAT, 0o600)
        self._sums = os.fdopen(descriptor, "wb")

    def note(self, path: str, copied: Copied) -> None:
        """A file is there: its sum is written down."""
        if "\n" in path or "\\" in path:
            raise BackupFailed(f"{path!r} is a name that {SUMS_NAME} can't hold.")
        self._sums.write(Sum(path, copied.sha256).line)
        kind = self.parts.setdefault(path.split("/")[0], Part())
        kind.files += 1
        kind.bytes += copied.size_bytes

    def database(self, path: str) -> int:
        """Copy a database as it is now; gives its schema number."""
        target = self._content / path
        what = "account"
        version = copy_database(
            self._folder / path, target, lambda done, of: self._watch(Step(what, done, of))
        )
        target.chmod(0o600)
        self.note(path, sum_file(target))
        return version

    def file_if_there(self, path: str) -> None:
        """Copy a file, unless it is gone or never was."""
        target = self._content / path
        make_folders(self._content, target.parent)
        with suppress(FileNotFoundError):  # kept outputs go when their job is deleted
            self.note(path, copy_file(self._folder / path, target))

    def folder(self, path: str) -> None:
        """Copy all plain files below a folder; links are none of the service's."""
        root = self._folder / path
        self._watch(Step(path))
        for parent, _, names in os.walk(root):
            for name in names:
                file = Path(parent, name)
                if file.is_file() and not file.is_symlink() and not name.startswith("."):
                    self.file_if_there(str(file.relative_to(self._folder)))

    def close(self) -> str:
        """Finish the sums; gives the sum of them."""
        self._sums.close()
        return sum_file(self._sums_path).sha256
