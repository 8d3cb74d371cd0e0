"""The talker's side of its spawners: the shared queue and a link to each."""

from __future__ import annotations

import marshal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lote.agent import orders
from lote.agent.environment import Base
from lote.agent.fork import Forked
from lote.agent.link import Link
from lote.agent.orders import Note, Order

if TYPE_CHECKING:  # most agents have none, and stay small without
    from lote.agent.containers import Containers

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
        self._bases: dict[int, Base] = {}
        self.containers: Containers | None = None  # of a pool whose tasks run in them
        self._links = [Link(one, self._take, on_lost) for one in forked.links]

    def listen(self) -> None:
        """Begin to receive notes, on the running loop."""
        for link in self._links:
            link.listen()

    def share_slots(self, slots: int) -> None:
        """Give each spawner its part of the node's slots; those without any are sent home."""
        links = self._links
        for link in links[max(1, slots) :]:
            link.close()
        del links[max(1, slots) :]
        for index, link in enumerate(links):
            part = slots // len(links) + (1 if index < slots % len(links) else 0)
            link.send(orders.pack((orders.CAP, part)))

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
        self._link_of(order).send(orders.pack((orders.RUN, order)))

    def send_coordination(self, order: Order) -> None:
        """Have a coordination command begun at once, by the spawner that ``send_direct`` gives
        the other orders of its run."""
        self._link_of(order).send(orders.pack((orders.COORDINATE, order)))

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
        for link in self._links:
            link.close()

    def _link_of(self, order: Order) -> Link:
        return self._links[order[0] % len(self._links)]

    def _take(self, message: tuple[Any, ...]) -> None:
        if message[0][0] == orders.BROKEN:
            raise SpawnerBroken(message[0][1])
        self._on_notes(message)

    def _tell_all(self, word: tuple[object, ...]) -> None:
        packed = orders.pack(word)
        for link in self._links:
            link.send(packed)
