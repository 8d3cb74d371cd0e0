"""A storage process for tests: started as a server starts it, on a free port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ACCOUNT = "testaccount"


def new_key() -> str:
    return b64encode(os.urandom(64)).decode()


class StorageProcess:
    """``python -m lote.storage`` over a folder, for one account and its two keys."""

    def __init__(
        self,
        folder: Path,
        *,
        key1: str | None = None,
        key2: str | None = None,
        tls: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.key1 = key1 or new_key()
        self.key2 = key2 or new_key()
        self._tls = tls or {}
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lote.storage"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        settings = {
            "folder": str(self.folder),
            "host": "127.0.0.1",
            "port": 0,
            "tls_port": None,
            "accounts": {ACCOUNT: [self.key1, self.key2]},
            **self._tls,
        }
        self.process.stdin.write(json.dumps(settings) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            self._reap()
            raise RuntimeError("the storage process ended before it listened")
        ports = json.loads(line)
        self.port, self.tls_port = ports["port"], ports["tls_port"]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def connection_string(self) -> str:
        return (
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self.key1};"
            f"BlobEndpoint={self.endpoint}"
        )

    def kill(self) -> None:
        """As a power cut would, as far as the process is concerned."""
        self.process.send_signal(signal.SIGKILL)
        self._reap()

    def stop(self) -> int:
        """Ask it to end, and wait."""
        self.process.stdin.close()
        code = self.process.wait(20)
        self._reap()
        return code

    def _reap(self) -> None:
        self.process.wait(20)
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
