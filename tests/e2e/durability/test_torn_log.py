"""The write-ahead log cut off, or torn, at any byte after the last acknowledged commit.

Every byte by ``scripts/endurance log``.
"""

from __future__ import annotations

import contextlib
import random
from pathlib import Path

import pytest
from endurance import LENGTH, SEED
from harness import Lote, lote_service

from lote.store.database import open_writer
from lote.store.invariants import check_invariants

HEADER_BYTES = 32  # of the log; SQLite: the WAL format
FRAME_HEADER_BYTES = 24
FRAME_BYTES = FRAME_HEADER_BYTES + 4096
MOMENTS = 150
EARLY = {f"early{n}" for n in range(20)}
LATE = {f"late{n}" for n in range(100)}


def add(lote: Lote, names: set[str]) -> int:
    """Add tasks in one request; gives the size of the log once that was acknowledged."""
    lote.add_tasks(dict.fromkeys(sorted(names), "/bin/true"))
    return (lote.data / "account.db-wal").stat().st_size


def tasks_of(database: bytes, log: bytes, folder: Path) -> set[str]:
    """Opens what a crash would have left; checks that it is sound; gives its tasks."""
    for path in folder.iterdir():
        path.unlink()
    path = folder / "account.db"
    path.write_bytes(database)
    path.with_name("account.db-wal").write_bytes(log)
    with contextlib.closing(open_writer(path)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert check_invariants(db) == []
        return {row[0] for row in db.execute("SELECT id FROM task")}


def moments(first: int, end: int) -> list[int]:
    """Where to cut: around each frame's header and anywhere; every byte when there is time."""
    if LENGTH > 1:
        return list(range(first, end + 1))
    chance = random.Random(SEED)
    found = {first, end - 1, end, *(chance.randrange(first, end) for _ in range(MOMENTS))}
    for frame in range(first, end, FRAME_BYTES):
        found |= {frame - 1, frame, frame + 1, frame + FRAME_HEADER_BYTES, frame + FRAME_BYTES - 1}
    return sorted(one for one in found if first <= one <= end)


@pytest.mark.timeout(120 + 1800 * (LENGTH - 1))
def test_the_log_may_end_anywhere_after_what_was_acknowledged(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with lote_service() as lote:
        lote.add_job("j", pool_id="none")
        first = add(lote, EARLY)
        end = add(lote, LATE)
        lote.kill()
        database = (lote.data / "account.db").read_bytes()
        log = (lote.data / "account.db-wal").read_bytes()
        assert HEADER_BYTES < first < end <= len(log)
        assert (first - HEADER_BYTES) % FRAME_BYTES == 0
        assert tasks_of(database, log[:end], tmp_path) == EARLY | LATE
        cuts = moments(first, end)
        seen: dict[bool, set[int]] = {False: set(), True: set()}
        for cut in cuts:
            found = tasks_of(database, log[:cut], tmp_path)
            # A request is one commit: all of it is there or nothing.
            assert found in (EARLY, EARLY | LATE), cut
            seen[cut == end].add(len(found))
        assert seen == {False: {len(EARLY)}, True: {len(EARLY | LATE)}}
        for cut in cuts[:: max(1, len(cuts) // 100)]:
            rubbish = chance.choice((b"\0" * 9000, chance.randbytes(9000)))
            found = tasks_of(database, log[:cut] + rubbish, tmp_path)
            assert found == EARLY | (LATE if cut == end else set()), cut
        for cut in (first, chance.randrange(first + 1, end), end):
            for path in lote.data.glob("account.db*"):
                path.unlink()
            (lote.data / "account.db").write_bytes(database)
            (lote.data / "account.db-wal").write_bytes(log[:cut])
            lote.start()
            assert lote.counts()["active"] == len(EARLY) + (len(LATE) if cut == end else 0)
            assert add(lote, {"again"}) > 0
            lote.kill()
        lote.start()


def test_a_stop_writes_the_log_back() -> None:
    with lote_service() as lote:
        lote.add_job("j", pool_id="none")
        assert add(lote, EARLY) > 0
        assert lote.stop() == 0
        assert [path.name for path in lote.data.glob("account.db*")] == ["account.db"]
        lote.start()
        assert lote.counts()["active"] == len(EARLY)
