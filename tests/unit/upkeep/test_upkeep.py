"""Backups of folders made by hand, damage of every kind, and blobs that go at the wrong moment."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.server.folder import AccountFile, DataFolder, FolderRefused
from lote.storage.database import SCHEMA_VERSION, open_database
from lote.storage.snapshot import DATABASE_NAME, content_files
from lote.store import database as store_database
from lote.store.database import open_reader, open_writer
from lote.store.fencing import forget_nodes
from lote.store.invariants import check_invariants
from lote.upkeep.backup import make_backup
from lote.upkeep.blobs import HOLD_NAME, Blobs
from lote.upkeep.failure import BackupFailed, RestoreFailed
from lote.upkeep.manifest import CONTENT_NAME, MANIFEST_NAME, SUMS_NAME, parse_sum, read_manifest
from lote.upkeep.restore import restore_backup
from lote.upkeep.step import unwatched
from lote.upkeep.tree import claim_folder, copy_file
from lote.world import SteppedWorld

WORLD = SteppedWorld()


class Store:
    """A storage folder with rows and content files, and no server."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.db = open_database(folder / DATABASE_NAME)

    def put(self, name: str, content: bytes) -> None:
        path = self.folder / "contents" / name[-2:] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.db.execute(
            "INSERT INTO content (size, file, links) VALUES (?, ?, 1)", (len(content), name)
        )

    def delete(self, name: str) -> None:
        self.db.execute("DELETE FROM content WHERE file = ?", (name,))
        (self.folder / "contents" / name[-2:] / name).unlink()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder as a server leaves it."""
    folder = tmp_path / "data"
    folder.mkdir()
    account = AccountFile("acc", ("a2V5", "a2V5Mg=="), "accstorage", ("c2s=", "c2sy"))
    (folder / "account.json").write_bytes(msgspec.json.encode(account))
    (folder / "tokens").mkdir()
    (folder / "tokens" / "application.json").write_text("{}")
    (folder / "tls").mkdir()
    (folder / "tls" / "ca.pem").write_text("authority")
    kept = folder / "kept" / "node" / "workitems" / "j" / "job-1" / "t"
    kept.mkdir(parents=True)
    (kept / "stdout.txt").write_text("out")
    (kept / "stderr.txt").symlink_to("/etc/passwd")  # never the service's own
    open_writer(folder / "account.db").close()
    store = Store(folder / "blobs")
    store.put("1-aa", b"first")
    store.put("1-ab", b"second" * 100)
    store.db.close()
    return folder


@pytest.fixture
def backup(folder: Path, tmp_path: Path) -> Path:
    make_backup(folder, tmp_path / "backup", WORLD)
    return tmp_path / "backup"


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "blobs" / "contents").glob("*/*")}


def test_what_is_restored_is_what_was_backed_up(folder, backup, tmp_path):
    manifest = restore_backup(backup, tmp_path / "new", WORLD)
    new = tmp_path / "new"
    assert contents(new) == contents(folder) == {"1-aa": b"first", "1-ab": b"second" * 100}
    for name in (
        "account.json",
        "tls/ca.pem",
        "tokens/application.json",
        "kept/node/workitems/j/job-1/t/stdout.txt",
    ):
        assert (new / name).read_bytes() == (folder / name).read_bytes()
        assert (new / name).stat().st_mtime_ns == (folder / name).stat().st_mtime_ns
    assert not (new / "kept/node/workitems/j/job-1/t/stderr.txt").exists()
    assert manifest == read_manifest(backup)
    assert manifest.schemas == {
        "account.db": len(store_database.MIGRATIONS),
        "blobs/storage.sqlite": SCHEMA_VERSION,
    }
    assert (manifest.files, manifest.parts["blobs"].files) == (8, 3)
    with contextlib.closing(open_reader(new / "account.db")) as db:
        assert check_invariants(db) == []


def test_blobs_that_go_between_rows_and_files_are_those_of_a_newer_moment(tmp_path):
    store = Store(tmp_path / "blobs")
    for number in range(5):
        store.put(f"1-{number:02x}", b"old")
    rounds = 0

    def disturb() -> None:
        nonlocal rounds
        rounds += 1
        if rounds <= 3:  # replaced, and replaced again: the new file first, then the old one goes
            store.put(f"2-{rounds:02x}", b"new")
            store.delete("1-00" if rounds == 1 else f"2-{rounds - 1:02x}")

    with Blobs(store.folder, tmp_path / "copy", unwatched, disturb) as blobs:
        found = dict(blobs.copy())
    assert (rounds, blobs.lost) == (4, 0)
    named = {one.path for one in content_files(tmp_path / "copy" / DATABASE_NAME)}
    assert named == found.keys() - {DATABASE_NAME}
    names = {p.name: p.read_bytes() for p in (tmp_path / "copy" / "contents").glob("*/*")}
    assert names == {"2-03": b"new"} | {f"1-{n:02x}": b"old" for n in range(1, 5)}
    assert not (store.folder / HOLD_NAME).exists()
    store.db.close()


def test_blobs_deleted_after_they_are_held_are_copied_all_the_same(tmp_path):
    store = Store(tmp_path / "blobs")
    store.put("1-aa", b"one")
    store.put("1-bb", b"two")
    with Blobs(store.folder, tmp_path / "copy", unwatched) as blobs:
        copying = blobs.copy()
        next(copying)  # the rows, when all is held
        store.delete("1-aa")
        store.delete("1-bb")
        assert {path.split("/")[-1] for path, _ in copying} == {"1-aa", "1-bb"}
    store.db.close()


@pytest.mark.parametrize("error", [OSError(1, "no links here"), OSError(28, "full")])
def test_without_hard_links_bytes_are_copied_at_once(tmp_path, monkeypatch, error):
    store = Store(tmp_path / "blobs")
    store.put("1-aa", b"one")
    store.put("1-bb", b"two")
    rounds = 0

    def refuse(source: object, target: object) -> None:
        if not os.path.exists(str(source)):
            raise FileNotFoundError(2, "gone")
        raise error

    def disturb() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            store.delete("1-bb")

    monkeypatch.setattr(os, "link", refuse)
    with Blobs(store.folder, tmp_path / "copy", unwatched, disturb) as blobs:
        assert {path.split("/")[-1] for path, _ in blobs.copy()} == {DATABASE_NAME, "1-aa"}
    store.db.close()


def test_a_blob_that_was_lost_before_is_counted_and_does_not_stop_a_backup(folder, tmp_path):
    (folder / "blobs" / "contents" / "aa" / "1-aa").unlink()
    manifest = make_backup(folder, tmp_path / "backup", WORLD)
    assert manifest.lost_blob_files == 1
    assert restore_backup(tmp_path / "backup", tmp_path / "new", WORLD).lost_blob_files == 1
    assert set(contents(tmp_path / "new")) == {"1-ab"}


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a blob": lambda b: flip(b / CONTENT_NAME / "blobs/contents/ab/1-ab"),
    "the account": lambda b: flip(b / CONTENT_NAME / "account.db"),
    "a file is gone": lambda b: (b / CONTENT_NAME / "tls/ca.pem").unlink(),
    "the sums": lambda b: flip(b / SUMS_NAME),
    "the sums are gone": lambda b: (b / SUMS_NAME).unlink(),
    "the manifest": lambda b: (b / MANIFEST_NAME).write_text("{"),
    "no manifest": lambda b: (b / MANIFEST_NAME).unlink(),
    "a link": lambda b: (
        (b / CONTENT_NAME / "tls/ca.pem").unlink(),
        (b / CONTENT_NAME / "tls/ca.pem").symlink_to("/etc/hostname"),
    ),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_backup_is_refused_and_leaves_nothing(backup, tmp_path, name):
    DAMAGE[name](backup)
    with pytest.raises(RestoreFailed):
        restore_backup(backup, tmp_path / "new", WORLD)
    new = tmp_path / "new"
    assert not new.exists() or {one.name for one in new.iterdir()} <= {"server.lock"}


@pytest.mark.parametrize(
    ("member", "value"), [("format", 2), ("schemas", {"account.db": 99}), ("schemas", {"x": 1})]
)
def test_a_backup_of_a_newer_program_is_refused(backup, tmp_path, member, value):
    path = backup / MANIFEST_NAME
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, member: value}))
    with pytest.raises(RestoreFailed, match="Use a newer one"):
        restore_backup(backup, tmp_path / "new", WORLD)
    assert not (tmp_path / "new").exists()


def test_folders_that_are_not_empty_are_left_alone(folder, backup, tmp_path):
    new = tmp_path / "new"
    (new / "lost+found").mkdir(parents=True)  # a file system of its own
    restore_backup(backup, new, WORLD)
    before = sorted(p.name for p in new.iterdir())
    with pytest.raises(RestoreFailed, match="not empty"):
        restore_backup(backup, new, WORLD)
    assert sorted(p.name for p in new.iterdir()) == before
    for target in (folder / "inside", folder, backup):
        with pytest.raises(BackupFailed):
            make_backup(folder, target, WORLD)
    with pytest.raises(BackupFailed, match=r"account\.json"):
        make_backup(tmp_path / "nothing", tmp_path / "b2", WORLD)


def test_a_restore_that_was_cut_off_anywhere_is_refused_by_servers_and_done_again(backup, tmp_path):
    new = tmp_path / "new"
    restore_backup(backup, new, WORLD)
    moved = sorted(p.name for p in new.iterdir() if p.name != "server.lock")
    for count in range(len(moved) + 1):
        (new / ".restore").mkdir()
        for name in moved[count:]:  # as if killed before these moved up
            (new / name).rename(new / ".restore" / name)
        locked = DataFolder(new)
        with pytest.raises(FolderRefused, match="lote restore"):
            locked.check()
        locked.close()
        restore_backup(backup, new, WORLD)
        assert moved == sorted(p.name for p in new.iterdir() if p.name != "server.lock")


def test_a_backup_that_fails_leaves_nothing(folder, tmp_path, monkeypatch):
    def full(source: object, target: object, moved: object = None) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lote.upkeep.blobs.copy_file", full)
    with pytest.raises(BackupFailed, match="No space left"):
        make_backup(folder, tmp_path / "backup", WORLD)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]
    assert not (folder / "blobs" / HOLD_NAME).exists()


def test_one_backup_at_a_time(folder, tmp_path):
    claim = claim_folder(tmp_path / ".backup.part")
    with pytest.raises(BackupFailed, match="under way"):
        make_backup(folder, tmp_path / "backup", WORLD)
    os.close(claim)
    held = claim_folder(folder / "blobs" / HOLD_NAME)
    with pytest.raises(BackupFailed, match="under way"):
        make_backup(folder, tmp_path / "backup", WORLD)
    (folder / "blobs" / HOLD_NAME / "left").write_text("by a killed one")
    os.close(held)
    make_backup(folder, tmp_path / "backup", WORLD)
    assert not (folder / "blobs" / HOLD_NAME).exists()
    shutil.rmtree(tmp_path / "backup")


@given(st.text())
def test_no_line_of_sums_leads_out_of_the_folder(path):
    line = f"{'0' * 64}  data/{path}\n".encode(errors="surrogatepass")
    try:
        found = parse_sum(line).path
    except RestoreFailed:
        return
    assert not found.startswith("/")
    assert ".." not in found.split("/")
    assert os.path.normpath(found) == found


@given(st.binary(max_size=200))
def test_any_line_of_sums_is_read_or_refused(line):
    with contextlib.suppress(RestoreFailed):
        parse_sum(line)


def test_copies_are_private_and_dated_like_the_original(tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"x" * 3_000_000)
    source.chmod(0o644)
    os.utime(source, ns=(1, 2_000_000_000))
    copied = copy_file(source, tmp_path / "target")
    assert copied == (3_000_000, hashlib.sha256(b"x" * 3_000_000).hexdigest())
    status = (tmp_path / "target").stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns) == (0o600, 2_000_000_000)
    with pytest.raises(FileExistsError):
        copy_file(source, tmp_path / "target")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a plain file"):
        copy_file(tmp_path / "pipe", tmp_path / "other")


def test_forgotten_nodes_leave_a_sound_account(tmp_path):
    with contextlib.closing(open_writer(tmp_path / "account.db")) as db:
        db.executescript(
            """
            INSERT INTO pool (key, id, state, state_us, allocation_state, allocation_us, created_us,
              modified_us, vm_size, engine, slots, target_dedicated, target_low_priority,
              current_dedicated, resize_timeout_s, spec)
              VALUES (1, 'p', 'active', 1, 'steady', 1, 1, 1, 's', 'local', 2, 1, 0, 1, 60, '{}');
            INSERT INTO node (key, pool_key, pool_id, id, state, state_us, is_dedicated,
              secret_digest, allocated_us) VALUES (1, 1, 'p', 'n1', 'running', 1, 1, x'00', 1);
            INSERT INTO job (key, id, pool_id, state, state_us, created_us, modified_us, start_us,
              priority, spec) VALUES (1, 'j', 'p', 'active', 1, 1, 1, 1, 0, '{}');
            INSERT INTO job_count VALUES (1, 2, 1, 1, 0, 3, 1, 1, 0);
            INSERT INTO fact VALUES ('next_task_key', 100);
            INSERT INTO task (key, job_key, id, phase, flags, slots, waiting, created_us,
              modified_us, state_us, run, node_key, start_us, end_us, result, exit_code) VALUES
              (1, 1, 'ready', 1, 0, 2, 0, 1, 1, 1, 0, NULL, NULL, NULL, NULL, NULL),
              (2, 1, 'placed', 2, 0, 1, 0, 1, 1, 1, 3, 1, NULL, NULL, NULL, NULL),
              (3, 1, 'running', 4, 0, 1, 0, 1, 1, 1, 5, 1, 2, NULL, NULL, NULL),
              (4, 1, 'done', 5, 0, 1, 0, 1, 1, 1, 1, 1, 2, 3, 1, 0);
            INSERT INTO task_spec SELECT key, '{}' FROM task;
            """
        )
        assert check_invariants(db) == []
        assert forget_nodes(db, 10, "why") == 1
        assert check_invariants(db) == []
        tasks = {
            row[0]: tuple(row[1:])
            for row in db.execute("SELECT id, phase, run, reruns, start_us FROM task")
        }
        assert tasks["placed"] == (1, 3, 0, None)
        assert tasks["running"] == (1, 5, 1, None)  # its next run has a new number
        assert tasks["done"] == (5, 1, 0, 2)
        assert db.execute("SELECT active, running, succeeded FROM job_count").fetchone() == (
            3,
            0,
            1,
        )
        assert db.execute("SELECT gone_us FROM node").fetchone() == (10,)
        assert db.execute("SELECT allocation_state, current_dedicated FROM pool").fetchone() == (
            "resizing", 0)  # fmt: skip
