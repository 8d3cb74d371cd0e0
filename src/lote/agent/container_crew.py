"""The container crew: a process beside the spawners that runs tasks in containers.

A node has one only in a pool that runs containers. A thread a task waits for the container command;
the words of the talker come in on the main thread. When the talker goes, all containers go.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import ExitStack

import msgspec

from lote.agent import linux, orders
from lote.agent.container_engine import ContainerEngine, State
from lote.agent.container_line import ContainerFailed
from lote.agent.container_words import (
    Began,
    Begin,
    Broken,
    CrewSettings,
    End,
    Fetched,
    Note,
    Over,
    Prefetch,
    Word,
    pack,
    word_of,
)
from lote.agent.disk import is_disk_full
from lote.agent.launch import prepare_directory
from lote.wire.frames import Container
from lote.world import World

RECEIVE_BYTES = 1 << 18
KILL_AGAIN_S = 0.2  # a kill that comes before the container runs finds nothing
FAREWELL_S = 30.0  # for all containers to end, when the talker has gone
TAIL_BYTES = 2000  # of stderr, where the runtime says why a container did not start
EXIT_NOT_FOUND = 127  # of podman and docker: no such program in the image
NOT_FOUND_TEXT = "executable file not found"  # the same of runc and crun; podman 4's code is 125
EXIT_NOT_RUN = 126  # a program that can't be executed


class Attempt:
    """One attempt of a task, in a thread of its own until nothing of it is left."""

    def __init__(
        self,
        order: Begin,
        engine: ContainerEngine,
        clock: Callable[[], float],
        tell: Callable[[Began], None],
    ) -> None:
        self.order = order
        self._engine = engine
        self._clock = clock
        self._tell = tell
        self._stop = threading.Event()
        self._over = threading.Event()
        self._container_id: str | None = None

    def carry_out(self) -> Over:
        """Fetch, make, run, look, remove."""
        order, start_s = self.order, self._clock()
        container: Container | None = None
        exit_code: int | None = None
        trouble: tuple[str, str, str] | None = None
        try:
            exit_code, container = self._run()
        except ContainerFailed as failed:
            trouble = failed.trouble
            container = self._failed(failed.trouble[1])
        finally:
            self._over.set()
        return Over(
            order.key, order.run, order.attempt, start_s, self._clock(), exit_code, trouble,
            container,
        )  # fmt: skip

    def end(self) -> None:
        """End it, whatever it is doing. Returns when nothing of it is left."""
        self._stop.set()
        while not self._over.is_set():
            if self._container_id is not None:
                self._engine.kill(self._container_id)
            self._over.wait(KILL_AGAIN_S)

    def _run(self) -> tuple[int, Container]:
        order, engine = self.order, self._engine
        directory = self._make_directory()
        image = engine.fetch(order.image, order.registries, self._stop)
        container_id, is_kept = engine.create(order, image)
        self._container_id = container_id
        try:
            if self._stop.is_set():
                raise ContainerFailed("TaskEnded", "the task was ended before its container ran")
            self._tell(Began(order.key, order.run, order.attempt, self._clock()))
            code = self._wait(container_id, directory)
            state = engine.look(container_id)
        finally:
            if not is_kept or self._stop.is_set():
                engine.remove(container_id)
        if not state.has_started:
            raise _not_started(code, state, directory)
        return state.exit_code, Container(container_id, state.status, state.error)

    def _make_directory(self) -> str:
        try:
            prepare_directory(self.order.directory, self.order.user)
        except OSError as error:
            raise _disk_trouble(error) from error
        return os.fsdecode(self.order.directory)

    def _wait(self, container_id: str, directory: str) -> int:
        """Run the container to its end; gives the exit code of the command."""
        user = self.order.user
        with ExitStack() as outputs:
            try:
                stdout = _open_output(f"{directory}/stdout.txt", user, outputs)
                stderr = _open_output(f"{directory}/stderr.txt", user, outputs)
            except OSError as error:
                raise _disk_trouble(error) from error
            process = self._engine.start(container_id, stdout, stderr)
        return process.wait()

    def _failed(self, message: str) -> Container | None:
        if self._container_id is None:
            return None
        return Container(self._container_id, "created", message)


class Crew:
    """The process: one thread reads words, one an attempt does what they say."""

    def __init__(
        self, link: socket.socket, settings: CrewSettings, clock: Callable[[], float]
    ) -> None:
        self._link = link
        self._clock = clock
        self._engine = ContainerEngine(
            settings.command, settings.options, settings.root, settings.folder
        )
        self._attempts: dict[tuple[int, int], Attempt] = {}
        self._sending = threading.Lock()
        self._is_leaving = threading.Event()
        self._has_fetched = threading.Event()  # or will never
        self._has_fetched.set()

    def serve(self) -> None:
        """Obey until the talker has gone, then end all that runs."""
        unpacker = orders.Unpacker()
        while chunk := self._receive():
            for message in unpacker.feed(chunk):
                self._obey(word_of(message))
        self._leave()

    def _receive(self) -> bytes:
        try:
            return self._link.recv(RECEIVE_BYTES)
        except ConnectionResetError:
            return b""

    def _obey(self, word: Word) -> None:
        match word:
            case Prefetch():
                self._has_fetched.clear()
                self._thread(self._prefetch, word)
            case Begin():
                attempt = Attempt(word, self._engine, self._clock, self._tell)
                self._attempts[word.key, word.run] = attempt
                self._thread(self._carry_out, attempt)
            case End():
                attempt_or_none = self._attempts.get((word.key, word.run))
                if attempt_or_none is not None:
                    self._thread(Attempt.end, attempt_or_none)

    def _carry_out(self, attempt: Attempt) -> None:
        over = attempt.carry_out()
        del self._attempts[over.key, over.run]  # before the talker can send the next attempt
        self._tell(over)

    def _prefetch(self, word: Prefetch) -> None:
        try:
            troubles = self._fetch_all(word)
        finally:
            self._has_fetched.set()
        self._tell(Fetched(troubles))

    def _fetch_all(self, word: Prefetch) -> list[tuple[str, str, str]]:
        troubles: list[tuple[str, str, str]] = []
        try:
            self._engine.find()
        except ContainerFailed as failed:
            return [(failed.trouble[0], "", failed.trouble[1])]
        for image in word.images:
            try:
                self._engine.fetch(image, word.registries, self._is_leaving)
            except ContainerFailed as failed:
                troubles.append((failed.trouble[0], image, failed.trouble[1]))
        return troubles

    def _tell(self, note: Note) -> None:
        try:
            with self._sending:
                self._link.sendall(pack(note))
        except (BrokenPipeError, ConnectionResetError):
            return  # nobody is left to be told; the main thread sees it too

    def _thread(self, work: Callable[..., None], *given: object) -> None:
        def guarded() -> None:
            try:
                work(*given)
            except Exception:
                self._tell(Broken(traceback.format_exc()))

        threading.Thread(target=guarded, daemon=True).start()

    def _leave(self) -> None:
        """Have everything end at once, and wait for it; then look for what was being made."""
        self._is_leaving.set()
        self._has_fetched.wait(FAREWELL_S)
        ending = [
            threading.Thread(target=attempt.end, daemon=True)
            for attempt in list(self._attempts.values())
        ]
        for thread in ending:
            thread.start()
        for thread in ending:
            thread.join(FAREWELL_S)
        if ending:
            self._engine.sweep()


def _open_output(path: str, user: tuple[int, int, str] | None, opened: ExitStack) -> int:
    """A new file of the task's user. No link is followed: the folder is that user's."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o644)
    opened.callback(os.close, descriptor)
    if user is not None:
        os.fchown(descriptor, user[0], user[1])
    return descriptor


def _disk_trouble(error: OSError) -> ContainerFailed:
    code = "DiskFull" if is_disk_full(error) else "ResourceDirectoryCreateFailed"
    name = error.filename
    path = os.fsdecode(name) if isinstance(name, (str, bytes)) else ""
    return ContainerFailed(code, error.strerror or str(error), path)


def _not_started(code: int, state: State, directory: str) -> ContainerFailed:
    """Why a container did not start: its runtime says it in the task's stderr."""
    message = state.error
    if not message:
        with open(f"{directory}/stderr.txt", "rb") as source:
            message = source.read()[-TAIL_BYTES:].decode(errors="replace").strip()
    exit_codes = {code, state.exit_code}
    if EXIT_NOT_FOUND in exit_codes or NOT_FOUND_TEXT in message:
        return ContainerFailed("CommandProgramNotFound", message)
    if EXIT_NOT_RUN in exit_codes:
        return ContainerFailed("CommandLaunchFailed", message)
    return ContainerFailed("ContainerFailedToStart", message)


def main() -> int:
    """``python -m lote.agent.container_crew SETTINGS``: descriptor 0 is the link."""
    linux.hide_memory()
    settings = msgspec.json.decode(sys.argv[1], type=CrewSettings)
    link = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.umask(0o022)
    Crew(link, settings, World().monotonic).serve()
    return 0


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # without waiting for threads that hang in a command
