"""What talker and spawners say to each other, and how it crosses.

Both ends are one program on one machine and neither is a task, so ``marshal`` carries plain tuples:
it needs no import, and what a spawner imports is paid for once per spawner.

- The *queue*: one SOCK_SEQPACKET pair shared by all spawners, one order a message. Whoever has a
  free slot takes the next, so nobody idles beside a colleague's backlog. The talker keeps the
  receiving end open too, and so can take back what nobody has begun.
- The *link*: a stream of its own to each spawner, length-prefixed messages, for words meant for
  this spawner (below) and for the notes it sends back.
"""

from __future__ import annotations

import marshal
import socket
import struct
from collections.abc import Iterator
from typing import Any

# key, run, attempt, job base, task directory, command line, task's environment, user
Order = tuple[int, int, int, int, bytes, str, list[tuple[str, str]], "User | None"]
# uid, gid, name: None means the agent's own user
User = tuple[int, int, str]

# Words to a spawner: (word, ...) of these
CAP = "cap"  # slots: at most so many orders of the queue at once
BASE = "base"  # base id, environment under the task's, environment over the task's
FORGET = "forget"  # base id: no order will name it again
RUN = "run"  # Order: begin now, whatever the slots
COORDINATE = "coordinate"  # Order: like RUN; when it exits with 0, what it started lives on
KILL = "kill"  # key, run: end its process tree

# Notes from a spawner
STARTED = "s"  # key, run, attempt, start_s
# key, run, attempt, start_s, end_s, status | None, user_s, kernel_s, trouble | None, blocks read,
# blocks written; None for what nobody measures
ENDED = "e"
COORDINATED = "c"  # key, run, attempt, end_s: exited with 0; ENDED follows when all of it is gone

BROKEN = "b"  # traceback: an error of ours, the spawner's last words

Started = tuple[str, int, int, int, float]
Trouble = tuple[str, str, str]  # failure code, text of the operating system, what it was about
Ended = tuple[
    str, int, int, int, float, float, "int | None", "float | None", "float | None",
    "Trouble | None", "int | None", "int | None",
]  # fmt: skip
Coordinated = tuple[str, int, int, int, float]
Note = Started | Ended | Coordinated

QUEUE_MESSAGE_MAX_BYTES = 64 * 1024  # larger orders go by the link: a packet must fit its buffer
_LENGTH = struct.Struct("!I")


def pack(message: tuple[Any, ...]) -> bytes:
    """A message of the link."""
    body = marshal.dumps(message)
    return _LENGTH.pack(len(body)) + body


class Unpacker:
    """Cuts a stream of the link back into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[tuple[Any, ...]]:
        """The messages that are whole with this chunk."""
        rest = self._rest + chunk if self._rest else chunk
        offset = 0
        while len(rest) - offset >= _LENGTH.size:
            end = offset + _LENGTH.size + int(_LENGTH.unpack_from(rest, offset)[0])
            if len(rest) < end:
                break
            yield marshal.loads(memoryview(rest)[offset + _LENGTH.size : end])
            offset = end
        self._rest = rest[offset:]


def take_order(queue: socket.socket) -> Order | None:
    """The next order nobody has begun; None when there is none."""
    try:
        packet = queue.recv(QUEUE_MESSAGE_MAX_BYTES)
    except BlockingIOError:
        return None
    if not packet:
        return None
    order: Order = marshal.loads(packet)
    return order
