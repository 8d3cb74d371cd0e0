"""A service of one's own for a while: started as a process on free ports, ended afterwards."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from lote.cli.ready import Ready
from lote.world import World

READY_WITHIN_S = 30.0
STOPPED_WITHIN_S = 20.0
POLL_S = 0.02
LOG_LINES = 20


class ServiceFailed(Exception):
    """The service did not start; the text ends with the last lines it wrote."""


@contextmanager
def temporary_service(folder: Path, flags: Sequence[str] = ()) -> Iterator[Ready]:
    """`lote serve` on ``folder`` with free ports, for the length of the block.

    What it prints goes to ``<folder>/service.log``. Refuses: ``ServiceFailed``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ready_file, log = folder / "started.json", folder / "service.log"
    ready_file.unlink(missing_ok=True)
    words = ["serve", "--data", str(folder), "--port", "0", "--ready-file", str(ready_file)]
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "lote.main", *words, *flags],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us; we end the service in good order
        )
    try:
        yield wait_ready(process, ready_file, log)
    finally:
        stop(process)


def wait_ready(process: subprocess.Popen[bytes], ready_file: Path, log: Path) -> Ready:
    """What the service says about itself, as soon as it answers."""
    world, pause = World(), threading.Event()
    deadline = world.monotonic() + READY_WITHIN_S
    while not ready_file.exists():
        if process.poll() is not None:
            raise ServiceFailed(f"the service ended with {process.returncode}:\n{tail(log)}")
        if world.monotonic() > deadline:
            raise ServiceFailed(f"the service is not ready after {READY_WITHIN_S} s:\n{tail(log)}")
        pause.wait(POLL_S)
    return msgspec.json.decode(ready_file.read_bytes(), type=Ready)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the service and its nodes; one that hangs is killed."""
    process.terminate()
    try:
        process.wait(STOPPED_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def tail(log: Path) -> str:
    """The last lines of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
