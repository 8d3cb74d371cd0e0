"""How an agent's life ends although something of it does not want to."""

from __future__ import annotations

import os
import signal

from lote.agent.talker import wait_for_spawners


def child() -> int:
    return os.posix_spawn("/bin/sleep", ["sleep", "600"], os.environ)


def test_a_spawner_that_does_not_end_is_killed():
    ended, stopped, ignoring = child(), child(), child()
    os.kill(ended, signal.SIGKILL)
    os.kill(stopped, signal.SIGSTOP)
    reaped = child()
    os.kill(reaped, signal.SIGKILL)
    os.waitpid(reaped, 0)
    assert wait_for_spawners([reaped, ended, stopped, ignoring], 0.1) == [stopped, ignoring]
    for pid in (ended, stopped, ignoring):
        assert not os.path.exists(f"/proc/{pid}")
