"""A data folder from a backup.

All is copied below ``.restore`` in the folder and checked on the way; then it moves up and the
empty ``.restore`` goes. While it is there, no server starts on the folder, and another restore
begins anew. So the folder is made whole or not at all, on a mount point too.

The account is taken out of the hands of its nodes before it is used: their agents, wherever they
are, are those of the server that the backup was made of. They are refused here, their tasks run
again on nodes with new names, and two servers never share one.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path

from lote.server.folder import UNFINISHED_NAME, DataFolder, FolderInUse
from lote.storage.database import SCHEMA_VERSION as STORAGE_SCHEMA
from lote.storage.snapshot import DATABASE_NAME
from lote.store.database import MIGRATIONS, DatabaseError, open_writer
from lote.store.fencing import forget_nodes
from lote.upkeep.backup import ACCOUNT_DATABASE, BLOBS_FOLDER
from lote.upkeep.failure import RestoreFailed
from lote.upkeep.manifest import CONTENT_NAME, Manifest, read_manifest, read_sums
from lote.upkeep.step import Step, Watcher, unwatched
from lote.upkeep.tree import copy_file, make_folders, sync_folder, sync_tree
from lote.world import World

# What an empty folder may hold: our lock, and what mkfs makes.
EMPTY = frozenset({"server.lock", "lost+found", UNFINISHED_NAME})
KNOWN_SCHEMAS = {
    ACCOUNT_DATABASE: len(MIGRATIONS),
    f"{BLOBS_FOLDER}/{DATABASE_NAME}": STORAGE_SCHEMA,
}


def restore_backup(
    source: Path, folder: Path, world: World, watch: Watcher = unwatched
) -> Manifest:
    """Make a data folder from a backup; gives the backup's manifest.

    ``folder`` is made if need be. Raises RestoreFailed for a folder that is not empty or that a
    server has, for a backup that is damaged or too new; nothing of the backup is left then.
    """
    manifest = read_manifest(source)
    for name, number in manifest.schemas.items():
        known = KNOWN_SCHEMAS.get(name, 0)
        if number > known:
            raise RestoreFailed(
                f"{name} of the backup has schema {number}; this Lote knows {known}."
                " Use a newer one."
            )
    try:
        locked = DataFolder(folder)
        try:
            _restore(source, manifest, folder, world, watch)
        finally:
            locked.close()
    except FolderInUse as error:
        raise RestoreFailed(str(error)) from None
    except (OSError, DatabaseError) as error:
        raise RestoreFailed(f"{folder} could not be made: {error}.") from error
    return manifest


def _restore(source: Path, manifest: Manifest, folder: Path, world: World, watch: Watcher) -> None:
    unfinished = folder / UNFINISHED_NAME
    if unfinished.exists():
        _clear(folder)  # all there is came from a restore that was killed
    elif others := sorted(one.name for one in folder.iterdir() if one.name not in EMPTY):
        raise RestoreFailed(f"{folder} is not empty: it has {', '.join(others[:3])}.")
    unfinished.mkdir(mode=0o700)
    sync_folder(folder)
    try:
        _copy(source, manifest, unfinished, watch)
        watch(Step("taking the account out of its nodes' hands"))
        if ACCOUNT_DATABASE in manifest.schemas:
            with closing(open_writer(unfinished / ACCOUNT_DATABASE)) as db:
                forget_nodes(db, world.now_us(), f"from a backup of {manifest.made}")
        watch(Step("writing to the disk"))
        sync_tree(unfinished)
        for entry in sorted(unfinished.iterdir()):
            entry.rename(folder / entry.name)
        sync_folder(folder)
    except BaseException:
        _clear(folder)
        raise
    unfinished.rmdir()
    sync_folder(folder)


def _copy(source: Path, manifest: Manifest, target: Path, watch: Watcher) -> None:
    """Copy all files and compare them with their sums. Raises RestoreFailed."""
    files = done = 0
    for one in read_sums(source, manifest):
        path = target / one.path
        make_folders(target, path.parent)
        try:
            copied = copy_file(source / CONTENT_NAME / one.path, path)
        except FileNotFoundError:
            raise RestoreFailed(f"{source} is not whole: {one.path} is missing.") from None
        if copied.sha256 != one.sha256:
            raise RestoreFailed(f"{source} is damaged: {one.path} is not what it was.")
        files, done = files + 1, done + copied.size_bytes
        watch(Step("files", done, manifest.bytes))
    if (files, done) != (manifest.files, manifest.bytes):
        raise RestoreFailed(f"{source} is not whole: {files} files of {manifest.files}.")


def _clear(folder: Path) -> None:
    """Remove what a restore put into a folder, the mark that it is unfinished last."""
    for entry in sorted(folder.iterdir(), key=lambda one: one.name == UNFINISHED_NAME):
        if entry.name in EMPTY and entry.name != UNFINISHED_NAME:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            os.unlink(entry)
