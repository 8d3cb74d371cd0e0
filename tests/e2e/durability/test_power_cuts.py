"""Durable means synced: what was acknowledged survives the loss of everything that was not.

Longer by ``scripts/endurance power``.
"""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
from endurance import LENGTH, SEED
from harness import until
from power import FORGETFUL, Record, build_library, content_digests, powered_service
from witness import Witness, missing

CUTS = 3 * LENGTH
MOMENTS = 8 * LENGTH


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_library(tmp_path_factory.mktemp("unsynced"))


@pytest.mark.timeout(120 + 60 * LENGTH)
def test_what_was_acknowledged_survives_power_cuts(library: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with powered_service(library, tmp_path) as (lote, mains):
        lote.add_pool(nodes=2, slots=2)
        container = lote.add_container("kept")
        agents = lote.agents()
        with Witness(lote, container, SEED) as witness:
            for _ in range(CUTS):
                wanted = len(witness.acknowledged()) + chance.randrange(30, 120)
                until(lambda w=wanted: len(witness.acknowledged()) >= w or not witness.is_alive())
                failures = witness.failures
                mains.cut()
                seen = witness.acknowledged()
                record = Record(lote.data, tmp_path)
                assert record.broken == []
                assert set(seen.jobs) - record.jobs == set()
                assert seen.tasks - record.tasks == set()
                lote.start()
                until(lambda f=failures: witness.failures > f or not witness.is_alive())
            wanted = len(witness.acknowledged()) + 30
            until(lambda: len(witness.acknowledged()) >= wanted or not witness.is_alive())
            assert witness.is_alive()
        seen = witness.acknowledged()
        print(f"{len(seen)} acknowledged, {len(seen.completed)} ends seen, {CUTS} cuts")
        assert seen.completed
        assert missing(lote, seen, container) == []
        mains.cut()
        lote.start()
        assert missing(lote, seen, container) == []
        for job_id in seen.jobs:
            lote.wait_for_counts(job_id, active=0, running=0, failed=0)
        lote.wait_for_pool()
        assert lote.agents() == agents


def test_at_every_moment_the_disk_has_what_was_acknowledged(library: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED)
    with powered_service(library, tmp_path) as (lote, mains):
        container = lote.add_container("kept")
        with Witness(lote, container, SEED, "none") as witness:
            for moment in range(MOMENTS):
                wanted = len(witness.acknowledged()) + chance.randrange(1, 60)
                until(lambda w=wanted: len(witness.acknowledged()) >= w or not witness.is_alive())
                seen = witness.acknowledged()
                mains.copy(tmp_path / f"disk{moment}")
                record = Record(tmp_path / f"disk{moment}", tmp_path)
                assert record.broken == []
                assert set(seen.jobs) - record.jobs == set()
                assert seen.tasks - record.tasks == set()
                assert seen.files - content_digests(tmp_path / f"disk{moment}") == set()


@pytest.mark.parametrize("what", FORGETFUL)
def test_the_cut_would_find_a_service_that_does_not_sync(
    what: str, library: Path, tmp_path: Path
) -> None:
    with powered_service(library, tmp_path, forgets=what) as (lote, mains):
        container = lote.add_container("kept")
        with Witness(lote, container, SEED, "none") as witness:
            until(lambda: len(witness.acknowledged().files) >= 3 or not witness.is_alive())
            seen = witness.acknowledged()
            mains.copy(tmp_path / "disk")
        record = Record(tmp_path / "disk", tmp_path)
        lost = {
            "rows": set(seen.jobs) - record.jobs and seen.tasks - record.tasks,
            "files": seen.files - content_digests(tmp_path / "disk"),
        }
        assert lost[what]


@pytest.mark.parametrize("number", range(2 * LENGTH))
def test_power_may_go_at_any_moment_of_a_start(number: int, library: Path, tmp_path: Path) -> None:
    chance = random.Random(SEED * 1000 + number)
    pause = threading.Event()
    with powered_service(library, tmp_path, is_started=False) as (lote, mains):
        for _ in range(3):
            lote.process = lote.spawn()
            pause.wait(chance.uniform(0.15, 0.7))
            mains.cut()
        lote.start()
        lote.add_job("j", pool_id="none")
        lote.add_tasks({"t": "/bin/true"})
        assert lote.fetch("GET", lote.add_container("con").blob("none")).status == 404
        mains.cut()
        lote.start()
        assert lote.counts()["active"] == 1
