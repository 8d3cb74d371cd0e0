"""Task directories at rest: which of them go, and when. The clock is stepped by days."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lote.agent.keeper import LONG_S, Keeper
from lote.agent.layout import Layout
from lote.agent.log import Log
from lote.agent.task_spec import RETENTION_DEFAULT_S
from lote.world import SteppedWorld

HOUR_S = 3600.0


class Shelf:
    """Directories of tasks, and the keeper that one life of the agent after the other has."""

    def __init__(self, folder: Path) -> None:
        self.layout = Layout(str(folder))
        self.layout.make(None)
        self.world = SteppedWorld()
        self.used: set[str] = set()

    def add(self, name: str, retention_s: float | None = None, lasted_s: float = 0.0) -> Path:
        """A task's directory that came to rest now; its files are from when the task began."""
        directory = Path(self.layout.task_directory("workitems/j/job-1", name))

        def act(keeper: Keeper) -> None:
            directory.joinpath("wd").mkdir(parents=True, exist_ok=True)
            directory.joinpath("stdout.txt").touch()
            began_s = self.world.now_us() / 1e6 - lasted_s
            for path in (directory / "wd", directory / "stdout.txt", directory):
                os.utime(path, (began_s, began_s))
            if retention_s is not None:
                keeper.keep_for(str(directory), retention_s, lasted_s)

        self.live(act)
        return directory

    def live(self, act=lambda keeper: None, gone: Path | None = None) -> None:
        """One life of an agent: it looks at what is there, then acts; until ``gone`` has gone."""

        async def living() -> None:
            log = Log(self.layout.log, self.world.now_us)
            keeper = Keeper(self.layout, self.world, log)
            keeper.in_use = lambda: self.used
            keeper.start()
            act(keeper)
            async with asyncio.timeout(20):
                while gone is not None and os.path.exists(gone):  # noqa: ASYNC110, ASYNC240 - no event tells
                    await asyncio.sleep(0)
            keeper.close()

        asyncio.run(living())

    def after(self, seconds: float) -> list[str]:
        """The names of the directories that are left then."""
        witness = self.add("witness", seconds / 2)
        self.world.advance(seconds)
        self.live(gone=witness)
        return sorted(path.name for path in witness.parent.iterdir())


def refuse(number: int) -> Callable[..., None]:
    """A system call that fails with this error."""

    def call(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    return call


@pytest.fixture
def shelf(tmp_path):
    return Shelf(tmp_path / "node")


def test_retention_ends_when_it_was_said(shelf):
    shelf.add("hour", HOUR_S)
    shelf.add("week", RETENTION_DEFAULT_S)
    shelf.add("month", 30 * 24 * HOUR_S)
    assert shelf.after(HOUR_S - 1) == ["hour", "month", "week"]
    assert shelf.after(2) == ["month", "week"]
    assert shelf.after(RETENTION_DEFAULT_S - HOUR_S - 2) == ["month", "week"]
    assert shelf.after(2) == ["month"]
    assert shelf.after(31 * 24 * HOUR_S) == []


def test_a_rerun_begins_retention_anew(shelf):
    shelf.add("t", HOUR_S)
    assert shelf.after(HOUR_S - 1) == ["t"]
    shelf.add("t", HOUR_S)
    assert shelf.after(HOUR_S - 1) == ["t"]
    assert shelf.after(2) == []


@pytest.mark.parametrize("retention_s", [HOUR_S, RETENTION_DEFAULT_S])
def test_what_is_in_use_stays_however_long_it_takes(shelf, retention_s):
    directory = shelf.add("t", retention_s)
    shelf.used = {str(directory)}
    assert shelf.after(retention_s + HOUR_S) == ["t"]
    assert shelf.after(30 * 24 * HOUR_S) == ["t"]
    shelf.add("t", retention_s, lasted_s=30 * 24 * HOUR_S)
    shelf.used = set()
    assert shelf.after(retention_s - 1) == ["t"]
    assert shelf.after(2) == []


def test_a_task_of_many_days_has_its_retention_from_its_end(shelf):
    shelf.add("quiet", RETENTION_DEFAULT_S, lasted_s=10 * RETENTION_DEFAULT_S)
    shelf.add("long", RETENTION_DEFAULT_S, lasted_s=LONG_S)
    assert shelf.after(RETENTION_DEFAULT_S - 1) == ["long", "quiet"]
    assert shelf.after(2) == []


def test_a_hundred_thousand_short_tasks_leave_no_trace(shelf):
    def act(keeper: Keeper) -> None:
        for number in range(100_000):
            keeper.keep_for(f"/nowhere/{number}", RETENTION_DEFAULT_S, 1.0)

    shelf.live(act)
    assert not os.path.exists(shelf.layout.retention)


def test_a_job_that_is_deleted_leaves_no_folder(shelf):
    for job in ("s/job-1", "s/job-2", "j/job-1"):
        Path(shelf.layout.root, "workitems", job, "t", "wd").mkdir(parents=True)
    shelf.live(lambda keeper: keeper.clean(["workitems/s/job-1", "workitems/j/job-1"]))
    left = sorted(path.name for path in Path(shelf.layout.root, "workitems").rglob("*"))
    assert left == ["job-2", "s", "t", "wd"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EXDEV])
def test_what_cannot_be_moved_is_gone_before_the_next_task_begins(shelf, monkeypatch, number):
    directory = shelf.add("t")

    def act(keeper: Keeper) -> None:
        keeper.begin_anew(str(directory))
        assert not directory.exists()
        directory.joinpath("wd").mkdir(parents=True)
        keeper.clean(["workitems/j/job-1/t"])
        assert not directory.exists()

    monkeypatch.setattr(os, "rename", refuse(number))
    # What is done in the background may be done when the next task is at work there.
    monkeypatch.setattr(ThreadPoolExecutor, "submit", lambda *arguments, **options: None)
    shelf.live(act)


def test_no_directory_ends_the_agent(shelf, monkeypatch):
    directory = shelf.add("t")
    shelf.world.advance(RETENTION_DEFAULT_S + 1)

    def act(keeper: Keeper) -> None:
        keeper.begin_anew(str(directory))
        keeper.clean(["workitems/j/job-1/t"])

    monkeypatch.setattr(os, "rename", refuse(errno.EPERM))
    monkeypatch.setattr(shutil, "rmtree", lambda path, ignore_errors: None)
    shelf.live(act)
    assert directory.exists()
