"""Endings on disk, for as long as the server can't be told: so that a restarted agent can.

Lines of JSON: the distance between wall clock and monotonic clock when it was written, and the
ending. Nothing is written while the channel is open.
"""

from __future__ import annotations

import os

import msgspec

from lote.agent.disk import is_disk_full
from lote.agent.ending import Ending
from lote.world import World


class _Line(msgspec.Struct, array_like=True):
    offset_us: int
    ending: Ending


_DECODER = msgspec.json.Decoder(_Line)


class Journal:
    """The file of unacknowledged endings of one node directory."""

    def __init__(self, path: str, world: World) -> None:
        self._path = path
        self._world = world
        self._written: set[tuple[int, int]] = set()

    def load(self) -> list[Ending]:
        """The endings that an earlier life of the agent left, on this life's clock."""
        try:
            with open(self._path, "rb") as source:
                lines = source.read().split(b"\n")[:-1]  # a line without its end is torn
        except FileNotFoundError:
            return []
        offset_us = self._offset_us()
        endings = {}
        for line in lines:
            try:
                read = _DECODER.decode(line)
            except msgspec.DecodeError:
                continue  # torn by a full disk; the server runs again what it does not hear of
            shift_s = (read.offset_us - offset_us) / 1e6
            ending = read.ending
            ending.start_s += shift_s
            ending.end_s += shift_s
            if ending.last_retry_s is not None:
                ending.last_retry_s += shift_s
            endings[ending.key, ending.run] = ending
        self._written = set(endings)
        return list(endings.values())

    def add(self, endings: list[Ending]) -> None:
        """Append those that are not there yet."""
        new = [one for one in endings if (one.key, one.run) not in self._written]
        if new:
            self._append(new, os.O_APPEND)

    def write(self, endings: list[Ending]) -> None:
        """Let the file hold just these."""
        if endings or self._written:
            self._written.clear()
            self._append(endings, os.O_TRUNC)

    def acknowledged(self, rest: list[Ending]) -> None:
        """The server has some more; when it has all, the file is emptied.

        What stays there too long is harmless: the server refuses what it knows.
        """
        if self._written and not rest:
            self.write([])

    def _append(self, endings: list[Ending], mode: int) -> None:
        offset_us = self._offset_us()
        lines = [msgspec.json.encode(_Line(offset_us, one)) for one in endings]
        # Begun on a line of its own, as what a killed agent left there may be torn.
        content = b"\n".join([b"", *lines, b""]) if lines else b""
        try:
            is_written = self._put(content, mode)
        except FileNotFoundError:  # the node's directory is gone: the agent is about to end
            return
        except OSError as error:
            if not is_disk_full(error):
                raise
            is_written = False
        if is_written:  # else it is tried again with the next ending
            self._written.update((one.key, one.run) for one in endings)

    def _put(self, content: bytes, mode: int) -> bool:
        """Write all of it or nothing; says whether it did."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | mode
        descriptor = os.open(self._path, flags, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            is_written = os.write(descriptor, content) == len(content)
            if not is_written:
                os.ftruncate(descriptor, before)
            return is_written
        finally:
            os.close(descriptor)

    def _offset_us(self) -> int:
        return self._world.now_us() - int(self._world.monotonic() * 1e6)
