"""A small HTTP server that answers as a test says, also badly."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class ScriptedServer:
    """``answer(handler)`` writes each answer; ``requests`` are (method, path, headers, body)."""

    def __init__(self, answer):
        self.requests = []
        self.connections = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                return

            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                body = self.rfile.read(length)
                outer.connections.add(self.client_address)
                outer.requests.append((self.command, self.path, dict(self.headers), body))
                answer(self)

            do_GET = do_PUT = do_HEAD = answer

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_):  # a client that goes away is part of the script
                return

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self._thread.join()


@contextmanager
def serving(answer):
    server = ScriptedServer(answer)
    try:
        yield server
    finally:
        server.close()


def reply(handler, status=200, body=b"", **headers):
    """A plain answer; header names with underscores for hyphens."""
    handler.send_response(status)
    for name, value in {"Content_Length": str(len(body)), **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def break_off(handler):
    """Close the connection without a word more."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
