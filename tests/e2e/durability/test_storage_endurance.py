"""The storage process through kills, power cuts and full disks, while clients write and read.

Longer by ``scripts/endurance storage``: ``-n 100`` are a thousand kills.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from blob_client import PowerlessStorage
from blob_rows import broken_rows
from blob_witness import BlobWitness
from endurance import LENGTH, SEED
from harness import until
from power import FORGETFUL, Mains, build_library
from upkeep.small_disks import clear, fill, image_disk, needs_mounts, small_disk

KILLS = 10 * LENGTH
CUTS = 2 * LENGTH
FULL_DISKS = 2 * LENGTH
BETWEEN = (5, 60)  # acknowledged changes from one blow to the next


@contextlib.contextmanager
def stopped_at_last(storage: PowerlessStorage) -> Iterator[PowerlessStorage]:
    """Leaves no process, and a sound folder if all went well."""
    storage.start()
    try:
        yield storage
        assert storage.stop() == 0
        storage.start()  # tidies what the end left
        assert storage.stop() == 0
        assert broken_rows(storage.data) == []
    finally:
        process = storage.process
        if process is not None and process.poll() is None:
            storage.kill()


def await_work(witness: BlobWitness, chance: random.Random) -> None:
    """Let some more changes be acknowledged."""
    wanted = witness.acknowledged + chance.randrange(*BETWEEN)
    until(lambda: witness.acknowledged >= wanted or not witness.is_well(), "acknowledged changes")
    assert witness.torn == []
    assert witness.is_well()


@pytest.mark.timeout(120 + 60 * LENGTH)
def test_kills_lose_and_tear_nothing(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with stopped_at_last(PowerlessStorage(tmp_path)) as storage:
        with BlobWitness(storage, SEED) as witness:
            for _ in range(KILLS):
                await_work(witness, chance)
                storage.kill()
                storage.start()
            await_work(witness, chance)
        print(
            f"{KILLS} kills: {witness.acknowledged} acknowledged, {witness.unanswered} not"
            f" answered, {witness.reads} reads"
        )
        assert witness.torn == []
        assert witness.find_missing() == []
        assert witness.reads > 0


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("unsynced"))


def powered(folder: Path, library: Path, forgets: str = "") -> PowerlessStorage:
    """A storage process whose power can be cut."""
    environment = {
        "LD_PRELOAD": str(library),
        "LOTE_SHADOWED": str(folder / "data"),
        "LOTE_SHADOW": str(folder / "shadow"),
    }
    if forgets:
        (folder / "sitecustomize.py").write_text(FORGETFUL[forgets])
        environment["PYTHONPATH"] = str(folder)
    return PowerlessStorage(folder, environment)


@pytest.mark.timeout(120 + 60 * LENGTH)
def test_power_cuts_lose_and_tear_nothing(library: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    storage = powered(tmp_path, library)
    mains = Mains(storage, tmp_path / "shadow")
    with stopped_at_last(storage):
        with BlobWitness(storage, SEED) as witness:
            for _ in range(CUTS):
                await_work(witness, chance)
                mains.cut()
                storage.start()
            await_work(witness, chance)
        print(f"{CUTS} cuts: {witness.acknowledged} acknowledged, {witness.unanswered} not")
        assert witness.torn == []
        mains.cut()
        storage.start()
        assert witness.find_missing() == []


@pytest.mark.parametrize("what", FORGETFUL)
def test_a_storage_that_does_not_sync_would_be_found(
    what: str, library: Path, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    storage = powered(tmp_path, library, what)
    mains = Mains(storage, tmp_path / "shadow")
    storage.start()
    try:
        with BlobWitness(storage, SEED) as witness:
            await_work(witness, chance)
            await_work(witness, chance)
        mains.cut()
        storage.start()
        assert witness.find_missing()
    finally:
        storage.kill()


@needs_mounts
@pytest.mark.parametrize("kind", ["tmpfs", "ext4"])
@pytest.mark.timeout(120 + 60 * LENGTH)
def test_full_disks_lose_and_leak_nothing(kind: str, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    storage = PowerlessStorage(tmp_path)
    disk = small_disk(storage.data, "48m") if kind == "tmpfs" else image_disk(storage.data, 64)
    with disk, stopped_at_last(storage):
        with BlobWitness(storage, SEED, refuses=True) as witness:
            for number in range(FULL_DISKS):
                await_work(witness, chance)
                filler = fill(storage.data)
                wanted = witness.refused + chance.randrange(1, 20)
                until(lambda w=wanted: witness.refused >= w or not witness.is_well(), "refusals")
                if number % 2:
                    storage.kill()
                    clear(filler)
                    storage.start()
                else:
                    clear(filler)
            await_work(witness, chance)
        print(
            f"{FULL_DISKS} times full: {witness.acknowledged} acknowledged,"
            f" {witness.refused} refused, {witness.unanswered} not answered"
        )
        assert witness.torn == []
        assert witness.find_missing() == []
