"""An instance that waits for the others in its container; a stand-in runs commands without one."""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import pytest

from lote.agent import container_instance, container_watch
from lote.agent.container_engine import ContainerEngine, Made, State
from lote.agent.container_instance import InstanceAttempt
from lote.agent.container_line import ContainerFailed, ContainerGone
from lote.agent.container_watch import LOOKS_FAILED_MAX
from lote.agent.container_words import Began, Begin, Coordinated, Over, Proceed

Told = State | ContainerFailed
RUNNING = State("running", 0, "", has_started=True, pid=0)
EXITED = State("exited", 0, "", has_started=True, pid=0)
LOCKED = ContainerFailed("ContainerRuntimeUnavailable", "the database is locked")
GONE = ContainerGone("ContainerRuntimeUnavailable", "no such container: made")


class Stage:
    """An engine and one instance: looks tell one of ``told`` after the other, the last for ever."""

    def __init__(self, folder: Path, told: Iterable[Told], coordination: str = "true") -> None:
        self.folder = folder / "task"
        self.told = list(told)
        self.at_last: Callable[[], None] = lambda: None  # before the last of them is told
        self.is_stopped = False
        self._looking = threading.Lock()
        directory = str(self.folder).encode()
        order = Begin(1, 2, 0, directory, "i", coordination, "", {}, None, [], None, [], True)
        self.notes: list[Began | Coordinated] = []
        engine = cast(ContainerEngine, self)
        self.attempt = InstanceAttempt(order, engine, lambda: 1.0, self.notes.append)

    def carry_out(self) -> Over:
        return self.attempt.carry_out()

    def go_on(self) -> None:
        self.attempt.proceed(Proceed(1, 2, 1, "echo went on"))

    # -- what an attempt asks of its engine -------------------------------------------------

    def fetch(self, image: str, registries: object, stop: object) -> str:
        return image

    def create(self, order: Begin, image: str) -> Made:
        return Made("made", False, None)

    def hold(self, container_id: str) -> None:
        pass

    def words_inside(self, order: Begin, image: str, line: str) -> list[str]:
        return shlex.split(line)

    def enter(
        self, container_id: str, words: list[str], stdout: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(words, stdout=stdout, stderr=stderr)

    def look(self, container_id: str) -> State:
        with self._looking:
            if len(self.told) == 1:
                self.at_last()
            told = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        if isinstance(told, ContainerFailed):
            raise told
        return told

    def stop(self, container_id: str) -> None:
        self.is_stopped = True

    kill = remove = stop

    def used_s(self, made: Made) -> None:
        return None


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(container_watch, "LOOK_AGAIN_S", 0.001)


def test_it_waits_on_when_its_container_could_not_be_looked_at_for_a_while(tmp_path):
    stage = Stage(tmp_path, [*[LOCKED] * LOOKS_FAILED_MAX, RUNNING, RUNNING])
    before: list[bool] = []

    def at_last() -> None:
        before.append(stage.is_stopped)
        stage.go_on()

    stage.at_last = at_last
    over = stage.carry_out()
    assert (over.exit_code, over.trouble) == (0, None)
    assert (stage.folder / "stdout.txt").read_text() == "went on\n"
    assert before[0] is False
    assert stage.is_stopped


def test_it_ends_with_a_container_that_somebody_removed(tmp_path):
    over = Stage(tmp_path, [RUNNING, GONE]).carry_out()
    assert (over.exit_code, over.trouble) == (137, None)
    assert over.container is not None
    assert (over.container.state, over.container.error) == ("exited", "no such container: made")


def test_the_removal_of_a_container_in_which_a_command_runs_is_its_death(tmp_path):
    over = Stage(tmp_path, [GONE], coordination="sh -c 'kill -9 $$'").carry_out()
    assert over.trouble is None
    assert over.exit_code == -9  # of the stand-in's process; of that of podman and docker, 137


def test_it_fails_when_nobody_can_say_how_its_container_is(tmp_path):
    over = Stage(tmp_path, [LOCKED]).carry_out()
    assert over.exit_code is None
    assert over.trouble == LOCKED.trouble


def test_an_exit_of_its_container_is_told(tmp_path):
    over = Stage(tmp_path, [RUNNING, EXITED]).carry_out()
    assert (over.exit_code, over.trouble) == (137, None)
    over = Stage(tmp_path, [EXITED._replace(exit_code=3)]).carry_out()
    assert (over.exit_code, over.trouble) == (3, None)


def test_an_error_of_ours_in_the_watch_is_not_lost(tmp_path, monkeypatch):
    def fail(*given: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(container_instance, "await_end", fail)
    stage = Stage(tmp_path, [RUNNING])
    with pytest.raises(RuntimeError, match="ours"):
        stage.carry_out()
    assert stage.is_stopped
