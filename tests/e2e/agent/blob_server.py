"""A small source and target of files for agents under test: some paths misbehave."""

from __future__ import annotations

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape


class BlobServer:
    """Blobs by ``container/name``. ``denied`` containers answer 403, unknown ones 404."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.headers: dict[str, dict[str, str]] = {}
        self.containers: set[str] = set()
        self.denied: set[str] = set()
        self.requests: Counter[str] = Counter()
        self.gate = threading.Event()  # "slow" blobs end when it is set, "silent" ones begin
        self.begun = threading.Event()  # a write of a "slow" blob was begun
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/acct"

    def put(self, container: str, **blobs: bytes) -> None:
        self.containers.add(container)
        for name, content in blobs.items():
            self.blobs[f"{container}/{name}"] = content

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(server: BlobServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            """Tests have nothing to print."""

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            query = parse_qs(parts.query)
            path = unquote(parts.path).removeprefix("/acct/")
            server.requests[f"GET {path}"] += 1
            container = path.partition("/")[0]
            if container in server.denied or query.get("sig", ["good"]) != ["good"]:
                self.answer(403)
            elif query.get("comp") == ["list"]:
                self.list(container, query.get("prefix", [""])[0])
            elif path not in server.blobs:
                self.answer(404)
            else:
                if path.endswith("silent"):
                    server.gate.wait(20)
                self.send(path, server.blobs[path])

        def send(self, path: str, content: bytes) -> None:
            etag = f'"{hash(content):x}"'
            if self.headers.get("If-None-Match") == etag:
                server.requests["304"] += 1
                self.answer(304)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", etag)
            self.end_headers()
            if path.endswith("broken"):
                self.wfile.write(content[: len(content) // 2])
                self.close_connection = True
                return
            if path.endswith("slow"):
                self.wfile.write(content[:1])
                self.wfile.flush()
                server.gate.wait(20)
                content = content[1:]
            self.wfile.write(content)

        def list(self, container: str, prefix: str) -> None:
            if container not in server.containers:
                self.answer(404)
                return
            names = sorted(
                path.partition("/")[2] for path in server.blobs if path.startswith(container + "/")
            )
            blobs = "".join(
                f"<Blob><Name>{escape(name)}</Name><Properties><Content-Length>1</Content-Length>"
                "<Etag>x</Etag></Properties></Blob>"
                for name in names
                if name.startswith(prefix)
            )
            body = f"<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker/></EnumerationResults>"
            self.answer(200, body.encode())

        def do_PUT(self) -> None:
            path = unquote(urlsplit(self.path).path).removeprefix("/acct/")
            length = int(self.headers["Content-Length"])
            server.requests[f"PUT {path}"] += 1
            content = b""
            if path.endswith("slow"):
                content = self.rfile.read(min(1, length))
                server.begun.set()
                server.gate.wait(20)
            content += self.rfile.read(length - len(content))
            if len(content) < length:  # broken off
                server.requests["torn"] += 1
                self.close_connection = True
                return
            if "comp=block&" in self.path:
                self.answer(201)
                return
            container = path.partition("/")[0]
            if container in server.denied:
                self.answer(403)
            elif container not in server.containers:
                self.answer(404)
            else:
                server.blobs[path] = content
                server.headers[path] = {k.lower(): v for k, v in self.headers.items()}
                self.answer(201)

        def answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            if status != 304:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
