"""Storage endpoints as processes: the built-in one, and Azurite, the provider's emulator."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lote.blobs.accounts import DEVELOPMENT, StorageAccount

AZURITE_VERSION = "3.35.0"
AZURITE_MAIN = "node_modules/azurite/dist/src/blob/main.js"
LISTENS = re.compile(r"successfully listens on (http://\S+)")


@contextmanager
def built_in(folder: Path) -> Iterator[StorageAccount]:
    """The built-in endpoint over a folder."""
    key = b64encode(os.urandom(64)).decode()
    settings = {
        "folder": str(folder),
        "host": "127.0.0.1",
        "port": 0,
        "accounts": {"suite": [key, key]},
    }
    with ended([sys.executable, "-m", "lote.storage"]) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        port = json.loads(process.stdout.readline())["port"]
        yield StorageAccount("suite", key, f"http://127.0.0.1:{port}/suite")


@contextmanager
def azurite(folder: Path) -> Iterator[StorageAccount]:
    """Azurite over a folder. It would send telemetry if it were not told not to."""
    home = Path(os.environ.get("LOTE_AZURITE_DIR") or Path.home() / ".cache" / "lote-azurite")
    node = shutil.which("node")
    if node is None or not (home / AZURITE_MAIN).exists():
        pytest.fail(
            "the suite runs over Azurite too, which needs Node.js and:"
            f" npm install --prefix {home} azurite@{AZURITE_VERSION}"
        )
    options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--location", str(folder)]
    flags = ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    with ended([node, str(home / AZURITE_MAIN), *options, *flags]) as process:
        assert process.stdout is not None
        found = None
        while found is None:
            line = process.stdout.readline()
            assert line, "Azurite ended before it listened"
            found = LISTENS.search(line)
        known = StorageAccount.from_connection_string(DEVELOPMENT)
        yield known._replace(blob_endpoint=f"{found[1]}/{known.name}")


@contextmanager
def ended(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended afterwards."""
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/"
    )
    try:
        with process:
            yield process
            process.terminate()
            process.communicate(timeout=20)
    finally:
        if process.poll() is None:
            process.kill()
