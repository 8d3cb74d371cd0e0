"""The server's end of the node channel, as small as a test can have it.

A `Board` is the `Switchboard` of an engine whose agents live in process; `serve_board` puts it
behind a WebSocket for agents that are processes. It answers Hello with Setup, checks the order of
reports, acknowledges them (unless told not to) and remembers everything.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

import msgspec
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve

from lote.wire.frames import (
    PROTOCOL,
    Ack,
    AgentFrame,
    Ended,
    Entry,
    Hello,
    JobFacts,
    Report,
    Run,
    Runs,
    ServerFrame,
    Setup,
    decode_agent_frames,
    encode_frames,
)

E = TypeVar("E", bound=Entry)


class Channel:
    """One connection of one agent, and what came through it."""

    def __init__(self, board: Board, node_id: str, send: Callable[[list[ServerFrame]], None]):
        self.board = board
        self.node_id = node_id
        self.send = send
        self.hello: Hello | None = None
        self.seq = 0
        self.unacknowledged = False
        self.open = True
        self.drop: Callable[[], None] = self.close

    def receive(self, frames: list[AgentFrame]) -> None:
        for frame in frames:
            with self.board.changed:
                answer = self._take(frame)
                self.board.changed.notify_all()
            if answer is not None:
                self.send([answer])

    def close(self) -> None:
        """The agent's end of the connection is gone."""
        with self.board.changed:
            self.open = False
            self.board.changed.notify_all()

    def _take(self, frame: AgentFrame) -> ServerFrame | None:
        board = self.board
        if isinstance(frame, Hello):
            assert self.hello is None, "a second Hello on one connection"
            assert frame.protocol == PROTOCOL
            assert frame.node_id == self.node_id
            self.hello = frame
            board.channels[self.node_id] = self
            board.hellos.append(frame)
            return board.setup_for(frame)
        assert self.hello is not None, "a frame before Hello"
        if not isinstance(frame, Report):
            return None
        assert not self.unacknowledged, "a second report batch unacknowledged"
        assert self.seq == 0 or frame.seq == self.seq + 1, "a gap in the sequence of reports"
        self.seq = frame.seq
        board.entries += [(self.node_id, e) for e in frame.entries]
        self.unacknowledged = not board.acknowledges
        return Ack(frame.seq, board.refusals(frame)) if board.acknowledges else None

    def acknowledge(self) -> None:
        """The Ack that was held back while the board did not acknowledge."""
        self.unacknowledged = False
        self.send([Ack(self.seq, [])])


class Board:
    """All channels, and what a test wants to know of them. Guarded by ``changed``."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.secrets: dict[str, str] = {}
        self.channels: dict[str, Channel] = {}
        self.hellos: list[Hello] = []
        self.entries: list[tuple[str, Entry]] = []
        self.faults: list[AssertionError] = []
        self.acknowledges = True
        self.confirms = True
        self.stale: set[tuple[int, int]] = set()
        self.slots = 2
        self.start_task: bytes | None = None

    def connect(
        self, node_id: str, secret: str, send: Callable[[list[ServerFrame]], None]
    ) -> Channel:
        if self.secrets.get(node_id) != secret:
            raise PermissionError(node_id)
        return Channel(self, node_id, send)

    def setup_for(self, hello: Hello) -> Setup:
        return Setup(
            account_name="lote",
            account_url="http://127.0.0.1/",
            pool_id="pool",
            is_dedicated=True,
            slots=self.slots,
            start_task=self.start_task,
            start_task_due=self.start_task is not None,
            auto_storage=None,
            confirmed=[(h.key, h.run) for h in hello.held if self.confirms],
        )

    def refusals(self, report: Report) -> list[tuple[int, int]]:
        runs = [(e.key, e.run) for e in report.entries if hasattr(e, "key")]
        return [r for r in runs if r in self.stale]

    def send_runs(self, node_id: str, commands: dict[int, str], *, retries_max: int = 0) -> None:
        """Give the node these runs (number 1 of each key), in order."""
        runs = [Run(key, 1, 1, 0, a_spec(key, command)) for key, command in commands.items()]
        facts = JobFacts(1, "job", "workitems/job/job-1", [], retries_max)
        self.channels[node_id].send([facts, Runs(runs)])

    def send(self, node_id: str, frame: ServerFrame) -> None:
        """Send one frame to a node."""
        self.channels[node_id].send([frame])

    def of_kind(self, kind: type[E]) -> list[E]:
        """The report entries of one kind, from all nodes, as they came."""
        return [e for _, e in self.entries if isinstance(e, kind)]

    def ended(self, key: int) -> Ended | None:
        ends = [e for e in self.of_kind(Ended) if e.key == key]
        assert len(ends) <= 1, f"the end of {key} was reported {len(ends)} times"
        return ends[0] if ends else None


def a_spec(key: int, command: str) -> bytes:
    """A task as a client sends it."""
    return msgspec.json.encode({"id": f"t{key}", "commandLine": command})


@contextlib.contextmanager
def serve_board(board: Board) -> Iterator[str]:
    """The board behind a WebSocket; yields the server's URL."""

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        node_id, secret = _credentials(request)
        if request.path == "/node/channel" and board.secrets.get(node_id) == secret:
            return None
        return Response(401, "Unauthorized", Headers())

    def talk(connection: ServerConnection) -> None:
        assert connection.request is not None
        node_id, secret = _credentials(connection.request)
        lock = threading.Lock()

        def send(frames: list[ServerFrame]) -> None:
            with lock, contextlib.suppress(ConnectionClosed):  # as a real channel: silently
                connection.send(encode_frames(frames))

        channel = board.connect(node_id, secret, send)
        channel.drop = connection.close
        try:
            for message in connection:
                assert isinstance(message, bytes)
                channel.receive(decode_agent_frames(message))
        except ConnectionClosed:
            pass  # a killed agent says no goodbye
        except AssertionError as fault:
            board.faults.append(fault)
        finally:
            channel.close()

    with serve(talk, "127.0.0.1", 0, process_request=answer, compression=None) as server:
        thread = threading.Thread(target=server.serve_forever, name="board")
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def _credentials(request: Request) -> tuple[str, str]:
    scheme, node_id, secret = request.headers.get("Authorization", "x x x").split(" ")
    return (node_id, secret) if scheme == "Lote" else ("", "")
