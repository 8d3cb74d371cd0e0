"""An ASGI application that does nothing, on the stack the data plane stands on: uvicorn with the
service's own bounds. Run as a program it says its port, and ends with its standard input."""

from __future__ import annotations

import asyncio
import sys

import uvicorn
import uvloop

from lote.listener import BACKLOG, Bounds, QuietServer, bounded, listen

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]}
BODY = {"type": "http.response.body", "body": b""}


async def empty(scope, receive, send) -> None:
    """An empty success, whatever was asked."""
    await send(START)
    await send(BODY)


async def serve() -> None:
    """Until the standard input ends."""
    listener = listen("127.0.0.1", 0)
    config = uvicorn.Config(
        empty,
        http=bounded(Bounds()),
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
    )
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    await server.listening.wait()
    print(listener.getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.should_exit = True
    await serving


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve())
