"""The agent's logs, uploaded to a container when a client asks for them."""

from __future__ import annotations

import os
from urllib.parse import quote

from lote.agent.layout import Layout
from lote.agent.node_files import FileRefused
from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobError
from lote.wire.frames import Open

ATTEMPTS_MAX = 2  # the client waits for the answer
OUTPUT_NAME = "agent.out"  # what the agent prints: nothing, unless it breaks
FIRST_LINE_BYTES = 200


def upload_logs(layout: Layout, request: Open, ca_file: str | None) -> int:
    """Upload those log files that have lines of the time asked for, whole; how many they are.

    Raises FileRefused when the container refuses them.
    """
    container, _, signature = request.path.partition("?")
    found = _logs_between(layout, request.start or 0, request.end)
    client = BlobClient(ca_file=ca_file, attempts_max=ATTEMPTS_MAX)
    try:
        for path in found:
            name = quote(f"{request.prefix}/{os.path.basename(path)}")
            with open(path, "rb") as file:
                client.upload_bytes(file.read(), f"{container.rstrip('/')}/{name}?{signature}")
    except BlobError as error:
        raise FileRefused(400, "InvalidPropertyValue") from error
    finally:
        client.close()
    return len(found)


def _logs_between(layout: Layout, start_us: int, end_us: int | None) -> list[str]:
    found = []
    for path in (f"{layout.log}.1", layout.log, f"{layout.node_dir}/{OUTPUT_NAME}"):
        try:
            status = os.stat(path)
        except FileNotFoundError:
            continue
        is_late = end_us is not None and _first_us(path) > end_us
        if status.st_size and status.st_mtime_ns // 1000 >= start_us and not is_late:
            found.append(path)
    return found


def _first_us(path: str) -> int:
    """The moment of a log's first line; 0 when it tells none."""
    with open(path, "rb") as file:
        word = file.read(FIRST_LINE_BYTES).partition(b" ")[0]
    name, _, value = word.partition(b"=")
    return int(value) if name == b"time_us" and value.isdigit() else 0
