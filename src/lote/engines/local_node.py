"""A node of this machine, in the memory of its engine."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from lote.engines.agent_record import AgentRecord
from lote.engines.process import reap_process, signal_process
from lote.engines.survivor import Remains


class LocalNode:
    """A node: its folder, its agent, and whether that has ended.

    ``descriptor`` is the agent's pidfd, or None if the agent has ended already. ``asked`` says
    that somebody ends the node on purpose and need not be told; ``why`` is filled at the end.
    """

    def __init__(
        self, node_id: str, folder: Path, record: AgentRecord, descriptor: int | None
    ) -> None:
        self.node_id = node_id
        self.folder = folder
        self.record = record
        self.asked = False
        self.why = ""
        self.ended_s = 0.0
        self.gone = threading.Event()
        self._descriptor = descriptor
        self._lock = threading.Lock()  # the number of a closed descriptor may be another's

    @property
    def descriptor(self) -> int | None:
        """The pidfd to wait on; only the thread that releases it may use it."""
        return self._descriptor

    @property
    def remains(self) -> Remains:
        """What its survivors are known by."""
        return Remains(self.node_id, str(self.folder), self.record)

    def signal_agent(self, number: signal.Signals) -> None:
        """Send the agent a signal if it still lives."""
        with self._lock:
            if self._descriptor is not None:
                signal_process(self._descriptor, number)

    def reap_agent(self) -> int | None:
        """Collect the ended agent and let go of it; its exit status as `reap_process` gives it."""
        with self._lock:
            if self._descriptor is None:
                return None
            status = reap_process(self._descriptor)
            self._close()
            return status

    def release_agent(self) -> None:
        """Let go of the agent, which may live on."""
        with self._lock:
            if self._descriptor is not None:
                self._close()

    def _close(self) -> None:
        assert self._descriptor is not None
        os.close(self._descriptor)
        self._descriptor = None
