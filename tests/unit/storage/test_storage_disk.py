"""A disk that is full, slow or odd."""

from __future__ import annotations

import errno
import os
import sqlite3

import pytest
from storage_rig import running

from lote.storage import contents
from lote.storage.contents import ContentFile, Contents
from lote.storage.digests import Digests
from lote.world import World

LARGE = bytes(range(256)) * 1024  # 256 KiB: goes to a file


def files_below(folder):
    return [p for p in (folder / "contents").rglob("*") if p.is_file()]


def test_a_full_disk_refuses_a_file_and_loses_nothing(rig, tmp_path, monkeypatch):
    assert rig.put("before", LARGE).status == 201
    real = os.write

    def full(descriptor, content):
        if len(content) >= 4096:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, content)

    with monkeypatch.context() as patch:
        patch.setattr(contents.os, "write", full)
        reply = rig.put("during", LARGE)
    assert reply.status == 507
    assert reply.headers["x-ms-error-code"] == "InternalError"
    assert b"disk of this storage account is full" in reply.body
    assert len(files_below(tmp_path)) == 1
    assert rig.get("during").status == 404
    assert rig.get("before").body == LARGE
    assert rig.put("after", LARGE).status == 201


def test_a_full_database_refuses_and_recovers(rig):
    connection = rig.app._depot.writer._connection
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    replies = [rig.put(f"{number}", b"x" * 30_000) for number in range(3)]
    assert {reply.status for reply in replies} == {507}
    connection.execute("PRAGMA max_page_count = 1000000")
    assert rig.put("after", b"y" * 30_000).status == 201
    assert rig.get("after").body == b"y" * 30_000


def test_a_failed_commit_takes_its_file_away(rig, tmp_path, monkeypatch):
    def broken(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr("lote.storage.blob.add_content", broken)
    assert rig.put("x", LARGE).status == 500
    assert files_below(tmp_path) == []


def test_a_fault_after_the_commit_leaves_the_file(rig, monkeypatch):
    write = rig.app._depot.write

    async def broken(*words, **named):
        await write(*words, **named)
        raise RuntimeError("after the commit")

    with monkeypatch.context() as patch:
        patch.setattr(rig.app._depot, "write", broken)
        assert rig.put("x", LARGE).status == 500
    assert rig.get("x").body == LARGE


class FailingCommits:
    """A connection whose commits fail, after they may have reached the log."""

    def __init__(self, connection):
        self._connection = connection

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, sql, *values):
        if sql == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(sql, *values)


def test_a_commit_that_may_have_happened_keeps_its_file(tmp_path):
    with running(tmp_path) as rig:
        rig.make_box()
        writer = rig.app._depot.writer
        real = writer._connection
        writer._connection = FailingCommits(real)
        assert rig.put("x", LARGE).status == 500
        assert len(files_below(tmp_path)) == 1
        writer._connection = real
        assert rig.get("x").status == 404
        assert rig.put("x", LARGE).status == 201
    with running(tmp_path) as rig:
        rig.app._depot._sweeper.join()
        assert len(files_below(tmp_path)) == 1
        assert rig.get("x").body == LARGE


def test_a_file_that_cannot_be_removed_harms_nobody(tmp_path, monkeypatch):
    def broken(path):
        raise OSError(errno.EIO, "Input/output error")

    with running(tmp_path) as rig:
        rig.make_box()
        assert rig.put("x", LARGE).status == 201
        with monkeypatch.context() as patch:
            patch.setattr(contents.os, "unlink", broken)
            assert rig.put("x", LARGE[::-1]).status == 201
            assert rig.get("x").body == LARGE[::-1]
        assert len(files_below(tmp_path)) == 2
        assert rig.put("y", LARGE).status == 201
    with running(tmp_path) as rig:
        rig.app._depot._sweeper.join()
        assert len(files_below(tmp_path)) == 2
        assert rig.get("x").body == LARGE[::-1]


@pytest.mark.parametrize("refuses", ["open", "write"])
def test_file_systems_without_direct_io(rig, monkeypatch, refuses):
    real_open, real_write = os.open, os.write
    direct = set()

    def odd_open(path, flags, *mode, **options):
        if refuses == "open" and flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        descriptor = real_open(path, flags, *mode, **options)
        (direct.add if flags & os.O_DIRECT else direct.discard)(descriptor)
        return descriptor

    def odd_write(descriptor, content):
        if refuses == "write" and descriptor in direct:
            raise OSError(errno.EINVAL, "Invalid argument")
        return real_write(descriptor, content)

    monkeypatch.setattr(contents.os, "open", odd_open)
    monkeypatch.setattr(contents.os, "write", odd_write)
    content = LARGE * 5 + b"odd end"
    assert rig.put("x", content).status == 201
    assert rig.get("x").body == content


def test_the_sweep_takes_only_leftovers(tmp_path):
    store = Contents(tmp_path / "contents", World())
    store.prepare("1")
    old = [write_file(store) for _ in range(3)]
    store.prepare("2")
    new = write_file(store)
    assert store.sweep(lambda names: {old[0]}) == 2
    assert {p.name for p in files_below(tmp_path)} == {old[0], new}


def write_file(store):
    file = store.create(Digests())
    assert isinstance(file, ContentFile)
    file.finish()
    return file.name


def test_blobs_are_there_after_a_restart(tmp_path):
    with running(tmp_path) as rig:
        rig.make_box()
        etag = rig.put("x", LARGE).headers["etag"]
    with running(tmp_path) as rig:
        reply = rig.get("x")
        assert (reply.body, reply.headers["etag"]) == (LARGE, etag)


def test_etags_are_never_used_twice_though_the_clock_goes_back(tmp_path):
    with running(tmp_path) as rig:
        rig.make_box()
        rig.world.advance(3600)
        etags = [rig.put("x", b"1").headers["etag"] for _ in range(3)]
    with running(tmp_path) as rig:  # its world begins an hour earlier
        etags += [rig.put("x", b"1").headers["etag"] for _ in range(3)]
    assert len(set(etags)) == 6
    assert etags == sorted(etags)
