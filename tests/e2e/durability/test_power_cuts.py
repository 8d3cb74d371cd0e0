"""Durable means synced: what was acknowledged survives the loss of everything that was not.

Longer by ``scripts/endurance power``.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from endurance import LENGTH, SEED
from harness import until
from power import Record, build_library, powered_service
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


def test_the_cut_would_find_a_service_that_does_not_sync(library: Path, tmp_path: Path) -> None:
    with powered_service(library, tmp_path, forgetful=True) as (lote, mains):
        container = lote.add_container("kept")
        with Witness(lote, container, SEED, "none") as witness:
            until(lambda: len(witness.acknowledged()) >= 30 or not witness.is_alive())
            seen = witness.acknowledged()
            mains.copy(tmp_path / "disk")
        record = Record(tmp_path / "disk", tmp_path)
        assert set(seen.jobs) - record.jobs
        assert seen.tasks - record.tasks
