"""The storage process of a server, as the server sees it: started, watched, started again.

It is a process of its own so that moving bytes never holds up placing tasks.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lote.listener import Bounds

log = logging.getLogger("lote.storage")

START_S_MAX = 15.0
RELEASE_S_MAX = 10.0  # for a storage process to end after its server was killed
RELEASE_LOOK_S = 0.02
RESTART_S = 0.5  # between the end of the process and the next start of it


class StorageFailed(Exception):
    """The storage process did not start."""


async def await_folder(folder: Path) -> None:
    """Wait until no process serves this folder: that of a server which has just been killed may
    need a moment to end. Raises StorageFailed when it goes on being served."""
    lock = folder / "lock"
    if not lock.exists():
        return
    descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        async with asyncio.timeout(RELEASE_S_MAX):
            while not _is_free(descriptor):  # noqa: ASYNC110 - the lock of another process
                await asyncio.sleep(RELEASE_LOOK_S)
    except TimeoutError:
        raise StorageFailed(f"another process serves the storage folder {folder}") from None
    finally:
        os.close(descriptor)


def _is_free(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


class StorageProcess:
    """``python -m lote.storage`` beneath this process, on ports that stay the same."""

    def __init__(
        self,
        folder: Path,
        host: str,
        ports: tuple[int, int],
        accounts: Mapping[str, tuple[str, str]],
        tls: tuple[Path, Path],
        bounds: Bounds,
        access: Mapping[str, Any],
        on_event: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._settings: dict[str, Any] = {
            "folder": str(folder),
            "host": host,
            "port": ports[0],
            "tls_port": ports[1],
            "certificate": str(tls[0]),
            "private_key": str(tls[1]),
            "bounds": bounds._asdict(),
            "accounts": {name: list(keys) for name, keys in accounts.items()},
            **access,
        }
        self._on_event = on_event
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> tuple[int, int]:
        """Start the process; returns its ports once it listens. Raises StorageFailed."""
        ports = await self._start_once()
        self._settings |= {"port": ports[0], "tls_port": ports[1]}
        self._watcher = asyncio.create_task(self._watch())
        return ports

    async def stop(self) -> None:
        """End the process."""
        if self._watcher is not None:
            self._watcher.cancel()
        process = self._process
        if process is not None and process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(10):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _start_once(self) -> tuple[int, int]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "lote.storage"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the server's, which ends us in good order
        )
        self._process = process
        if process.stdin is None or process.stdout is None:
            raise StorageFailed("the storage process has no pipes")
        process.stdin.write(json.dumps(self._settings).encode() + b"\n")
        try:
            async with asyncio.timeout(START_S_MAX):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if not line:
            process.kill()
            raise StorageFailed("the storage process did not start; its log line above says why")
        found = json.loads(line)
        return found["port"], found["tls_port"]

    async def _watch(self) -> None:
        """Start the process again whenever it ends."""
        while True:
            if self._process is not None:
                code = await self._process.wait()
                log.error("storage_ended", extra={"code": code})
                self._on_event(f"The storage process ended with code {code}; it is restarted.")
            await asyncio.sleep(RESTART_S)
            try:
                await self._start_once()
            except (StorageFailed, OSError) as error:
                log.error("storage_not_started", extra={"error": str(error)})
                self._process = None
