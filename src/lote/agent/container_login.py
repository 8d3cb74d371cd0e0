"""How a registry is told who asks, in the file that podman and docker both read."""

from __future__ import annotations

import base64
from typing import Any

from lote.wire.frames import Registry

DOCKER_HUB_KEY = "https://index.docker.io/v1/"  # docker's own name for docker.io


def server_name(registry: Registry) -> str:
    """The server as images name it."""
    return registry.server.removeprefix("https://").removeprefix("http://").partition("/")[0]


def login_of(registry: Registry) -> dict[str, Any]:
    """The file that lets a pull read this registry: it has the password."""
    word = base64.b64encode(f"{registry.username}:{registry.password}".encode()).decode()
    server = server_name(registry)
    names = [server, DOCKER_HUB_KEY] if server == "docker.io" else [server]
    return {"auths": {name: {"auth": word} for name in names}}
