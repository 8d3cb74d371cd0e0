"""Serving the storage accounts over HTTP and HTTPS, in this process, until told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn

from lote.listener import (
    BACKLOG,
    Bounds,
    QuietServer,
    bounded,
    calm_collector,
    fit_file_limit,
    listen,
)
from lote.storage.app import StorageApp
from lote.storage.authentication import Access, AccountKeys
from lote.storage.endpoint import Limits
from lote.storage.protocol import StorageProtocol
from lote.world import World

KEEP_ALIVE_S = 75
STOP_GRACE_S = 3


class Tls(NamedTuple):
    """The HTTPS listener: its port (0: a free one) and PEM files."""

    port: int
    certificate: str
    private_key: str


class Ports(NamedTuple):
    """Where the listeners are."""

    port: int
    tls_port: int | None


def serve_storage(
    folder: Path,
    host: str,
    port: int,
    accounts: Mapping[str, AccountKeys],
    world: World,
    *,
    tls: Tls | None = None,
    limits: Limits | None = None,
    bounds: Bounds | None = None,
    access: Access | None = None,
    on_ready: Callable[[Ports], None] = lambda _: None,
) -> None:
    """Serve until SIGTERM or SIGINT. Runs its own event loop; for the main thread.

    ``port`` 0 takes a free one. Refuses (``RuntimeError``) a folder that is being served,
    ``OSError`` for a port that is taken.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(
            _serve(
                lambda: StorageApp(folder, accounts, world, limits, access),
                (host, port),
                tls,
                bounds or Bounds(),
                on_ready,
            )
        )


async def _serve(
    make_app: Callable[[], StorageApp],
    address: tuple[str, int],
    tls: Tls | None,
    bounds: Bounds,
    on_ready: Callable[[Ports], None],
) -> None:
    bounds = fit_file_limit(bounds)
    host, port = address
    listeners = [(listen(host, port), _config(None, bounds))]
    if tls is not None:
        listeners.append((listen(host, tls.port), _config(tls, bounds)))
    stop = asyncio.Event()
    app = make_app()
    try:
        servers = []
        for _, config in listeners:
            config["app"] = app
            servers.append(QuietServer(uvicorn.Config(**config)))
        _stop_on_signals(stop)
        serving = [
            asyncio.ensure_future(server.serve(sockets=[sock]))
            for server, (sock, _) in zip(servers, listeners, strict=True)
        ]
        for server in servers:
            await server.listening.wait()
        found = [sock.getsockname()[1] for sock, _ in listeners]
        on_ready(Ports(found[0], found[1] if tls is not None else None))
        calm_collector()
        await stop.wait()
        for server in servers:
            server.should_exit = True
        await asyncio.gather(*serving)
    finally:
        await app.stop_copies()
        app.close()


def _config(tls: Tls | None, bounds: Bounds) -> dict[str, Any]:
    config: dict[str, Any] = {
        "http": bounded(bounds, StorageProtocol),
        "loop": "none",
        "ws": "none",
        "lifespan": "off",
        "interface": "asgi3",
        "access_log": False,
        "log_config": None,
        "server_header": False,
        "proxy_headers": False,
        "backlog": BACKLOG,
        "timeout_keep_alive": KEEP_ALIVE_S,
        "timeout_graceful_shutdown": STOP_GRACE_S,
    }
    if tls is not None:
        config |= {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.private_key}
    return config


def _stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
