"""A switchboard that remembers, with its answers in the hands of the test."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lote.engines.seam import NodeOrder
from lote.wire.frames import (
    Ack,
    AgentFrame,
    Ended,
    Hello,
    JobFacts,
    Report,
    Run,
    Runs,
    ServerFrame,
    Setup,
)

START_US = 1_735_689_600_000_000  # where a SteppedWorld begins
JOB = JobFacts(1, "job", "workitems/job/job-1", [], 0)


def order(node_id: str = "one") -> NodeOrder:
    return NodeOrder(node_id, "pool", "secret", 2, "standard", True)


def setup(slots: int, **given: object) -> Setup:
    fields = {
        "account_name": "lote",
        "account_url": "http://127.0.0.1/",
        "pool_id": "pool",
        "is_dedicated": True,
        "slots": slots,
        "start_task": None,
        "start_task_due": False,
        "auto_storage": None,
        "confirmed": [],
    }
    return Setup(**(fields | given))  # type: ignore[arg-type]


def run(key: int, command: str = "/bin/true", **spec: object) -> Run:
    content = {"id": f"t{key}", "commandLine": command} | spec
    return Run(key, 1, 1, 0, msgspec.json.encode(content))


def runs(*these: Run) -> Runs:
    return Runs(list(these))


class Wire:
    """One connection: what the agent said on it, and how to answer."""

    def __init__(self, node_id: str, send: Callable[[list[ServerFrame]], None]) -> None:
        self.node_id = node_id
        self.frames: list[AgentFrame] = []
        self.open = True
        self._send = send
        self.on_frame: Callable[[Wire, AgentFrame], None] = lambda wire, frame: None

    def receive(self, frames: list[AgentFrame]) -> None:
        assert self.open, "a frame on a closed connection"
        for frame in frames:
            self.frames.append(frame)
            self.on_frame(self, frame)

    def close(self) -> None:
        assert self.open, "closed twice"
        self.open = False

    def send(self, *frames: ServerFrame) -> None:
        self._send(list(frames))

    @property
    def hello(self) -> Hello:
        assert isinstance(self.frames[0], Hello)
        return self.frames[0]

    @property
    def reports(self) -> list[Report]:
        return [f for f in self.frames if isinstance(f, Report)]

    def ends(self) -> list[int]:
        """Keys of the runs that were reported as ended, in order."""
        return [e.key for r in self.reports for e in r.entries if isinstance(e, Ended)]


class Switchboard:
    """Takes every agent but those in ``refused``; ``on_frame`` answers."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.refused: set[str] = set()
        self.on_frame: Callable[[Wire, AgentFrame], None] = lambda wire, frame: None

    def connect(self, node_id: str, secret: str, send: Callable[[list[ServerFrame]], None]) -> Wire:
        if node_id in self.refused:
            raise PermissionError(node_id)
        wire = Wire(node_id, send)
        wire.on_frame = self.on_frame
        self.wires.append(wire)
        return wire


def acknowledge(wire: Wire, frame: AgentFrame) -> None:
    """An ``on_frame`` that answers Hello with two slots and reports with their Ack."""
    if isinstance(frame, Hello):
        wire.send(setup(2, confirmed=[(h.key, h.run) for h in frame.held]), JOB)
    elif isinstance(frame, Report):
        wire.send(Ack(frame.seq, []))
