"""Making the spawners: forked first, so that they share the memory of an almost empty program."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import NamedTuple

from lote.agent.spawner import run_spawner

SPAWNERS_MAX = 4  # one starts more than 1,000 processes a second; more would only cost memory
SOCKET_BUFFER_BYTES = 1 << 20  # SO_SNDBUF; the kernel may grant less


class Forked(NamedTuple):
    """The talker's ends of what connects it to its spawners."""

    pids: list[int]
    links: list[socket.socket]
    queue: socket.socket
    queue_out: socket.socket  # the spawners' end, to take back what nobody has begun


def fork_spawners(count: int, clock: Callable[[], float]) -> Forked:
    """Fork this many spawners (at most ``SPAWNERS_MAX``); call before anything large is loaded.

    ``clock``: seconds on the machine's monotonic clock, for starts and ends.
    """
    queue, queue_out = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    pairs = [socket.socketpair() for _ in range(max(1, min(count, SPAWNERS_MAX)))]
    for one in (queue, queue_out, *(end for pair in pairs for end in pair)):
        one.setblocking(False)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BUFFER_BYTES)
    pids = []
    for _, theirs in pairs:
        pid = os.fork()
        if pid == 0:
            for ours, other in pairs:
                ours.close()
                if other is not theirs:
                    other.close()
            queue.close()
            run_spawner(theirs, queue_out, clock)
        pids.append(pid)
    for _, theirs in pairs:
        theirs.close()
    return Forked(pids, [ours for ours, _ in pairs], queue, queue_out)
