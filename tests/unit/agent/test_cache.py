"""What a node keeps of its inputs, whom it gives it to, and what it asks the server."""

from __future__ import annotations

import os
import threading

import pytest

from lote.agent import cache as caching
from lote.agent.beneath import Nest
from lote.agent.cache import Cache, Wanted, let_go
from lote.agent.inputs import Input, fetch_inputs
from lote.agent.packs import PACK_BYTES, Packs
from lote.blobs.failure import BlobError
from lote.blobs.fetch import Downloaded, Fetched

STOP = threading.Event()
LIST = "http://host/box?sig=a"


class Storage:
    """The client's side of a storage, in memory; counts what was asked."""

    def __init__(self) -> None:
        self.contents: dict[str, tuple[str, bytes]] = {}  # by name: ETag, content
        self.asked: list[tuple[str, str]] = []  # URL, known ETag
        self.brought = 0
        self.gate: threading.Event | None = None

    def fetch(self, url, open_file, *, small_bytes, known_etag, stop):
        self.asked.append((url, known_etag))
        if "forged" in url:
            raise BlobError("access_denied", url, "no", status=403)
        etag, content = self.contents[url.partition("?")[0]]
        if etag == known_etag:
            return None
        self.brought += 1
        if self.gate is not None:
            assert self.gate.wait(20)
        done = Downloaded(etag, len(content), "")
        if len(content) <= small_bytes:
            return Fetched(done, content)
        os.write(open_file(), content)
        return Fetched(done, None)


@pytest.fixture
def storage():
    storage = Storage()
    storage.contents = {
        "http://host/box/small": ("s1", b"small"),
        "http://host/box/large": ("l1", bytes(range(256)) * 1024),
    }
    return storage


@pytest.fixture
def now():
    return [1000.0]


@pytest.fixture
def cache(storage, now, tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "left").write_text("by an earlier life")
    return Cache(str(tmp_path / "cache"), storage, lambda: now[0])


def read(cache, url, etag="", listed_by=""):
    content = cache.get(Wanted(url, etag, listed_by), STOP)
    try:
        if content.small is not None:
            return content.small
        return os.pread(content.descriptor, 1 << 20, 0)
    finally:
        let_go(content)


@pytest.mark.parametrize("name", ["small", "large"])
def test_a_url_is_trusted_for_a_while_then_asked_about(cache, storage, now, name):
    url = f"http://host/box/{name}?sig=a"
    etag, content = storage.contents[f"http://host/box/{name}"]
    for _ in range(3):
        assert read(cache, url) == content
    assert len(storage.asked) == 1
    now[0] += caching.FRESH_S + 0.1
    assert read(cache, url) == content
    assert storage.asked[1:] == [(url, etag)]
    assert storage.brought == 1
    storage.contents[f"http://host/box/{name}"] = ("n2", content[::-1])
    now[0] += caching.FRESH_S + 0.1
    assert read(cache, url) == content[::-1]
    assert storage.brought == 2


@pytest.mark.parametrize("name", ["small", "large"])
def test_another_signature_has_to_prove_itself(cache, storage, name):
    _, content = storage.contents[f"http://host/box/{name}"]
    read(cache, f"http://host/box/{name}?sig=a")
    with pytest.raises(BlobError):
        read(cache, f"http://host/box/{name}?sig=forged")
    assert read(cache, f"http://host/box/{name}?sig=other") == content
    assert len(storage.asked) == 3
    assert storage.brought == 1


def test_a_listed_etag_saves_the_question_for_those_who_may_read(cache, storage, now):
    names = [f"http://host/box/f{number}" for number in range(5)]
    for name in names:
        storage.contents[name] = ("e", name.encode())
        read(cache, f"{name}?sig=a", "e", LIST)
    now[0] += 3600
    # Nobody knows yet whether this list's signature allows to read: one file shows it for all.
    for name in names:
        assert read(cache, f"{name}?sig=b", "e", "http://host/box?sig=b") == name.encode()
    assert [url for url, _ in storage.asked[5:]] == [f"{names[0]}?sig=b"]
    for name in names:
        with pytest.raises(BlobError):
            read(cache, f"{name}?sig=forged", "e", "http://host/box?sig=forged")
    storage.contents[names[1]] = ("e2", b"new")
    assert read(cache, f"{names[1]}?sig=b", "e2", "http://host/box?sig=b") == b"new"


def test_one_download_for_all_who_wait(cache, storage):
    storage.gate = threading.Event()
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(read(cache, "http://host/box/large?sig=a")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    storage.gate.set()
    for thread in threads:
        thread.join(30)
    assert len(found) == 6
    assert storage.brought == 1


def test_somebodys_first_large_file_is_handed_over(cache, storage, tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "HAND_OVER_MIN_BYTES", 200_000)
    monkeypatch.setattr(cache, "_shares", False)
    _, content = storage.contents["http://host/box/large"]
    wanted = Input(Wanted("http://host/box/large?sig=a"), "a/b", 0o640)
    inodes = []
    for task in ("one", "two", "three"):
        (tmp_path / task).mkdir()
        fetch_inputs([wanted], str(tmp_path / task), None, cache, STOP)
        placed = tmp_path / task / "a" / "b"
        assert placed.read_bytes() == content
        assert placed.stat().st_mode & 0o777 == 0o640
        inodes.append(placed.stat().st_ino)
        kept = list((tmp_path / "cache").iterdir())
        assert len(kept) == (0 if task == "one" else 1), "kept when it is wanted again"
    assert storage.brought == 2
    assert len(set(inodes)) == 3
    # What the first task does to its file is nobody else's business.
    (tmp_path / "one" / "a" / "b").write_bytes(b"changed")
    assert read(cache, "http://host/box/large?sig=a") == content


def test_what_was_handed_over_and_not_taken_is_removed(cache, storage, tmp_path, monkeypatch):
    monkeypatch.setattr(caching, "HAND_OVER_MIN_BYTES", 200_000)
    monkeypatch.setattr(cache, "_shares", False)
    content = cache.get(Wanted("http://host/box/large"), STOP)
    assert content.is_own
    let_go(content)
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="files of another user need root")
def test_files_that_nobody_may_write_are_shared(cache, storage, tmp_path):
    _, content = storage.contents["http://host/box/large"]
    owner = (12345, 12345)
    inodes = {}
    for task, mode in (("one", 0o444), ("two", 0o444), ("three", 0o555), ("four", 0o644)):
        (tmp_path / task).mkdir()
        wanted = Input(Wanted("http://host/box/large?sig=a"), "x", mode)
        for _ in range(2):  # again, as for a retry
            fetch_inputs([wanted], str(tmp_path / task), owner, cache, STOP)
        placed = (tmp_path / task / "x").stat()
        assert placed.st_mode & 0o777 == mode
        assert (tmp_path / task / "x").read_bytes() == content
        inodes[task] = placed.st_ino
        is_link = task in ("one", "two")
        assert placed.st_uid == (0 if is_link else 12345), "the task could change its mode"
    assert inodes["one"] == inodes["two"]
    assert len(set(inodes.values())) == 3


def test_the_least_recently_used_go_when_it_is_full(cache, storage, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_bytes_max", 3 * 100_000)
    for name in "abcd":
        storage.contents[f"http://host/{name}"] = (name, name.encode() * 100_000)
    for name in "abc":
        read(cache, f"http://host/{name}")
    read(cache, "http://host/a")
    read(cache, "http://host/d")
    assert len(list((tmp_path / "cache").iterdir())) == 3
    asked = len(storage.asked)
    read(cache, "http://host/a")
    assert len(storage.asked) == asked
    read(cache, "http://host/b")
    assert len(storage.asked) == asked + 1


def test_memory_for_many_small_files_is_bounded(cache, storage, monkeypatch):
    monkeypatch.setattr(caching, "ENTRIES_MAX", 10)
    for number in range(50):
        storage.contents[f"http://host/{number}"] = ("e", b"x")
        read(cache, f"http://host/{number}")
    assert len(cache._entries) == 10


def test_packs_forget_the_oldest(tmp_path):
    packs = Packs(str(tmp_path), 2 * PACK_BYTES)
    half = os.urandom(PACK_BYTES // 2 + 1)
    spots = [packs.add(half + bytes([number])) for number in range(4)]
    assert packs.read(spots[0]) is None
    assert packs.read(spots[1]) is None
    assert packs.read(spots[2]) == half + b"\2"
    assert packs.read(spots[3]) == half + b"\3"
    packs.clear()
    assert packs.read(spots[3]) is None
    assert packs.read(packs.add(b"again")) == b"again"
    assert list(tmp_path.iterdir()) == [], "nothing is left behind by a crash"
    packs.clear()


def test_a_nest_makes_folders_once_and_follows_no_links(tmp_path):
    (tmp_path / "wd").mkdir()
    (tmp_path / "else").mkdir()
    (tmp_path / "wd" / "link").symlink_to(tmp_path / "else")
    with Nest(str(tmp_path / "wd"), None) as nest:
        for name in ("a/b/1", "a/b/2", "a/3", "4"):
            os.close(nest.create(name, 0o600))
        with pytest.raises(OSError, match=r"link|directory"):
            nest.create("link/x", 0o600)
        with pytest.raises(OSError, match="leaves"):
            nest.create("../x", 0o600)
    assert sorted(str(p.relative_to(tmp_path / "wd")) for p in (tmp_path / "wd").rglob("*")) == [
        "4", "a", "a/3", "a/b", "a/b/1", "a/b/2", "link",
    ]  # fmt: skip
    assert list((tmp_path / "else").iterdir()) == []
