"""A full disk can be read, emptied and restarted on; uploads wait until it has room."""

from __future__ import annotations

from pathlib import Path

import pytest
from blob_client import PowerlessStorage
from blob_rows import broken_rows
from upkeep.small_disks import clear, fill, image_disk, needs_mounts, small_disk

BLOB = {"x-ms-blob-type": "BlockBlob"}
BLOBS = 45
SMALL, LARGE = bytes(range(250)) * 40, bytes(range(250)) * 400


@needs_mounts
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
def test_a_full_disk_is_served_and_emptied(kind: str, tmp_path: Path) -> None:
    storage = PowerlessStorage(tmp_path)
    disk = small_disk(storage.data, "48m") if kind == "tmpfs" else image_disk(storage.data, 64)
    with disk:
        storage.start()
        try:
            empty_a_full_disk(storage)
            assert storage.stop() == 0
            assert broken_rows(storage.data) == []
        finally:
            if storage.process is not None and storage.process.poll() is None:
                storage.kill()


def empty_a_full_disk(storage: PowerlessStorage) -> None:
    def put(path: str, content: bytes) -> int:
        return storage.ask("PUT", path, {}, content, BLOB).status

    def delete(numbers: range) -> set[int]:
        return {storage.ask("DELETE", f"box/large{number}").status for number in numbers}

    assert storage.ask("PUT", "box", {"restype": "container"}).status == 201
    # So many that the log was not yet written back: in one that was, changes would find room.
    for number in range(BLOBS):
        assert put(f"box/large{number}", LARGE) == 201
        assert put(f"box/small{number}", SMALL) == 201
    filler = fill(storage.data)
    assert delete(range(3)) == {202}
    assert {put("box/new", content) for content in (SMALL, LARGE)} == {507}

    storage.kill()
    storage.start()
    assert storage.ask("GET", "box/large20").body == LARGE
    assert storage.ask("GET", "box/large0").status == 404
    assert delete(range(10, 13)) == {202}
    assert put("box/other", LARGE) == 507
    assert storage.stop() == 0
    storage.start()  # its log has to be made anew
    assert storage.ask("GET", "box/large20").body == LARGE
    assert delete(range(20, 30)) == {202}

    clear(filler)
    for path, content in (("box/new", SMALL), ("box/other", LARGE)):
        assert put(path, content) == 201
        assert storage.ask("GET", path).body == content
    names = storage.ask("GET", "box", {"restype": "container", "comp": "list"}).body
    assert names.count(b"<Blob>") == 2 * BLOBS - (3 + 3 + 10) + 2
