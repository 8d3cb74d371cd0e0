"""What the talker and its container crew say to each other.

Each message of their link is one msgpack value inside the framing of ``orders``.
"""

from __future__ import annotations

import msgspec

from lote.agent import orders
from lote.wire.frames import Container, Registry


class CrewSettings(msgspec.Struct, frozen=True):
    """What a crew is started with, as JSON on its command line: nothing secret."""

    command: list[str]
    options: list[str]
    root: str
    folder: str


class Mount(msgspec.Struct, array_like=True, frozen=True):
    """A folder of the node that a container sees, at the same path."""

    path: str
    is_read_only: bool = False


class Prefetch(msgspec.Struct, tag="prefetch", array_like=True, frozen=True):
    """First word: find the container command, remove what an earlier crew of this node left, and
    get these images."""

    images: list[str]
    registries: list[Registry]


class Begin(msgspec.Struct, tag="begin", array_like=True, frozen=True):
    """Run one attempt of a task in a container. ``user``: uid and gid, None for the agent's own.
    ``working_directory``: None leaves it to the image. ``registries`` in the order of trust.
    ``is_instance``: of a multi-instance task; the command line is that of its coordination."""

    key: int
    run: int
    attempt: int
    directory: bytes
    image: str
    command_line: str
    run_options: str
    variables: dict[bytes, bytes]
    user: tuple[int, int, str] | None
    mounts: list[Mount]
    working_directory: str | None
    registries: list[Registry]
    is_instance: bool = False


class Proceed(msgspec.Struct, tag="proceed", array_like=True, frozen=True):
    """Run the command line of a primary, in the container of its coordination."""

    key: int
    run: int
    attempt: int
    command_line: str


class End(msgspec.Struct, tag="end", array_like=True, frozen=True):
    """End this run's container now."""

    key: int
    run: int


class Fetched(msgspec.Struct, tag="fetched", array_like=True, frozen=True):
    """The answer to Prefetch: what went wrong, (code, subject, message) each; empty is well."""

    troubles: list[tuple[str, str, str]]


class Began(msgspec.Struct, tag="began", array_like=True, frozen=True):
    """An attempt's container is about to start; moments in monotonic seconds."""

    key: int
    run: int
    attempt: int
    start_s: float


class Coordinated(msgspec.Struct, tag="coordinated", array_like=True, frozen=True):
    """An instance's coordination command has succeeded; its container stays."""

    key: int
    run: int
    attempt: int
    end_s: float


class Over(msgspec.Struct, tag="over", array_like=True, frozen=True):
    """An attempt is over and nothing of its container runs. ``exit_code`` or ``trouble``.
    ``used_s``: seconds of user and kernel mode, None where nobody counts them."""

    key: int
    run: int
    attempt: int
    start_s: float
    end_s: float
    exit_code: int | None
    trouble: tuple[str, str, str] | None
    container: Container | None
    used_s: tuple[float, float] | None = None


class Broken(msgspec.Struct, tag="broken", array_like=True, frozen=True):
    """A traceback: an error of ours, the crew's last word."""

    text: str


Word = Prefetch | Begin | Proceed | End
Note = Fetched | Began | Coordinated | Over | Broken

_ENCODER = msgspec.msgpack.Encoder()
_WORDS = msgspec.msgpack.Decoder(Word)
_NOTES = msgspec.msgpack.Decoder(Note)


def pack(said: Word | Note) -> bytes:
    """A message of the link."""
    return orders.pack((_ENCODER.encode(said),))


def word_of(message: tuple[bytes, ...]) -> Word:
    """What the talker said."""
    word: Word = _WORDS.decode(message[0])
    return word


def note_of(message: tuple[bytes, ...]) -> Note:
    """What the crew said."""
    note: Note = _NOTES.decode(message[0])
    return note
