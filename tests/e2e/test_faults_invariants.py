"""The check of the record notices what is wrong with it."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from harness import Lote, lote_service

from lote.store.database import open_writer
from lote.store.invariants import check_invariants


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a service that has done some work, and has some to do."""
    path = tmp_path_factory.mktemp("record") / "account.db"
    with lote_service() as lote:
        lote.add_pool(nodes=1, slots=2)
        lote.add_job(usesTaskDependencies=True)
        lote.add_tasks({"1": "/bin/true", "2": "/bin/false"})
        lote.add_tasks({"long": "sleep 600", "after": child(["1"]), "ranged": child([], 1, 3)})
        lote.add_tasks({"never": child(["none", "1"])})
        for name in ("1", "2", "after"):
            lote.wait_for_end(name)
        lote.wait_for_state("long", "running")
        copy(lote, path)
    return path


def child(parents: list[str], *span: int) -> dict[str, object]:
    wanted: dict[str, object] = {"taskIds": parents}
    if span:
        wanted["taskIdRanges"] = [{"start": span[0], "end": span[1]}]
    return {"commandLine": "/bin/true", "dependsOn": wanted}


def copy(lote: Lote, path: Path) -> None:
    with lote.database() as source:
        target = sqlite3.connect(path)
        source.backup(target)
        target.close()


DAMAGES = {
    "UPDATE job_count SET succeeded = succeeded + 1": "what counts say",
    "UPDATE job_count SET running_slots = 0": "what counts say",
    "DELETE FROM job_count": "every job has counts",
    "DELETE FROM job": "every task has a job",
    "DELETE FROM task_spec WHERE key = (SELECT min(key) FROM task)": "every task has a spec",
    "INSERT INTO task_spec VALUES (99, '')": "every spec has a task",
    "UPDATE node SET gone_us = 1": "a node that has not gone, and a run",
    "DELETE FROM node": "a node that has not gone, and a run",
    "UPDATE task SET phase = 1 WHERE id = 'never'": "only blocked tasks",
    "UPDATE task SET waiting = 2 WHERE id = 'never'": "just as many requirements",
    "UPDATE task SET waiting = 1 WHERE id = 'ranged'": "just as many requirements",
    "DELETE FROM dependency": "just as many requirements",
    "DELETE FROM satisfied_number": "the numbers that are satisfied",
    "INSERT INTO satisfied_number SELECT key, 77 FROM job": "the numbers that are satisfied",
    "INSERT INTO dependency SELECT key, 'x', 98 FROM job": "is waited for by a task",
    "UPDATE task SET end_us = NULL WHERE id = '1'": "a completed task has an end",
    "UPDATE task SET failure = NULL WHERE id = '2'": "a completed task has an end",
    "UPDATE task SET result = 1 WHERE id = 'long'": "is not completed has no end",
    "UPDATE task SET start_us = NULL WHERE id = 'long'": "a running task has a start",
    "UPDATE job SET state = 'completed'": "a completed job has an end",
    "UPDATE fact SET value = 1 WHERE name = 'next_task_key'": "no task key",
    "DELETE FROM pool": "has a pool",
}


def test_a_record_in_good_order_is_found_so(record: Path) -> None:
    connection = open_writer(record)
    try:
        assert check_invariants(connection) == []
    finally:
        connection.close()


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_noticed(record: Path, tmp_path: Path, damage: str) -> None:
    shutil.copy(record, tmp_path / "account.db")
    connection = open_writer(tmp_path / "account.db")
    try:
        assert connection.execute(damage).rowcount > 0
        assert any(DAMAGES[damage] in one for one in check_invariants(connection))
    finally:
        connection.close()
