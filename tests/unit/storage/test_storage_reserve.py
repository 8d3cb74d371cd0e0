"""Room that is kept for deletes."""

from __future__ import annotations

import errno
import sqlite3
from types import SimpleNamespace

import pytest
from storage_rig import running

from lote.storage import reserve
from lote.storage.reserve import RESERVE_BYTES, Reserve, is_full


class Disk:
    """What the kernel says of free room."""

    def __init__(self, monkeypatch):
        self.free_bytes = 1 << 40
        monkeypatch.setattr(reserve.os, "statvfs", self)

    def __call__(self, path):
        return SimpleNamespace(f_bavail=self.free_bytes // 512, f_frsize=512)


@pytest.fixture
def disk(monkeypatch):
    return Disk(monkeypatch)


def test_it_takes_room_and_gives_it_up_once(tmp_path, disk):
    kept = Reserve(tmp_path / "reserve")
    assert kept.fill()
    assert (tmp_path / "reserve").stat().st_blocks * 512 >= RESERVE_BYTES
    kept.demand()
    disk.free_bytes = RESERVE_BYTES
    assert kept.give_up()
    assert (tmp_path / "reserve").stat().st_blocks == 0
    assert not kept.give_up()
    with pytest.raises(OSError, match="no room but for deletes") as caught:
        kept.demand()
    assert is_full(caught.value)
    disk.free_bytes = 1 << 40
    kept.demand()


def test_a_file_system_that_cannot_keep_room_is_used_without(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(reserve.os, "posix_fallocate", refuse)
    kept = Reserve(tmp_path / "reserve")
    assert kept.fill()
    assert not kept.give_up()
    assert kept.fill()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OSError(errno.ENOSPC, ""), True),
        (OSError(errno.EDQUOT, ""), True),
        (OSError(errno.EIO, "full of faults"), False),
        (sqlite3.OperationalError("database or disk is full"), True),
        (sqlite3.OperationalError("disk I/O error"), False),
        (ValueError("full"), False),
    ],
)
def test_which_errors_say_that_the_disk_is_full(error, expected):
    assert is_full(error) is expected


def test_small_blobs_may_take_the_place_of_deleted_ones(tmp_path, disk):
    """The database gives no room back to the disk, but uses it again."""
    with running(tmp_path) as rig:
        rig.make_box()
        for number in range(200):
            assert rig.put(f"{number}", b"x" * 60_000).status == 201
        disk.free_bytes = 0
        rig.app._depot.reserve.give_up()
        assert rig.put("more", b"x" * 60_000).status == 507
        assert rig.put("large", b"x" * 100_000).status == 507
        for number in range(200):
            assert rig.ask("DELETE", f"/acct/box/{number}").status == 202
        assert rig.put("more", b"y" * 60_000).status == 201
        assert rig.put("large", b"y" * 100_000).status == 507
        assert rig.get("more").body == b"y" * 60_000
