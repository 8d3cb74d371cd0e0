"""A service whose power can be cut: what it did not sync is gone. See ``unsynced.c``."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness import Lote, gone, lote_service, until

from lote.engines.process import ProcessStat, list_stats, read_stat
from lote.store.database import open_writer
from lote.store.invariants import check_invariants

SOURCE = Path(__file__).with_name("unsynced.c")
KEPT = "nodes"  # the nodes' own files; their machines keep their power

FORGETFUL = {
    "rows": """
import sqlite3

class Forgetful(sqlite3.Connection):
    def execute(self, sql, *values):
        if sql.lower().startswith("pragma synchronous"):
            sql = "PRAGMA synchronous = OFF"
        return super().execute(sql, *values)

_connect = sqlite3.connect
sqlite3.connect = lambda *words, **named: _connect(*words, factory=Forgetful, **named)
""",
    "files": """
import os
os.fsync = os.fdatasync = lambda descriptor: None
""",
}
"""Done to a service at its start (``sitecustomize``), so that it says it syncs, and does not."""


def build_library(folder: Path) -> Path:
    """Compile ``unsynced.c``; needs gcc (``scripts/prepare tests`` sees to it)."""
    library = folder / "unsynced.so"
    flags = ["-O2", "-Wall", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, "-o", library, SOURCE, "-ldl", "-lpthread"], check=True)
    return library


class Mains:
    """The power supply of a service: what would be on the disk if it were cut now."""

    def __init__(self, lote: Lote, shadow: Path) -> None:
        self._lote = lote
        self._shadow = shadow
        self._seed()

    def cut(self) -> None:
        """End server and storage at one moment, and lose what they had not synced."""
        lote = self._lote
        assert lote.process is not None
        if lote.ready is not None:
            lote.client.close()
        with self._frozen() as processes:
            for one in processes:
                os.kill(one.pid, signal.SIGKILL)
        lote.process.wait()
        lote.process = None
        until(lambda: gone(processes), "the end of server and storage")
        for path in lote.data.iterdir():
            if path.name != KEPT:
                remove(path)
        self._restore(lote.data.stat().st_ino, lote.data)
        self._seed()

    def copy(self, target: Path) -> None:
        """What a cut at this moment would leave; the service goes on."""
        with self._frozen():
            self._restore(self._lote.data.stat().st_ino, target)

    def _restore(self, number: int, target: Path) -> None:
        """Copy what was synced of a folder, from there on down."""
        target.mkdir(exist_ok=True)
        names = self._shadow / "folders" / str(number)
        for entry in names.iterdir() if names.exists() else ():
            if not entry.is_symlink():
                shutil.copyfile(entry, target / entry.name)
            elif entry.name != KEPT:
                self._restore(int(os.readlink(entry)), target / entry.name)

    @contextlib.contextmanager
    def _frozen(self) -> Iterator[list[ProcessStat]]:
        lote = self._lote
        os.kill(lote.pid, signal.SIGSTOP)  # before a look for the others: it starts them
        agents = set(lote.agents().values())
        below = [one for one in list_stats() if one.parent == lote.pid and one.pid not in agents]
        server = read_stat(lote.pid)
        assert server is not None
        processes = [server, *below]
        for one in below:
            os.kill(one.pid, signal.SIGSTOP)
        try:
            yield processes
        finally:
            for one in processes:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one.pid, signal.SIGCONT)

    def _seed(self) -> None:
        """Everything that is there now is on the disk."""
        shutil.rmtree(self._shadow, ignore_errors=True)
        inodes, folders = self._shadow / "inodes", self._shadow / "folders"
        inodes.mkdir(parents=True)
        folders.mkdir()
        for folder, below, files in os.walk(self._lote.data):
            here = Path(folder)
            if here == self._lote.data and KEPT in below:
                below.remove(KEPT)
            names = folders / str(here.stat().st_ino)
            names.mkdir()
            for name in below:
                (names / name).symlink_to(str((here / name).stat().st_ino))
            for name in files:
                if not (here / name).is_symlink():
                    kept = inodes / str((here / name).stat().st_ino)
                    if not kept.exists():
                        shutil.copyfile(here / name, kept)
                    os.link(kept, names / name)


def remove(path: Path) -> None:
    """A file or a whole folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextlib.contextmanager
def powered_service(
    library: Path, folder: Path, *, forgets: str = "", is_started: bool = True
) -> Iterator[tuple[Lote, Mains]]:
    """A service whose power can be cut. What it ``forgets`` to sync: ``rows``, ``files``."""
    environment = {"LD_PRELOAD": str(library)}
    if forgets:
        (folder / "sitecustomize.py").write_text(FORGETFUL[forgets])
        environment["PYTHONPATH"] = str(folder)
    with lote_service(is_started=False, environment=environment) as lote:
        mains = Mains(lote, lote.folder / "shadow")
        lote.environment |= {
            "LOTE_SHADOWED": str(lote.data),
            "LOTE_SHADOW": str(lote.folder / "shadow"),
        }
        if is_started:
            lote.start()
        yield lote, mains


def content_digests(folder: Path) -> set[str]:
    """Digests of the files that hold the larger blobs."""
    files = (path for path in (folder / "blobs" / "contents").rglob("*") if path.is_file())
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class Record:
    """What a database says that was found after a cut: ids of jobs and tasks."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        """Looks at a copy: opening a database writes."""
        self.jobs: set[str] = set()
        self.tasks: set[tuple[str, str]] = set()
        self.broken: list[str] = []
        if not (folder / "account.db").exists():
            return
        with tempfile.TemporaryDirectory(dir=scratch) as copies:
            for path in folder.glob("account.db*"):
                shutil.copyfile(path, Path(copies, path.name))
            with contextlib.closing(open_writer(Path(copies, "account.db"))) as db:
                self.jobs = {row[0] for row in db.execute("SELECT id FROM job")}
                query = "SELECT job.id, task.id FROM task JOIN job ON job.key = job_key"
                self.tasks = {(row[0], row[1]) for row in db.execute(query)}
                self.broken = check_invariants(db)
