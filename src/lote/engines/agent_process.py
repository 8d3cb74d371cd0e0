"""Starting one agent: the command, its environment, and the line it reads."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from lote.engines.node_folder import open_output

# -P: the agent's working directory must not be searched for modules.
AGENT_COMMAND = (sys.executable, "-P", "-m", "lote.agent")
AGENT_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


class AgentStart(msgspec.Struct, frozen=True):
    """The one line of JSON an agent reads from its standard input."""

    node_id: str
    secret: str
    server_url: str
    ca_file: str | None
    node_dir: str
    grace_s: float
    task_uid_base: int | None
    container_command: str = ""
    container_options: str = ""


def spawn_agent(
    command: Sequence[str], environment: Mapping[str, str], folder: Path
) -> subprocess.Popen[bytes]:
    """A process in a session of its own that waits for its start line. Raises OSError."""
    output = open_output(folder)
    try:
        # No preexec_fn, user or group: with them Popen forks the whole server instead.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    finally:
        os.close(output)
    # It is reaped through its pidfd; Popen must neither wait for it nor warn of it.
    process.returncode = 0
    return process


def send_start(process: subprocess.Popen[bytes], start: AgentStart) -> bool:
    """Hand over the start line; False when the agent ended without reading it."""
    assert process.stdin is not None
    try:
        process.stdin.write(msgspec.json.encode(start) + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        return False
    return True


def close_start(process: subprocess.Popen[bytes]) -> None:
    """End the agent's standard input; an agent that got no line exits at that."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # the unsent rest of the line has no reader
        process.stdin.close()
