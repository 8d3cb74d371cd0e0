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

import msgspec

from lote.agent import linux, orders
from lote.agent.container_attempt import Attempt
from lote.agent.container_engine import ContainerEngine
from lote.agent.container_instance import InstanceAttempt
from lote.agent.container_line import ContainerFailed
from lote.agent.container_words import (
    Begin,
    Broken,
    CrewSettings,
    End,
    Fetched,
    Note,
    Prefetch,
    Proceed,
    Word,
    pack,
    word_of,
)
from lote.world import World

RECEIVE_BYTES = 1 << 18
FAREWELL_S = 30.0  # for all containers to end, when the talker has gone


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
                kind = InstanceAttempt if word.is_instance else Attempt
                attempt = kind(word, self._engine, self._clock, self._tell)
                self._attempts[word.key, word.run] = attempt
                self._thread(self._carry_out, attempt)
            case Proceed():
                instance = self._attempts.get((word.key, word.run))
                if isinstance(instance, InstanceAttempt):  # else its end was told already
                    instance.proceed(word)
            case End():
                attempt_or_none = self._attempts.get((word.key, word.run))
                if attempt_or_none is not None:
                    self._thread(attempt_or_none.end)

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
        try:
            if ending:
                self._engine.sweep()
        finally:
            self._engine.leave()


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
