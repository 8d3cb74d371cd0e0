"""When a container that no command waits for is taken to have ended."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from typing import cast

import pytest

from lote.agent import container_watch
from lote.agent.container_engine import ContainerEngine, State
from lote.agent.container_line import ContainerFailed, ContainerGone
from lote.agent.container_watch import LOOKS_FAILED_MAX, await_end, await_process

Told = State | ContainerFailed
FAILED = ContainerFailed("ContainerRuntimeUnavailable", "the database is locked")
EXITED = State("exited", 0, "", has_started=True, pid=0)
LONG_S = 1e5  # longer than any test may take


def running(pid: int) -> State:
    return State("running", 0, "", has_started=True, pid=pid)


class Looks:
    """An engine that tells one of these after the other."""

    def __init__(self, *told: Told, at_each: Callable[[], None] = lambda: None) -> None:
        self.left = list(told)
        self._at_each = at_each

    def look(self, container_id: str) -> State:
        self._at_each()
        told = self.left.pop(0)
        if isinstance(told, ContainerFailed):
            raise told
        return told

    def watch(self) -> list[Told]:
        """What was not asked for before the end."""
        await_end(cast(ContainerEngine, self), "made", threading.Event())
        return self.left


@pytest.fixture
def child():
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(container_watch, "LOOK_AGAIN_S", 0.001)


def test_a_look_that_fails_now_and_then_is_not_the_end():
    almost = [FAILED] * (LOOKS_FAILED_MAX - 1)
    assert Looks(*almost, running(0), *almost, running(0), EXITED).watch() == []


def test_looks_that_fail_one_after_another_are_told():
    assert Looks(*[FAILED] * LOOKS_FAILED_MAX, EXITED).watch() == [EXITED]


def test_a_container_that_was_removed_has_ended():
    gone = ContainerGone("ContainerRuntimeUnavailable", "no such container")
    assert Looks(running(0), gone, EXITED).watch() == [EXITED]


def test_another_process_of_that_number_hides_no_end(monkeypatch):
    monkeypatch.setattr(container_watch, "LOOK_LATEST_S", 0.001)
    assert Looks(running(os.getpid()), running(os.getpid()), EXITED).watch() == []


def test_the_end_of_its_process_is_a_reason_to_look_and_not_the_end(child, monkeypatch):
    monkeypatch.setattr(container_watch, "LOOK_LATEST_S", LONG_S)
    killer = threading.Timer(0.05, child.kill)  # as a rule after the first look: the order is free
    killer.start()
    assert Looks(running(child.pid), running(child.pid), EXITED).watch() == []
    killer.join()


def test_a_process_that_has_ended_is_not_waited_for(child):
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # and stays a zombie
    assert not await_process(child.pid, LONG_S)
    child.wait()
    assert not await_process(child.pid, LONG_S)


def test_nobody_looks_once_it_is_over():
    over = threading.Event()
    looks = Looks(running(0), EXITED, at_each=over.set)
    await_end(cast(ContainerEngine, looks), "made", over)
    assert looks.left == [EXITED]
