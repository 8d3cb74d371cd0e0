"""A data folder meets another version of the program, while its agents work on.

There is one migration so far, so a newer version is this one with a second one that the test made.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from harness import Ledger, Lote, lote_service, until

from lote.store.database import MIGRATIONS, open_reader

NEWER = len(MIGRATIONS) + 1
ROWS = 300_000  # more than the page cache holds: the log grows before the commit
MIGRATION = f"""
ALTER TABLE node ADD COLUMN zone TEXT;
UPDATE task SET modified_us = modified_us + 1;
CREATE TABLE later (number INTEGER PRIMARY KEY, text TEXT NOT NULL);
WITH RECURSIVE counted(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < {ROWS})
INSERT INTO later SELECT n, hex(zeroblob(100)) FROM counted;
CREATE INDEX task_newest ON task (job_key, state_us);
"""
PROGRAM = """
import sys
from lote.store import database
database.MIGRATIONS += (sys.argv.pop(1),)
from lote.main import main
main()
"""


def newer(lote: Lote) -> None:
    """From now on the service is of a version with one migration more."""
    script = lote.folder / "0002_later.sql"
    script.write_text(MIGRATION)
    lote.spawn = functools.partial(spawn, lote, script)  # type: ignore[method-assign]


def spawn(lote: Lote, script: Path, *flags: str) -> subprocess.Popen[bytes]:
    words = ["serve", "--data", str(lote.data), "--port", "0", *lote.flags, *flags]
    with lote.log.open("ab") as sink:
        return subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(script), *words],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def schema_of(lote: Lote) -> int:
    with contextlib.closing(open_reader(lote.data / "account.db")) as db:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
        columns = {row[1] for row in db.execute("PRAGMA table_info(node)")}
        found = {"later" in tables, "zone" in columns, "task_newest" in tables}
        assert found == {version == NEWER}, "half a migration"
        if version == NEWER:
            assert db.execute("SELECT count(*) FROM later").fetchone() == (ROWS,)
    return version


def test_tasks_that_run_during_an_upgrade_end_once():
    with lote_service(is_started=False) as lote:
        lote.start("--leave-nodes")
        ledger = Ledger(lote.folder / "runs")
        lote.add_pool(nodes=2, slots=2)
        lote.add_job()
        wait = f"until test -e {lote.folder}/go; do sleep 0.05; done"
        lote.add_tasks({f"long{n}": ledger.line(wait) for n in range(4)})
        lote.add_tasks({f"short{n}": ledger.line() for n in range(60)})
        until(lambda: len(ledger.runs()) == 4, "all slots taken")
        for n in range(4):
            lote.wait_for_state(f"long{n}", "running")
        agents = lote.agents()
        assert lote.stop() == 0
        assert schema_of(lote) == NEWER - 1
        (lote.folder / "go").touch()
        until(lambda: lote.task_processes() == [], "they end while there is no server")
        newer(lote)
        lote.start()
        assert schema_of(lote) == NEWER
        lote.wait_for_counts(active=0, running=0, succeeded=64)
        assert lote.agents() == agents  # the same processes, of the version before
        lote.wait_for_pool(nodes=2)
        names = [f"long{n}" for n in range(4)] + [f"short{n}" for n in range(60)]
        assert ledger.runs() == dict.fromkeys(names, 1)


def test_a_crash_in_a_migration_leaves_the_old_schema_and_an_old_program_refuses_the_new():
    with lote_service() as lote:
        lote.add_job(pool_id="none")
        lote.add_tasks({f"t{n}": "/bin/true" for n in range(200)})
        lote.stop()
        old_spawn = lote.spawn
        newer(lote)
        wal = lote.data / "account.db-wal"
        for _ in range(2):
            process = lote.spawn()
            until(lambda: wal.exists() and wal.stat().st_size > 4_000_000, "in the middle of it")
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            assert schema_of(lote) == NEWER - 1
            lote.check_record()
        lote.start()
        assert schema_of(lote) == NEWER
        assert lote.counts()["active"] == 200
        lote.kill()

        lote.spawn = old_spawn  # type: ignore[method-assign]
        before = lote.log.stat().st_size
        refused = lote.spawn()
        assert refused.wait(30) == 3
        said = lote.log.read_text()[before:]
        assert f"has schema {NEWER}; this Lote knows {NEWER - 1}" in said
        assert "Traceback" not in said
        assert schema_of(lote) == NEWER
        newer(lote)
        lote.start()
        assert lote.counts()["active"] == 200


def test_a_newer_blob_store_is_said_in_words():
    with lote_service() as lote:
        lote.add_container("blobs")
        lote.stop()
        with contextlib.closing(writer(lote)) as db:
            known = int(db.execute("PRAGMA user_version").fetchone()[0])
            db.execute("PRAGMA user_version=99")
        before = lote.log.stat().st_size
        refused = lote.spawn()
        assert refused.wait(30) == 3
        said = lote.log.read_text()[before:]
        assert "storage.sqlite" in said
        assert "99" in said
        assert "Traceback" not in said
        with contextlib.closing(writer(lote)) as db:
            db.execute(f"PRAGMA user_version={known}")
        lote.start()


def writer(lote: Lote) -> sqlite3.Connection:
    return sqlite3.connect(lote.data / "blobs" / "storage.sqlite", isolation_level=None)
