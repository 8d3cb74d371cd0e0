"""The talker's side of its container crew, which it starts when its pool runs containers."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from lote.agent import orders
from lote.agent.container_orders import order_of
from lote.agent.container_words import (
    Began,
    Broken,
    Coordinated,
    CrewSettings,
    End,
    Fetched,
    Over,
    Prefetch,
    Proceed,
    Word,
    note_of,
    pack,
)
from lote.agent.environment import Base
from lote.agent.failures import failure
from lote.agent.layout import Layout
from lote.agent.link import Link
from lote.agent.links import SpawnerBroken
from lote.agent.log import Log
from lote.agent.settings import AgentSettings
from lote.agent.work import Work
from lote.wire.frames import Container, ContainerPool, Failure

COMMAND = (sys.executable, "-P", "-m", "lote.agent.container_crew")
_DETAILS = {"ContainerInvalidImage": "ImageName"}


class Containers:
    """Starts the crew, sends it orders and words, receives its notes.

    ``on_note`` gets what it says of runs, as spawners say it, and at the end the container;
    ``on_fetched`` what keeps the node from running containers, nothing when it can; ``on_lost`` is
    called when the crew is gone.
    """

    def __init__(
        self,
        settings: AgentSettings,
        layout: Layout,
        log: Log,
        on_note: Callable[[orders.Note, Container | None], None],
        on_fetched: Callable[[list[Failure]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._layout = layout
        self._log = log
        self._on_note = on_note
        self._on_fetched = on_fetched
        self._on_lost = on_lost
        self._pool: ContainerPool | None = None
        self._link: Link | None = None
        self._pid: int | None = None
        self._troubles: list[Failure] | None = None

    @property
    def pid(self) -> int | None:
        """The crew's process, if it was started."""
        return self._pid

    def set_up(self, pool: ContainerPool) -> None:
        """What the server says of the pool, each time it says it; the first time starts a crew."""
        self._pool = pool
        if self._link is None and self._troubles is None:
            self._begin_crew(pool)
        elif self._troubles is not None:
            self._on_fetched(self._troubles)

    def begin(self, work: Work, key: int, base: Base) -> None:
        """Run an attempt, beside the spawners; ``key`` is what notes call it."""
        pool = self._pool
        assert pool is not None
        self._tell(order_of(work, key, base, self._layout, pool.registries))

    def proceed(self, work: Work) -> None:
        """Run the command line of a primary whose instances are all coordinated."""
        self._tell(Proceed(work.key, work.run, work.attempt, work.command_line))

    def end(self, key: int, run: int) -> None:
        """End a run's container, if it has one."""
        if self._link is not None:
            self._tell(End(key, run))

    def close(self) -> None:
        """Hang up: the crew ends all containers and exits."""
        if self._link is not None:
            self._link.close()

    def _begin_crew(self, pool: ContainerPool) -> None:
        try:
            command = shlex.split(self._settings.container_command)
            options = shlex.split(self._settings.container_options)
        except ValueError as error:  # an unclosed quote in a setting of the service
            message = f"The settings of the container command: {error}"
            self._take_fetched(Fetched([("ContainerRuntimeUnavailable", "", message)]))
            return
        self._start(command, options)
        self._tell(Prefetch(pool.images, pool.registries))

    def _start(self, command: list[str], options: list[str]) -> None:
        os.makedirs(self._layout.containers, 0o700, exist_ok=True)
        ours, theirs = socket.socketpair()
        settings = CrewSettings(command, options, self._layout.root, self._layout.containers)
        words = [*COMMAND, msgspec.json.encode(settings).decode()]
        # A session of its own: when the agent is killed with all that is in its session, the crew
        # is what ends the containers.
        process = subprocess.Popen(words, stdin=theirs.fileno(), start_new_session=True)
        process.returncode = 0  # the talker reaps its children; Popen must not wait for it
        theirs.close()
        self._pid = process.pid
        self._link = Link(ours, self._take, self._on_lost)
        self._link.listen()

    def _take(self, message: tuple[Any, ...]) -> None:
        note = note_of(message)
        match note:
            case Broken():
                raise SpawnerBroken(note.text)
            case Began():
                started = (orders.STARTED, note.key, note.run, note.attempt, note.start_s)
                self._on_note(started, None)
            case Coordinated():
                done = (orders.COORDINATED, note.key, note.run, note.attempt, note.end_s)
                self._on_note(done, None)
            case Over():
                self._on_note(_ended(note), note.container)
            case Fetched():
                self._take_fetched(note)

    def _take_fetched(self, note: Fetched) -> None:
        self._troubles = [_failure(*one) for one in note.troubles]
        code = self._troubles[0].code if self._troubles else "none"
        self._log.event("containers_ready", failure=code)
        self._on_fetched(self._troubles)

    def _tell(self, word: Word) -> None:
        assert self._link is not None
        self._link.send(pack(word))


def _ended(note: Over) -> orders.Ended:
    """As a spawner says it; a container's exit code as that of a process. Nobody counts blocks."""
    status = None if note.exit_code is None else note.exit_code << 8
    user_s, kernel_s = note.used_s or (None, None)
    return (
        orders.ENDED, note.key, note.run, note.attempt, note.start_s, note.end_s, status,
        user_s, kernel_s, note.trouble, None, None,
    )  # fmt: skip


def _failure(code: str, subject: str, message: str) -> Failure:
    return failure(code, ("Message", message), (_DETAILS.get(code, "Subject"), subject))
