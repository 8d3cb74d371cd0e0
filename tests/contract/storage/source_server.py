"""A web server that answers as blob storage does, and badly when it is asked to."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class SourceServer:
    """Serves ``content`` under any path; the path says how.

    ``/broken`` ends each connection after ``step`` bytes; ``/held`` waits for ``let_go`` in the
    middle; ``/changing`` breaks off and has another ETag then; ``/to`` redirects; ``/plain`` knows
    no ranges and no length.
    """

    def __init__(self, content: bytes, step: int) -> None:
        self.content = content
        self.step = step
        self.let_go = threading.Event()
        self.was_asked = threading.Event()
        self.asked: list[dict[str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self._server.server_port}{path}"

    def __enter__(self) -> SourceServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.let_go.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _handler(outer):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                """Nothing: tests fail by themselves."""

            def do_GET(self):
                outer.asked.append({key.lower(): value for key, value in self.headers.items()})
                outer.was_asked.set()
                how = self.path.partition("?")[0]
                if how.startswith("/status/"):
                    self.send_response(int(how.removeprefix("/status/")))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif how == "/to":
                    self.send_response(302)
                    self.send_header("Location", outer.url("/whole"))
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                elif how == "/plain":
                    self.send_response(200)
                    self.send_header("Connection", "close")
                    self.end_headers()
                    self.wfile.write(outer.content)
                    self.close_connection = True
                else:
                    self.send_content(how)

            def send_content(self, how):
                content, first = outer.content, 0
                wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if wanted:
                    first = int(wanted[1])
                    last = int(wanted[2]) if wanted[2] else len(content) - 1
                    content = content[first : last + 1]
                etag = f'"{len(outer.asked)}"' if how == "/changing" else '"one"'
                if self.headers.get("If-Match", etag) != etag:
                    self.send_response(412)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Content-Type", "text/plain")
                self.send_header("Cache-Control", "no-cache")
                self.send_header("x-ms-meta-Who", "me")
                self.send_header("ETag", etag)
                if wanted:
                    end = first + len(content) - 1
                    total = len(outer.content)
                    self.send_header("Content-Range", f"bytes {first}-{end}/{total}")
                self.end_headers()
                if how == "/held":
                    self.wfile.write(content[: outer.step])
                    self.wfile.flush()
                    outer.let_go.wait(60)
                    content = content[outer.step :]
                elif how in ("/broken", "/changing"):
                    content = content[: outer.step]
                    self.close_connection = True
                self.wfile.write(content)

        return Handler
