"""The blob store's part of a backup, while blobs come and go.

The rows are copied as they are at one moment. Then every content file they name is held by a hard
link, so that it stays although its blob is deleted or replaced. If a file went before it was held,
its row went before that, and the rows are copied anew: what is held already stays held, so each
round has only the blobs of its own time to do, and the last one finds all. Then the held files are
copied in peace. A file that is missing although newer rows name it too is damage of an earlier
time; it is counted, and the backup goes on without it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from lote.storage.snapshot import DATABASE_NAME, ContentName, content_files
from lote.store.copying import copy_database
from lote.upkeep.failure import BackupFailed
from lote.upkeep.step import Step, Watcher
from lote.upkeep.tree import Copied, claim_folder, copy_file, make_folders, sum_file

HOLD_NAME = ".backup"  # beside the contents: hard links need one file system
ROUNDS_MAX = 50


class Blobs:
    """Holds and copies the blobs of a storage folder; lets them go at the end of the block.

    ``schemas`` and ``lost`` are known after `copy`. Raises BackupFailed when another backup of
    this folder is under way, OSError and DatabaseError.
    """

    def __init__(
        self,
        folder: Path,
        target: Path,
        watch: Watcher,
        on_round: Callable[[], None] = lambda: None,
    ) -> None:
        self.schemas: dict[str, int] = {}
        self.lost = 0
        self._folder = folder
        self._target = target
        self._watch = watch
        self._on_round = on_round
        self._hold = folder / HOLD_NAME
        self._sums: dict[str, Copied] = {}  # of files that could not be held but were copied

    def __enter__(self) -> Blobs:
        claimed = claim_folder(self._hold)
        if claimed is None:
            raise BackupFailed("Another backup of this folder is under way.")
        self._lock = claimed
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._hold, ignore_errors=True)
        os.close(self._lock)

    def copy(self) -> Iterator[tuple[str, Copied]]:
        """Copy rows and contents; gives each file's path in the storage folder and its sum."""
        self._target.mkdir(mode=0o700)
        if not (self._folder / DATABASE_NAME).exists():
            return
        self._hold_all()
        rows = self._target / DATABASE_NAME
        yield DATABASE_NAME, sum_file(rows)
        total = sum(one.size_bytes for one in content_files(rows))
        done = 0
        for one in content_files(rows):
            copied = self._sums.get(one.path) or self._copy_held(one)
            if copied is None:
                self.lost += 1
                continue
            done += copied.size_bytes
            self._watch(Step("blobs", done, total))
            yield one.path, copied
        self._drop_superfluous(rows)

    def _hold_all(self) -> None:
        """Copy rows until all that they name is held."""
        rows = self._target / DATABASE_NAME
        gone: set[str] = set()
        for _ in range(ROUNDS_MAX):
            rows.unlink(missing_ok=True)
            self.schemas[DATABASE_NAME] = copy_database(
                self._folder / DATABASE_NAME,
                rows,
                lambda done, total: self._watch(Step("blob list", done, total)),
            )
            rows.chmod(0o600)
            self._on_round()
            missing = {one.path for one in content_files(rows) if not self._hold_one(one)}
            if missing <= gone:  # named still, after it was missed: it never was there
                return
            gone |= missing
        raise BackupFailed("Blobs are replaced faster than they can be held.")

    def _hold_one(self, one: ContentName) -> bool:
        """Keep a content file from going; false when it has gone."""
        held = self._hold / one.path
        if held.exists() or one.path in self._sums:
            return True
        source = self._folder / one.path
        try:
            make_folders(self._hold.parent, held.parent)
            os.link(source, held)
        except FileNotFoundError:
            return False
        except OSError:  # a file system without links, or a full one: the bytes themselves
            try:
                self._sums[one.path] = self._copy(source, one.path)
            except FileNotFoundError:
                return False
        return True

    def _copy_held(self, one: ContentName) -> Copied | None:
        held = self._hold / one.path
        if not held.exists():
            return None
        copied = self._copy(held, one.path)
        held.unlink()  # gives a deleted blob's space back as soon as it can be given
        return copied

    def _copy(self, source: Path, path: str) -> Copied:
        target = self._target / path
        make_folders(self._target, target.parent)
        return copy_file(source, target)

    def _drop_superfluous(self, rows: Path) -> None:
        """Remove copies of files that only earlier rows named."""
        for one in content_files(rows):
            self._sums.pop(one.path, None)
        for path in self._sums:
            (self._target / path).unlink()
