"""One attempt of a task in a container, from its image to the removal of the container."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from lote.agent.container_engine import ContainerEngine, State
from lote.agent.container_line import ContainerFailed, ContainerGone
from lote.agent.container_words import Began, Begin, Coordinated, Over
from lote.agent.disk import is_disk_full
from lote.agent.launch import prepare_certificates, prepare_directory
from lote.wire.frames import Container

KILL_AGAIN_S = 0.2  # a kill that comes before the container runs finds nothing
TAIL_BYTES = 2000  # of stderr, where the runtime says why a container did not start
EXIT_NOT_FOUND = 127  # of podman and docker: no such program in the image
NOT_FOUND_TEXT = "executable file not found"  # the same of runc and crun; podman 4's code is 125
EXIT_NOT_RUN = 126  # a program that can't be executed
EXIT_KILLED = 137  # 128 and SIGKILL, as podman and docker tell it


class Attempt:
    """One attempt of a task, in a thread of its own until nothing of it is left."""

    def __init__(
        self,
        order: Begin,
        engine: ContainerEngine,
        clock: Callable[[], float],
        tell: Callable[[Began | Coordinated], None],
    ) -> None:
        self.order = order
        self._number = order.attempt
        self._start_s = clock()
        self._status = "created"  # of the container, if all fails
        self._engine = engine
        self._clock = clock
        self._tell = tell
        self._stop = threading.Event()
        self._over = threading.Event()
        self._container_id: str | None = None
        self._used_s: tuple[float, float] | None = None

    def carry_out(self) -> Over:
        """Fetch, make, run, look, remove."""
        order = self.order
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
            order.key, order.run, self._number, self._start_s, self._clock(), exit_code, trouble,
            container, self._used_s,
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
        made = engine.create(order, image)
        self._container_id = made.id
        try:
            self._begin()
            code, state = self._run_in(made.id, image, directory)
        finally:
            if not made.is_kept or self._stop.is_set():
                engine.remove(made.id)
            self._used_s = engine.used_s(made)
        return code, Container(made.id, state.status, state.error)

    def _run_in(self, container_id: str, image: str, directory: str) -> tuple[int, State]:
        """Run all that is to run in the container; gives the exit code and how it was left."""
        with self._outputs(directory) as (stdout, stderr):
            process = self._engine.start(container_id, stdout, stderr)
        code = process.wait()
        state = self._look_at_end(container_id)
        if not state.has_started:
            raise _not_started(code, state, directory)
        return state.exit_code, state

    def _look_at_end(self, container_id: str) -> State:
        """How the container is. One that somebody has removed was killed by that."""
        try:
            return self._engine.look(container_id)
        except ContainerGone as gone:
            return State("exited", EXIT_KILLED, gone.trouble[1], has_started=True, pid=0)

    def _begin(self) -> None:
        if self._stop.is_set():
            raise ContainerFailed("TaskEnded", "the task was ended before its container ran")
        self._tell(Began(self.order.key, self.order.run, self._number, self._clock()))

    def _make_directory(self) -> str:
        try:
            prepare_directory(self.order.directory, self.order.user)
            prepare_certificates(self.order.directory, self.order.variables, self.order.user)
        except OSError as error:
            raise _disk_trouble(error) from error
        return os.fsdecode(self.order.directory)

    @contextmanager
    def _outputs(self, directory: str) -> Iterator[tuple[int, int]]:
        """New files for a command's standard output and error, open as long as the block."""
        user = self.order.user
        with ExitStack() as opened:
            try:
                stdout = _open_output(f"{directory}/stdout.txt", user, opened)
                stderr = _open_output(f"{directory}/stderr.txt", user, opened)
            except OSError as error:
                raise _disk_trouble(error) from error
            yield stdout, stderr

    def _failed(self, message: str) -> Container | None:
        if self._container_id is None:
            return None
        return Container(self._container_id, self._status, message)


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
    message = state.error or tail_of_errors(directory)
    return not_run({code, state.exit_code}, message)


def not_run(exit_codes: set[int], message: str) -> ContainerFailed:
    """What it means that a command did not begin, with these exit codes and this explanation."""
    if EXIT_NOT_FOUND in exit_codes or NOT_FOUND_TEXT in message:
        return ContainerFailed("CommandProgramNotFound", message)
    if EXIT_NOT_RUN in exit_codes:
        return ContainerFailed("CommandLaunchFailed", message)
    return ContainerFailed("ContainerFailedToStart", message)


def tail_of_errors(directory: str) -> str:
    """The end of a task's standard error, where the runtime says what it could not do."""
    with open(f"{directory}/stderr.txt", "rb") as source:
        return source.read()[-TAIL_BYTES:].decode(errors="replace").strip()
