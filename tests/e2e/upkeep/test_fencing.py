"""An agent that was away does not overwrite what its tasks' next runs have uploaded."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from urllib.parse import urlsplit

from harness import Ledger, Lote, gone, lote_service, until
from holding_proxy import Hold, HoldingProxy

from lote.engines.process import ProcessStat, read_stat

ONE_PUT = 12 << 20  # one request, and more than the sockets on the way hold
BLOCKS = 20 << 20  # three blocks and a list
GRACE_S = 2

MOMENTS = {
    "in the middle of a body": (ONE_PUT, Hold(sent_bytes=1 << 20)),
    "near the end of a body": (ONE_PUT, Hold(sent_bytes=(12 << 20) - 20_000)),
    "before the block list": (BLOCKS, Hold(request_with=b"comp=blocklist")),
    "before the first block is through": (BLOCKS, Hold(sent_bytes=1 << 20)),
}


def task_of(ledger: Ledger, size: int, url: str) -> dict[str, object]:
    """A task whose output says which node made it, again and again."""
    script = f"yes $AZ_BATCH_NODE_ID | head -c {size} > out"
    return {
        "commandLine": ledger.line(script),
        "outputFiles": [
            {
                "filePattern": "out",
                "destination": {"container": {"containerUrl": url}},
                "uploadOptions": {"uploadCondition": "taskcompletion"},
            }
        ],
    }


def content_of(node_id: str, size: int) -> bytes:
    line = f"{node_id}\n".encode()
    return (line * (size // len(line) + 1))[:size]


def stopped(lote: Lote, node_id: str) -> ProcessStat:
    """The node's agent, stopped."""
    pid = lote.agents()[node_id]
    os.kill(pid, signal.SIGSTOP)
    stat = read_stat(pid)
    assert stat is not None
    return stat


class Upload:
    """One task on a pool of its own, whose upload is held at its moment."""

    def __init__(self, lote: Lote, ledger: Ledger, task_id: str, proxy: HoldingProxy) -> None:
        self.lote, self.task_id, self.proxy = lote, task_id, proxy
        self.ledger = ledger
        self.out = lote.add_container(f"out-{task_id}")
        base = urlsplit(self.out.signed)
        self.url = base._replace(netloc=f"127.0.0.1:{proxy.port}").geturl()

    def begin(self, size: int) -> None:
        self.size = size
        lote, task_id = self.lote, self.task_id
        before = set(lote.agents())
        lote.add_pool(task_id, nodes=1, slots=1)
        [self.first] = set(lote.agents()) - before
        lote.add_job(task_id, pool_id=task_id)
        lote.add_tasks({task_id: task_of(self.ledger, size, self.url)}, task_id)
        until(self.proxy.held.is_set, "the upload is at the point")
        self.agent = stopped(lote, self.first)

    def wait(self) -> None:
        """Until the task has ended elsewhere."""
        self.ended = self.lote.wait_for_end(self.task_id, self.task_id)
        assert self.ended["result"] == "success"
        self.second = self.lote.task(self.task_id, self.task_id)["nodeInfo"]["nodeId"]
        assert self.second != self.first

    def go_on(self) -> None:
        self.proxy.go_on.set()
        with contextlib.suppress(ProcessLookupError):  # a slow test finds it killed already
            os.kill(self.agent.pid, signal.SIGCONT)
        until(lambda: gone([self.agent]), "the late agent has ended")

    def check(self) -> None:
        reply = self.lote.fetch("GET", self.out.blob("out"))
        assert reply.body == content_of(self.second, self.size)
        assert self.lote.wait_for_end(self.task_id, self.task_id) == self.ended
        assert self.ledger.runs()[self.task_id] == 2


def test_the_uploads_of_stopped_agents_do_not_come_true():
    with lote_service("--node-grace-s", str(GRACE_S)) as lote, contextlib.ExitStack() as stack:
        ledger = Ledger(lote.folder / "runs")
        port = int(urlsplit(lote.add_container("first").url).port or 0)
        uploads = []
        for number, (size, hold) in enumerate(MOMENTS.values()):
            proxy = stack.enter_context(HoldingProxy(port, hold).listening())
            uploads.append(Upload(lote, ledger, f"t{number}", proxy))
            uploads[-1].begin(size)
        for upload in uploads:
            upload.wait()
        for upload in uploads:
            upload.go_on()
        stack.close()  # nothing is under way any more
        for upload in uploads:
            upload.check()


def test_a_body_that_stalls_is_given_up_within_half_the_grace():
    """So that what a stopped agent's kernel holds back is never the rest of a blob."""
    with lote_service("--node-grace-s", str(GRACE_S)) as lote:
        url = urlsplit(lote.add_container("out").blob("half"))
        head = (
            f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: x\r\nx-ms-version: 2021-12-02\r\n"
            f"x-ms-blob-type: BlockBlob\r\nContent-Length: {ONE_PUT}\r\n\r\n"
        )
        with socket.create_connection((str(url.hostname), url.port or 0), timeout=10) as connection:
            connection.sendall(head.encode() + bytes(ONE_PUT - 1))
            begun_s = lote.world.monotonic()
            assert connection.recv(12) == b"HTTP/1.1 408"
            # A window that had its bytes, and one without; and a busy machine.
            assert lote.world.monotonic() - begun_s < GRACE_S
        assert lote.fetch("GET", url.geturl()).status == 404
