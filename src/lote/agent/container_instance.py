"""An instance of a multi-instance task in a container: one container for all that it runs.

The container's own process only waits. The coordination command is run inside, and on the primary
later the command line, so what the first leaves running is there for the second. When the instance
ends, so does the container, with all that is in it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from lote.agent.container_attempt import (
    EXIT_KILLED,
    EXIT_NOT_FOUND,
    EXIT_NOT_RUN,
    Attempt,
    not_run,
    tail_of_errors,
)
from lote.agent.container_engine import RUNNING, ContainerEngine, State
from lote.agent.container_line import ContainerFailed
from lote.agent.container_watch import await_end
from lote.agent.container_words import Began, Begin, Coordinated, Proceed

RUNTIME_TEXT = "OCI "  # of runc and crun by podman and docker: it is not the command that says this
EXITS_OF_THE_CLIENT = (125, 255)  # of ``podman exec`` and ``docker exec`` in a container that ended


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
        self._wakes = threading.Event()  # who waits for the others: called, or the watch is over
        self._is_called = threading.Event()
        self._proceed: Proceed | None = None
        self._watch_error: Exception | None = None

    def proceed(self, word: Proceed) -> None:
        """All instances are coordinated, and this is the primary."""
        self._number = word.attempt
        self._proceed = word
        self._call()

    def end(self) -> None:
        """End it, whatever it is doing. Returns when nothing of it is left."""
        self._stop.set()
        self._call()
        super().end()

    def _call(self) -> None:
        self._is_called.set()
        self._wakes.set()

    def _run_in(self, container_id: str, image: str, directory: str) -> tuple[int, State]:
        engine = self._engine
        engine.hold(container_id)
        self._status = "exited"
        try:
            code = self._run_inside(container_id, image, self.order.command_line, directory)
            if not code:
                code = self._go_on(container_id, image)
        finally:
            engine.stop(container_id)
        return code, self._look_at_end(container_id)

    def _go_on(self, container_id: str, image: str) -> int:
        """Wait for the others, then for the end of the command line, or to be ended."""
        order = self.order
        self._tell(Coordinated(order.key, order.run, self._number, self._clock()))
        if not self._await_call(container_id):
            return self._end_of_container(container_id)
        word = self._proceed
        if word is None:
            return 0
        directory = self._make_directory()
        self._start_s = self._clock()
        self._begin()
        return self._run_inside(container_id, image, word.command_line, directory)

    def _await_call(self, container_id: str) -> bool:
        """Wait until it is to go on or to end; False if its container has ended before, which is
        looked at once more: what the watch took for an end may have been none."""
        while True:
            self._wakes.clear()
            if self._is_called.is_set():
                return True
            threading.Thread(target=self._watch, args=[container_id], daemon=True).start()
            self._wakes.wait()
            if self._is_called.is_set():
                return True
            if self._watch_error is not None:
                raise self._watch_error
            if self._look_at_end(container_id).status != RUNNING:
                return False

    def _watch(self, container_id: str) -> None:
        """Wake who waits for the others when its container has ended by itself."""
        try:
            await_end(self._engine, container_id, self._is_called)
        except Exception as error:  # who is woken raises it
            self._watch_error = error
        self._wakes.set()

    def _end_of_container(self, container_id: str) -> int:
        """The exit code of an instance whose container has ended before it: all that the
        coordination command left running there was killed with it."""
        self._engine.stop(container_id)  # then the runtime knows how it ended
        return self._look_at_end(container_id).exit_code or EXIT_KILLED

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
        elif code in EXITS_OF_THE_CLIENT and self._look_at_end(container_id).status != RUNNING:
            raise ContainerFailed("ContainerFailedToStart", tail_of_errors(directory))
        return code
