"""Large bodies, which go past the event loop into the client's socket."""

from __future__ import annotations

import http.client
import os
import socket
import time
from datetime import UTC, datetime, timedelta

import pytest
from azure.storage.blob import BlobServiceClient
from storage_process import ACCOUNT, StorageProcess

from lote.blobs.accounts import StorageAccount

MIB = 1024 * 1024
BLOCK_BYTES = 2 * MIB + 77
WITHIN_S = 60


@pytest.fixture(scope="module")
def content():
    return os.urandom(24 * MIB + 12345)


@pytest.fixture
def target(storage, box, content):
    """The path and query of a blob that is one file; beside it lies one of parts."""
    box.upload_blob("whole", content, max_concurrency=1)
    parts = [content[at : at + BLOCK_BYTES] for at in range(0, len(content), BLOCK_BYTES)]
    parts[3:4] = [parts[3][:7], parts[3][7:20], parts[3][20:]]  # small ones lie in rows
    client = box.get_blob_client("parts")
    names = [f"{number:05}" for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        client.stage_block(name, part)
    client.commit_block_list(names)
    return target_in(storage, box.container_name)


def target_in(storage, container):
    """Gives the path and query of blobs of a container."""
    account = StorageAccount.from_connection_string(storage.connection_string)
    expiry_us = int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1_000_000)
    query = account.sas_url(container, "r", expiry_us).partition("?")[2]
    return lambda name: f"/{ACCOUNT}/{container}/{name}?{query}"


def stalled_reader(storage, target):
    """A connection on which a large answer has begun, and nobody reads on."""
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    line.settimeout(WITHIN_S)
    line.connect(("127.0.0.1", storage.port))
    line.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert line.recv(12) == b"HTTP/1.1 200"
    return line


@pytest.mark.parametrize("name", ["whole", "parts"])
def test_one_connection_brings_large_bodies_one_after_another(storage, target, content, name):
    connection = http.client.HTTPConnection("127.0.0.1", storage.port, timeout=WITHIN_S)
    size = len(content)
    for first, last in (
        (0, size - 1),
        (1, size - 2),
        (5 * MIB - 3, 9 * MIB),
        (7, 9),
        (0, size - 1),
    ):
        connection.request("GET", target(name), headers={"Range": f"bytes={first}-{last}"})
        response = connection.getresponse()
        assert response.status == 206
        assert response.read() == content[first : last + 1]
    connection.close()


def test_requests_that_were_sent_ahead_are_answered_in_turn(storage, target, content):
    with socket.create_connection(("127.0.0.1", storage.port), timeout=WITHIN_S) as line:
        line.sendall(f"GET {target('whole')} HTTP/1.1\r\nHost: x\r\n\r\n".encode() * 3)
        with line.makefile("rb") as answers:
            for _ in range(3):
                assert answers.readline().split()[1] == b"200"
                while (head := answers.readline().lower()) != b"\r\n":
                    if head.startswith(b"content-length:"):
                        assert int(head.partition(b":")[2]) == len(content)
                assert answers.read(len(content)) == content


def test_readers_that_do_not_read_hold_up_nobody_and_may_leave(storage, target, content):
    """More of them than there are threads for sending."""
    lines = [stalled_reader(storage, target("whole")) for _ in range(12)]
    connection = http.client.HTTPConnection("127.0.0.1", storage.port, timeout=WITHIN_S)
    connection.request("GET", target("whole"))
    assert connection.getresponse().read() == content
    connection.close()
    patient, *others = lines
    for line in others:
        line.close()
    with patient, patient.makefile("rb") as answer:
        while answer.readline() != b"\r\n":
            pass
        assert answer.read() == content
    wait_until_only(storage, 0)


def wait_until_only(storage, count):
    """Until the process has so many content files open."""
    deadline = time.monotonic() + WITHIN_S
    while len(found := open_contents(storage)) > count:
        assert time.monotonic() < deadline, found
        os.sched_yield()


def open_contents(storage):
    folder = f"/proc/{storage.process.pid}/fd"
    found = []
    for name in os.listdir(folder):
        try:
            link = os.readlink(f"{folder}/{name}")
        except FileNotFoundError:
            continue
        if "/contents/" in link:
            found.append(link)
    return found


def test_a_server_that_is_told_to_stop_waits_for_no_reader(tmp_path, content):
    process = StorageProcess(tmp_path / "folder")
    with BlobServiceClient(process.endpoint, credential=process.key1) as service:
        box = service.create_container("box")
        box.upload_blob("whole", content)
    target = target_in(process, "box")("whole")
    lines = [stalled_reader(process, target) for _ in range(3)]
    assert process.stop() == 0
    for line in lines:
        line.close()
