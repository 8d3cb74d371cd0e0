"""The leanest client there is: kept connections, requests put together by hand, signed."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from lote.cli.client import API_VERSION, JSON_TYPE
from lote.cli.ready import Ready
from lote.cli.shared_key import authorization
from lote.wire.formats import format_http_date

GROUP = 100  # REST: tasks in one request at most
CONNECTIONS = 4
RECEIVE_BYTES = 1 << 16

TaskMaker = Callable[[int], bytes]


def bare_task(command: str) -> TaskMaker:
    """The smallest task: an id and a command line without anything that JSON would escape."""
    text = b'{"id":"t%d","commandLine":"' + command.encode() + b'"}'
    return lambda number: text % number


def usual_task(number: int) -> bytes:
    """About 600 bytes, as programs send them: an input, an output place, a few variables."""
    return (
        b'{"id":"task-%06d","displayName":"Convert part %d of the film","commandLine":"/bin/sh -c'
        b" './convert --from $AZ_BATCH_TASK_WORKING_DIR/part-%d.mp4 --to part-%d.webm'\","
        b'"resourceFiles":[{"httpUrl":"http://127.0.0.1:10000/account/films/part-%d.mp4?sv='
        b'2024-05-04&sr=b&sp=r&sig=0123456789abcdef","filePath":"part-%d.mp4"}],'
        b'"environmentSettings":[{"name":"PART","value":"%d"},{"name":"QUALITY","value":"31"},'
        b'{"name":"LOG_LEVEL","value":"INFO"},{"name":"RESULTS",'
        b'"value":"http://127.0.0.1:10000/account/results"}],"requiredSlots":1}'
    ) % ((number,) * 7)


def runnable_task(number: int) -> bytes:
    """As many bytes, and able to run on any node: a no-op with variables."""
    return (
        b'{"id":"task-%06d","displayName":"Convert part %d of the film","commandLine":"/bin/true",'
        b'"environmentSettings":[{"name":"PART","value":"%d"},{"name":"QUALITY","value":"31"},'
        b'{"name":"LOG_LEVEL","value":"INFO"},{"name":"SOURCE",'
        b'"value":"http://127.0.0.1:10000/account/films/part-%d.mp4"},{"name":"RESULTS",'
        b'"value":"http://127.0.0.1:10000/account/results/part-%d.webm"},{"name":"NOTES",'
        b'"value":"Two passes, the second with the frames that the first one kept, no sound"}],'
        b'"constraints":{"maxTaskRetryCount":2,"retentionTime":"P1D"},"requiredSlots":1}'
    ) % ((number,) * 5)


class Poster:
    """One kept connection that adds tasks."""

    def __init__(self, ready: Ready) -> None:
        batch = ready.batch
        self._account, self._key = batch.account, batch.key
        url = urlsplit(batch.endpoint)
        self._host = f"{url.hostname}:{url.port}"
        self._socket = socket.create_connection((url.hostname or "", url.port or 80))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, job_id: str, tasks: Sequence[bytes]) -> None:
        """Add these tasks; all of them must be accepted."""
        body = b'{"value":[' + b",".join(tasks) + b"]}"
        answer = self.exchange(f"/jobs/{job_id}/addtaskcollection", body)
        if answer.count(b'"status":"success"') != len(tasks):
            raise RuntimeError(f"not all tasks were accepted: {answer[:500]!r}")

    def exchange(self, path: str, body: bytes) -> bytes:
        """The answer's body; its status must be 200."""
        target = f"{path}?api-version={API_VERSION}"
        headers = {
            "ocp-date": format_http_date(time.time_ns() // 1000),
            "content-type": JSON_TYPE,
            "content-length": str(len(body)),
        }
        signed = authorization(self._account, self._key, "POST", target, headers)
        lines = [f"POST {target} HTTP/1.1", f"host: {self._host}", f"authorization: {signed}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode() + body)
        return self._receive()

    def _receive(self) -> bytes:
        received = bytearray()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._some()
        head = bytes(received[:end]).lower()
        if not head.startswith(b"http/1.1 200"):
            raise RuntimeError(f"refused: {bytes(received)[:500]!r}")
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(received) < end + 4 + length:
            received += self._some()
        return bytes(received[end + 4 :])

    def _some(self) -> bytes:
        piece = self._socket.recv(RECEIVE_BYTES)
        if not piece:
            raise ConnectionError("the server closed the connection")
        return piece

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def post_tasks(
    ready: Ready,
    job_id: str,
    first: int,
    count: int,
    make: TaskMaker,
    *,
    connections: int = CONNECTIONS,
) -> float:
    """Add tasks, 100 a request, over several connections at once; how long it took, in seconds."""
    starts = list(range(first, first + count, GROUP))
    failures: list[BaseException] = []
    ready_to_go = threading.Barrier(connections + 1)

    def work(mine: Sequence[int]) -> None:
        poster = Poster(ready)
        ready_to_go.wait()
        try:
            for start in mine:
                end = min(start + GROUP, first + count)
                poster.post(job_id, [make(number) for number in range(start, end)])
        except BaseException as error:  # told below, in the thread that asked
            failures.append(error)
        finally:
            poster.close()

    threads = [
        threading.Thread(target=work, args=(starts[n::connections],)) for n in range(connections)
    ]
    for thread in threads:
        thread.start()
    ready_to_go.wait()
    began = time.monotonic()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return time.monotonic() - began
