"""The talker's end of a stream to a process of the agent's, on the running loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

from lote.agent.orders import Unpacker

RECEIVE_BYTES = 1 << 18


class Link:
    """Sends packed messages, receives messages, and never blocks.

    ``on_message`` gets each message as it came; ``on_lost`` is called when the process is gone.
    """

    def __init__(
        self,
        end: socket.socket,
        on_message: Callable[[tuple[Any, ...]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._end = end
        self._on_message = on_message
        self._on_lost = on_lost
        self._unpacker = Unpacker()
        self._unsent = bytearray()

    def listen(self) -> None:
        """Begin to receive."""
        self._end.setblocking(False)
        asyncio.get_running_loop().add_reader(self._end, self._receive)

    def send(self, packed: bytes) -> None:
        """Send a message, behind those that wait for room."""
        self._unsent += packed
        if len(self._unsent) == len(packed):
            self._send_unsent()

    def close(self) -> None:
        """Hang up: the process notices."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._end)
        loop.remove_writer(self._end)
        self._end.close()

    def _receive(self) -> None:
        try:
            chunk = self._end.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            self._on_lost()
            return
        for message in self._unpacker.feed(chunk):
            self._on_message(message)

    def _send_unsent(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            del self._unsent[: self._end.send(self._unsent)]
        except BlockingIOError:
            pass  # the loop calls again when there is room
        except (BrokenPipeError, ConnectionResetError):
            self._unsent.clear()
            loop.call_soon(self._on_lost)
            return
        if self._unsent:
            loop.add_writer(self._end, self._send_unsent)
        else:
            loop.remove_writer(self._end)
