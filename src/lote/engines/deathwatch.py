"""One thread that sees agents end, ends what they left behind, and says so.

It sleeps on the pidfds of all agents. An ended agent is *dying* until nothing of its node runs any
more, then it is *gone*. While some node is dying the thread looks every few milliseconds; else it
does nothing at all.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import threading
from collections.abc import Callable

from lote.engines.local_node import LocalNode
from lote.engines.node_folder import last_words
from lote.engines.process import kill_process
from lote.engines.survivor import find_survivors
from lote.world import World

log = logging.getLogger(__name__)

SPAWNERS_GRACE_S = 2.0  # spawners kill their tasks when the agent dies; they know them best
KILL_S_MAX = 20.0  # a process that outlives SIGKILL this long is stuck in the kernel
LOOK_S_MIN, LOOK_S_MAX = 0.005, 0.1


class Deathwatch:
    """Watches nodes from ``add`` until they are gone; ``tell(node)`` is called once for each."""

    def __init__(self, world: World, tell: Callable[[LocalNode], None]) -> None:
        self._world = world
        self._tell = tell
        self._selector = selectors.DefaultSelector()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._lock = threading.Lock()  # guards _added and _closing
        self._added: list[LocalNode] = []
        self._closing = False
        self._watched: set[LocalNode] = set()
        self._dying: list[LocalNode] = []
        self._thread = threading.Thread(target=self._run, name="deathwatch", daemon=True)
        self._thread.start()

    def add(self, node: LocalNode) -> None:
        """Watch the node's agent; without a descriptor it has ended already."""
        with self._lock:
            if self._closing:
                raise RuntimeError("the deathwatch is closed")
            self._added.append(node)
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """Stop watching, whatever still lives; idempotent. Not to be called by ``tell``."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            os.eventfd_write(self._wake, 1)
        self._thread.join()
        for node in [*self._watched, *self._added]:
            node.release_agent()
        self._selector.close()
        os.close(self._wake)

    def _run(self) -> None:
        look_s = LOOK_S_MIN
        while True:
            ready = self._selector.select(look_s if self._dying else None)
            with self._lock:
                if self._closing:
                    return
                added, self._added = self._added, []
                with contextlib.suppress(BlockingIOError):  # woken by a process, not by a call
                    os.eventfd_read(self._wake)
            ended = [key.data for key, _ in ready if key.data is not None]
            ended += [node for node in added if not self._begin(node)]
            for node in ended:
                self._see_end(node)
            look_s = LOOK_S_MIN if ended else min(look_s * 2, LOOK_S_MAX)
            if self._dying:
                self._end_survivors()

    def _begin(self, node: LocalNode) -> bool:
        """Watch a node; False when its agent has ended already."""
        if node.descriptor is None:
            return False
        self._watched.add(node)
        self._selector.register(node.descriptor, selectors.EVENT_READ, node)
        return True

    def _see_end(self, node: LocalNode) -> None:
        if node.descriptor is not None:
            self._selector.unregister(node.descriptor)
        self._watched.discard(node)
        words = last_words(node.folder)
        node.why = _describe_end(node.record.pid, node.reap_agent()) + (words and f": {words}")
        node.ended_s = self._world.monotonic()
        self._dying.append(node)
        log.info("event=agent_ended node_id=%s why=%s", node.node_id, node.why)

    def _end_survivors(self) -> None:
        now_s = self._world.monotonic()
        found = find_survivors([n.remains for n in self._dying])
        dying, self._dying = self._dying, []
        for node in dying:
            left = found[node.node_id]
            age_s = now_s - node.ended_s
            count = len(left.spawners) + len(left.tasks)
            if not count or age_s > KILL_S_MAX:
                if count:
                    node.why += f"; {count} of its processes outlive SIGKILL"
                self._bury(node)
                continue
            self._dying.append(node)
            if not left.spawners or age_s > SPAWNERS_GRACE_S:
                for stat in [*left.spawners, *left.tasks]:
                    kill_process(stat)

    def _bury(self, node: LocalNode) -> None:
        log.info("event=node_gone node_id=%s", node.node_id)
        node.gone.set()
        try:
            self._tell(node)
        except Exception:
            # The listener's fault must not end the watch over all other nodes.
            log.exception("event=watch_failed node_id=%s", node.node_id)


def _describe_end(pid: int, status: int | None) -> str:
    if status is None:
        return f"agent (pid {pid}) ended" if pid else "agent never started"
    if status < 0:
        return f"agent (pid {pid}) was killed by signal {-status}"
    return f"agent (pid {pid}) ended with exit code {status}"
