"""What was acknowledged is there after the process was killed, and nothing else is."""

from __future__ import annotations

import hashlib
import os
import select
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient
from storage_process import StorageProcess

PUTS = 200


def content_of(number):
    """Every twentieth is large enough for a file."""
    size = 200_000 if number % 20 == 0 else 2_000
    return hashlib.sha256(str(number).encode()).digest() * (size // 32)


def files_below(folder):
    return [p for p in (folder / "contents").rglob("*") if p.is_file()]


def test_acknowledged_puts_survive_a_kill(tmp_path):
    process = StorageProcess(tmp_path)
    with BlobServiceClient(process.endpoint, credential=process.key1) as service:
        box = service.create_container("box")
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda n: box.upload_blob(f"{n:03}", content_of(n)), range(PUTS)))
        process.kill()
    process.start()
    with BlobServiceClient(process.endpoint, credential=process.key1) as service:
        box = service.get_container_client("box")
        names = [blob.name for blob in box.list_blobs()]
        assert names == [f"{number:03}" for number in range(PUTS)]
        for number in range(PUTS):
            assert box.download_blob(f"{number:03}").readall() == content_of(number)
    assert process.stop() == 0


def test_a_kill_in_the_middle_leaves_whole_blobs_and_no_litter(tmp_path):
    """Writers overwrite a few blobs until the kill: each is then one version, whole."""
    process = StorageProcess(tmp_path)
    acknowledged = {}
    first = threading.Event()

    def write(box, name):
        for version in range(100_000):
            try:
                box.upload_blob(name, bytes([version % 256]) * 150_000, overwrite=True)
            except AzureError:
                return
            acknowledged[name] = version
            if version >= 3:
                first.set()

    options = {"retry_total": 0, "connection_timeout": 5, "read_timeout": 5}
    with BlobServiceClient(process.endpoint, credential=process.key1, **options) as service:
        box = service.create_container("box")
        with ThreadPoolExecutor(3) as threads:
            for name in "abc":
                threads.submit(write, box, name)
            assert first.wait(30)
            process.kill()
    process.start()
    with BlobServiceClient(process.endpoint, credential=process.key1) as service:
        box = service.get_container_client("box")
        for name, version in acknowledged.items():
            content = box.download_blob(name).readall()
            assert len(content) == 150_000
            assert set(content) <= {version % 256, (version + 1) % 256}
            assert len(set(content)) == 1
    assert process.stop() == 0  # the sweep of the start has ended when the process has
    with sqlite3.connect(tmp_path / "storage.sqlite") as rows:
        named = {name for (name,) in rows.execute("SELECT file FROM content")}
    rows.close()
    assert {path.name for path in files_below(tmp_path)} == named


def test_deleted_bytes_leave_the_disk(tmp_path):
    process = StorageProcess(tmp_path)
    with BlobServiceClient(process.endpoint, credential=process.key1) as service:
        box = service.create_container("box")
        box.upload_blob("whole", os.urandom(300_000))
        box.upload_blob("whole", os.urandom(300_000), overwrite=True)
        parts = box.get_blob_client("parts")
        parts.stage_block("a", os.urandom(300_000))
        parts.commit_block_list(["a"])
        parts.stage_block("b", os.urandom(300_000))
        assert len(files_below(tmp_path)) == 3
        service.delete_container("box")
    assert process.stop() == 0
    process.start()  # what was not tidied before the end is tidied after the start
    assert process.stop() == 0
    assert files_below(tmp_path) == []
    with sqlite3.connect(tmp_path / "storage.sqlite") as rows:
        for table in ("container", "blob", "content", "part", "staged"):
            assert rows.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    rows.close()


def test_a_folder_has_one_process(tmp_path):
    process = StorageProcess(tmp_path)
    with pytest.raises(RuntimeError, match="ended before it listened"):
        StorageProcess(tmp_path)
    assert process.stop() == 0


def test_it_dies_with_its_parent(tmp_path):
    """A parent that is killed takes the storage process along, though its standard input stays."""
    code = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-m', 'lote.storage'], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    settings = f'{{"folder": "{tmp_path}", "host": "127.0.0.1", "port": 0, "accounts": {{}}}}\n'
    reader, writer = os.pipe()
    os.write(writer, settings.encode())
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=reader, stdout=subprocess.PIPE, text=True
    ) as parent:
        pid = int(parent.stdout.readline())
    descriptor = os.pidfd_open(pid)
    try:
        os.set_blocking(descriptor, True)
        assert wait_for_exit(descriptor, 20)
    finally:
        os.close(descriptor)
        os.close(reader)
        os.close(writer)


def wait_for_exit(descriptor, timeout_s):
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))
