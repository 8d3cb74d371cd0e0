"""Storage accounts to measure: our storage process alone, and Azurite, the provider's emulator."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from lote.blobs.accounts import DEVELOPMENT, StorageAccount

AZURITE_VERSION = (
    "3.37.0"  # the newest; 3.35, which the tests use, takes uploads three times faster
)
AZURITE_HOME = Path.home() / ".cache" / f"lote-azurite-{AZURITE_VERSION}"
AZURITE_MAIN = "node_modules/azurite/dist/src/blob/main.js"
AZURITE_FLAGS = ("--silent", "--skipApiVersionCheck", "--disableTelemetry")
AZURITE_LISTENS = re.compile(r"successfully listens on (http://\S+)")
ENDED_WITHIN_S = 60.0
NAME = "bench"


class Served(msgspec.Struct):
    """An account that is being served, by which process, and how long its start took."""

    account: str
    key: str
    endpoint: str
    pid: int
    start_s: float
    is_null: bool = False
    """It forgets what goes up; zeros come down."""

    @property
    def connection_string(self) -> str:
        """For the official SDK."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={self.account};AccountKey={self.key};"
            f"BlobEndpoint={self.endpoint}"
        )

    @property
    def address(self) -> tuple[str, int]:
        """For a socket."""
        parts = urlsplit(self.endpoint)
        return parts.hostname or "", parts.port or 80


@contextmanager
def own_account(folder: Path) -> Iterator[Served]:
    """Our storage process over a folder."""
    key = b64encode(os.urandom(64)).decode()
    settings = {
        "folder": str(folder),
        "host": "127.0.0.1",
        "port": 0,
        "accounts": {NAME: [key, key]},
    }

    def listens(process: subprocess.Popen[str]) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        return f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"

    with _started([sys.executable, "-m", "lote.storage"], listens) as (pid, url, start_s):
        yield Served(NAME, key, f"{url}/{NAME}", pid, start_s)


@contextmanager
def azurite_account(folder: Path) -> Iterator[Served]:
    """Azurite over a folder."""
    node = shutil.which("node")
    if node is None or not (AZURITE_HOME / AZURITE_MAIN).exists():
        raise RuntimeError(
            "Azurite is not installed; with Node.js 20 or newer:"
            f" npm install --prefix {AZURITE_HOME} azurite@{AZURITE_VERSION}"
        )
    options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--location", str(folder)]

    def listens(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        for line in process.stdout:
            if found := AZURITE_LISTENS.search(line):
                return found[1]
        raise RuntimeError("Azurite ended before it listened")

    words = [node, str(AZURITE_HOME / AZURITE_MAIN), *options, *AZURITE_FLAGS]
    with _started(words, listens) as (pid, url, start_s):
        known = StorageAccount.from_connection_string(DEVELOPMENT)
        yield Served(known.name, known.key, f"{url}/{known.name}", pid, start_s)


@contextmanager
def null_account(_: Path) -> Iterator[Served]:
    """An account that does nothing; see blob_null.py."""

    def listens(process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        return process.stdout.readline().strip()

    words = [sys.executable, str(Path(__file__).with_name("blob_null.py"))]
    with _started(words, listens) as (pid, url, start_s):
        key = b64encode(os.urandom(64)).decode()
        yield Served(NAME, key, f"{url}/{NAME}", pid, start_s, is_null=True)


@contextmanager
def _started(
    words: list[str], listens: Callable[[subprocess.Popen[str]], str]
) -> Iterator[tuple[int, str, float]]:
    began = time.monotonic()
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    try:
        with process:
            url = listens(process)
            yield process.pid, url, time.monotonic() - began
            process.terminate()
            process.communicate(timeout=ENDED_WITHIN_S)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk, removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="lote-bench-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
