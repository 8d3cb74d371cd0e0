"""How long the agent may act on the server's last word.

While an agent is stopped, cut off or starved, the server may take it for lost and have its tasks
run elsewhere; the agent learns of that only when it asks. So before an output becomes visible the
agent looks whether the server has answered it lately: not longer ago than half the server's grace.
The other half is for the request to arrive in. See docs/decisions/008.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from lote.blobs.failure import BlobStopped


class Lease:
    """Good for half the grace after the *sending* of what the server answered.

    Not after the reading of its answer: that may have waited in a buffer for long. ``clock`` gives
    seconds, those of a machine that sleeps included. Safe to ask from any thread.
    """

    def __init__(self, clock: Callable[[], float], grace_s: float) -> None:
        self.clock = clock
        self.length_s = grace_s / 2
        self._sent_s = float("-inf")

    def renew(self, sent_s: float) -> None:
        """The server answered what was sent at this time."""
        self._sent_s = max(self._sent_s, sent_s)

    def is_good(self) -> bool:
        """Whether the server can't have given the node up yet."""
        return self.clock() - self._sent_s < self.length_s


class RunPermit:
    """May the outputs of this run become visible? (`lote.blobs.permit.Permit`)

    ``ask`` has the server confirm the run anew and may be called from any thread; its answer comes
    by `answer`, after it renewed the lease or set ``stop``. Raises RuntimeError when the loop that
    could ask is over.
    """

    def __init__(self, lease: Lease, ask: Callable[[], None], stop: threading.Event) -> None:
        self._lease = lease
        self._ask = ask
        self._stop = stop
        self._answered = threading.Event()
        self._has_lapsed = False

    def ensure(self) -> None:
        """Wait until the run is confirmed anew, if the lease was over. Raises BlobStopped."""
        while not self.holds():
            self._answered.clear()
            if self._stop.is_set():  # looked at after the line above: its answer is not missed
                raise BlobStopped
            try:
                self._ask()
            except RuntimeError:
                raise BlobStopped from None
            self._answered.wait()
            self._has_lapsed = not self._lease.is_good()

    def holds(self) -> bool:
        """Whether nobody stopped the run and the lease is good, and was whenever this asked.

        Once it was over, a pong is not enough: the server must confirm the run.
        """
        self._has_lapsed = self._has_lapsed or not self._lease.is_good()
        return not self._has_lapsed and not self._stop.is_set()

    def answer(self) -> None:
        """The server has answered, or the run was stopped."""
        self._answered.set()
