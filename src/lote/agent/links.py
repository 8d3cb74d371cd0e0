"""The talker's side of its spawners: the shared queue and a link to each."""

from __future__ import annotations

import asyncio
import marshal
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from lote.agent import orders
from lote.agent.environment import Base
from lote.agent.fork import Forked
from lote.agent.orders import Note, Order

if TYPE_CHECKING:  # most agents have none, and stay small without
    from lote.agent.containers import Containers

RECEIVE_BYTES = 1 << 18
BASES_MAX = 256  # environments of jobs that spawners keep


class SpawnerBroken(Exception):
    """An error of ours in a spawner, with its traceback; it ends this life of the agent."""


class Links:
    """Sends orders and words, receives notes.

    ``on_notes`` gets the notes of one message; ``on_lost`` is called when a spawner is gone.
    """

    def __init__(
        self,
        forked: Forked,
        on_notes: Callable[[tuple[Note, ...]], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._forked = forked
        self._on_notes = on_notes
        self._on_lost = on_lost
        self._bases: dict[int, Base] = {}
        self.containers: Containers | None = None  # of a pool whose tasks run in them
        self._unsent: dict[socket.socket, bytearray] = {one: bytearray() for one in forked.links}

    def listen(self) -> None:
        """Begin to receive notes, on the running loop."""
        loop = asyncio.get_running_loop()
        for link in self._forked.links:
            loop.add_reader(link, self._receive, link, orders.Unpacker())

    def share_slots(self, slots: int) -> None:
        """Give each spawner its part of the node's slots; those without any are sent home."""
        links = self._forked.links
        for link in links[max(1, slots) :]:
            self._hang_up(link)
        del links[max(1, slots) :]
        for index, link in enumerate(links):
            part = slots // len(links) + (1 if index < slots % len(links) else 0)
            self._tell(link, (orders.CAP, part))

    def set_base(self, base_id: int, base: Base) -> None:
        """Make a job's environment known to all spawners; nothing is sent when they know it."""
        if self._bases.get(base_id) == base:
            return
        self._bases[base_id] = base
        self._tell_all((orders.BASE, base_id, *base))

    def base(self, base_id: int) -> Base:
        """The environment that orders of this base get."""
        return self._bases[base_id]

    def knows_base(self, base_id: int) -> bool:
        """Whether orders of this job can be sent."""
        return base_id in self._bases

    def forget_bases(self, in_use: set[int]) -> None:
        """Drop the oldest environments that no order in hand names, when there are many."""
        for base_id in list(self._bases)[: max(0, len(self._bases) - BASES_MAX)]:
            if base_id not in in_use:
                del self._bases[base_id]
                self._tell_all((orders.FORGET, base_id))

    def send_order(self, order: Order) -> bool:
        """Put an order at the end of the queue; False when it is full for now."""
        packet = marshal.dumps(order)
        if len(packet) > orders.QUEUE_MESSAGE_MAX_BYTES:
            self.send_direct(order)
            return True
        try:
            self._forked.queue.send(packet)
        except BlockingIOError:
            return False
        return True

    def send_direct(self, order: Order) -> None:
        """Have an order begun at once, whatever the slots."""
        links = self._forked.links
        self._tell(links[order[0] % len(links)], (orders.RUN, order))

    def send_coordination(self, order: Order) -> None:
        """Have a coordination command begun at once, by the spawner that ``send_direct`` gives
        the other orders of its run."""
        links = self._forked.links
        self._tell(links[order[0] % len(links)], (orders.COORDINATE, order))

    def take_back(self) -> list[Order]:
        """All orders that no spawner has begun, in their order."""
        found = []
        while (order := orders.take_order(self._forked.queue_out)) is not None:
            found.append(order)
        return found

    def kill(self, key: int, run: int) -> None:
        """End this run's process tree, whichever spawner has it."""
        self._tell_all((orders.KILL, key, run))
        if self.containers is not None:
            self.containers.end(key, run)

    def close(self) -> None:
        """Hang up: the spawners kill what they run and exit."""
        for link in self._forked.links:
            self._hang_up(link)

    def _hang_up(self, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(link)
        loop.remove_writer(link)
        link.close()

    def _receive(self, link: socket.socket, unpacker: orders.Unpacker) -> None:
        try:
            chunk = link.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            self._on_lost()
            return
        for message in unpacker.feed(chunk):
            if message[0][0] == orders.BROKEN:
                raise SpawnerBroken(message[0][1])
            self._on_notes(message)

    def _tell_all(self, word: tuple[object, ...]) -> None:
        packed = orders.pack(word)
        for link in self._forked.links:
            self._write(link, packed)

    def _tell(self, link: socket.socket, word: tuple[object, ...]) -> None:
        self._write(link, orders.pack(word))

    def _write(self, link: socket.socket, packed: bytes) -> None:
        unsent = self._unsent[link]
        unsent += packed
        if len(unsent) == len(packed):
            self._send_unsent(link)

    def _send_unsent(self, link: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        unsent = self._unsent[link]
        try:
            del unsent[: link.send(unsent)]
        except BlockingIOError:
            pass  # the loop calls again when there is room
        except (BrokenPipeError, ConnectionResetError):
            unsent.clear()
            loop.call_soon(self._on_lost)
            return
        if unsent:
            loop.add_writer(link, self._send_unsent, link)
        else:
            loop.remove_writer(link)
