"""An instance of a multi-instance task in a container: one container for all that it runs.

The container's own process only waits. The coordination command is run inside, and on the primary
later the command line, so what the first leaves running is there for the second. When the instance
ends, so does the container, with all that is in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from lote.agent.container_attempt import (
    EXIT_NOT_FOUND,
    EXIT_NOT_RUN,
    Attempt,
    not_run,
    tail_of_errors,
)
from lote.agent.container_engine import ContainerEngine
from lote.agent.container_line import ContainerFailed
from lote.agent.container_words import Began, Begin, Coordinated, Proceed
from lote.wire.frames import Container

RUNTIME_TEXT = "OCI "  # of runc and crun by podman and docker: it is not the command that says this
EXITS_OF_THE_CLIENT = (125, 255)  # of ``podman exec`` and ``docker exec`` in a container that ended
RUNNING = "running"


class InstanceAttempt(Attempt):
    """Both commands of an instance, in a thread of their own until nothing of them is left."""

    def __init__(
        self,
        order: Begin,
        engine: ContainerEngine,
        clock: Callable[[], float],
        tell: Callable[[Began | Coordinated], None],
    ) -> None:
        super().__init__(order, engine, clock, tell)
        self._goes_on = threading.Event()
        self._proceed: Proceed | None = None

    def proceed(self, word: Proceed) -> None:
        """All instances are coordinated, and this is the primary."""
        self._number = word.attempt
        self._proceed = word
        self._goes_on.set()

    def end(self) -> None:
        """End it, whatever it is doing. Returns when nothing of it is left."""
        self._stop.set()
        self._goes_on.set()
        super().end()

    def _run(self) -> tuple[int, Container]:
        order, engine = self.order, self._engine
        directory = self._make_directory()
        image = engine.fetch(order.image, order.registries, self._stop)
        container_id, is_kept = engine.create(order, image)
        self._container_id = container_id
        try:
            self._begin()
            engine.hold(container_id)
            self._status = "exited"
            try:
                code = self._run_inside(container_id, image, order.command_line, directory)
                if not code:
                    code = self._go_on(container_id, image)
            finally:
                engine.stop(container_id)
            state = engine.look(container_id)
        finally:
            if not is_kept or self._stop.is_set():
                engine.remove(container_id)
        return code, Container(container_id, state.status, state.error)

    def _go_on(self, container_id: str, image: str) -> int:
        """Wait for the others, then for the end of the command line, or to be ended."""
        order = self.order
        self._tell(Coordinated(order.key, order.run, self._number, self._clock()))
        self._goes_on.wait()
        word = self._proceed
        if word is None:
            return 0  # a subtask: ended with its task
        directory = self._make_directory()
        self._start_s = self._clock()
        self._begin()
        return self._run_inside(container_id, image, word.command_line, directory)

    def _run_inside(self, container_id: str, image: str, line: str, directory: str) -> int:
        """Run a command line to its end; gives its exit code."""
        words = self._engine.words_inside(self.order, image, line)
        with self._outputs(directory) as (stdout, stderr):
            process = self._engine.enter(container_id, words, stdout, stderr)
        code = process.wait()
        if code in (EXIT_NOT_FOUND, EXIT_NOT_RUN):
            said = tail_of_errors(directory)
            if RUNTIME_TEXT in said.rpartition("\n")[2]:
                raise not_run({code}, said)
        elif code in EXITS_OF_THE_CLIENT and self._engine.look(container_id).status != RUNNING:
            raise ContainerFailed("ContainerFailedToStart", tail_of_errors(directory))
        return code
