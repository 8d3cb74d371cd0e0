"""``python -m lote.agent``: one JSON line of settings on standard input, then a node's agent.

Spawners are forked here, first of all: whatever is imported before is carried by each of them.
"""

from __future__ import annotations

import os
import sys

from lote.agent.fork import fork_spawners
from lote.world import World

SETTINGS_BYTES_MAX = 1 << 16


def main() -> int:
    """Read the settings and be the agent; gives the exit code."""
    world = World()
    forked = fork_spawners(len(os.sched_getaffinity(0)), world.monotonic)
    line = _read_line()

    from lote.agent.main import EXIT_AGAIN, run_agent
    from lote.agent.settings import decode_settings

    code = run_agent(decode_settings(line), forked, world)
    if code == EXIT_AGAIN:
        _begin_again(line)
    return code


def _read_line() -> bytes:
    """The first line of standard input, byte by byte so that nothing after it is taken."""
    line = bytearray()
    while len(line) < SETTINGS_BYTES_MAX:
        byte = os.read(0, 1)
        if byte in (b"", b"\n"):
            break
        line += byte
    return bytes(line)


def _begin_again(line: bytes) -> None:
    """The same process, a new program: a spawner was lost, and what it ran must not be guessed."""
    descriptor = os.memfd_create("settings")
    os.write(descriptor, line + b"\n")
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.dup2(descriptor, 0, inheritable=True)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


if __name__ == "__main__":
    exit_code = main()
    sys.stderr.flush()
    os._exit(exit_code)  # without waiting for threads that hang in a transfer
