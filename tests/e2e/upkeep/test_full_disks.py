"""Disks that are really full, or refuse writes: clear answers, nothing lost, and work goes on."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness import Json, Ledger, Lote, Reply, lote_service, sh, until
from small_disks import clear, fill, image_disk, needs_mounts, remount, set_writable, small_disk

pytestmark = needs_mounts

MIB = 1 << 20


@contextlib.contextmanager
def service_on(disk: str, size: str, *options: str) -> Iterator[Lote]:
    """A service with one of its folders on a small disk: ``data``, ``nodes`` or ``blobs``."""
    with contextlib.ExitStack() as mounts, lote_service(is_started=False) as lote:
        nodes = lote.folder / "node-disk"
        nodes.mkdir()
        nodes.chmod(0o711)
        place = {"data": lote.data, "nodes": nodes, "blobs": lote.data / "blobs"}[disk]
        if disk == "blobs":
            place.mkdir(mode=0o700)
        mounts.callback(shutil.rmtree, lote.folder, ignore_errors=True)  # once unmounted
        mounts.enter_context(small_disk(place, size, *options))
        (lote.data / "nodes").symlink_to(nodes)
        lote.start()
        yield lote


def add(lote: Lote, task_id: str) -> Reply:
    return lote.ask("POST", "/jobs/j/tasks", {"id": task_id, "commandLine": "/bin/true"})


def test_the_server_on_a_full_disk():
    with service_on("data", "48m") as lote:
        ledger = Ledger(lote.folder / "runs")
        blobs = lote.add_container("blobs")
        lote.add_pool(nodes=1, slots=2)
        lote.add_job()
        acknowledged = {f"early{n}" for n in range(20)}
        lote.add_tasks({one: ledger.line() for one in acknowledged})
        wait = f"until test -e {lote.folder}/go; do sleep 0.05; done"
        lote.add_tasks({"long": ledger.line(wait)})
        lote.wait_for_counts(succeeded=20)
        lote.wait_for_state("long", "running")

        filler = fill(lote.data)
        refused = until(lambda: refusal(lote, acknowledged), "the disk is felt")
        assert (refused.status, refused.code) == (503, "ServerBusy")
        assert int(refused.headers["retry-after"]) > 0
        assert lote.ask("GET", "/jobs/j/tasks/long").status == 200
        reply = lote.fetch("PUT", blobs.blob("big"), bytes(MIB))
        assert reply.status == 507, reply
        (lote.folder / "go").touch()  # its end can't be recorded now, and is not lost
        until(lambda: not lote.task_processes(), "it ends")
        assert lote.task("long")["state"] == "running"

        lote.kill()  # and a server that starts on a full disk says so, or works
        process = lote.spawn()
        until(lambda: process.poll() is not None or "Lote is ready" in lote.said())
        if process.poll() is None:
            process.kill()
            process.wait()
        else:
            assert process.returncode == 1
            assert "No space left on device" in lote.said() or "full" in lote.said()
            assert "Traceback" not in lote.said()

        clear(filler)
        lote.start()
        lote.wait_for_counts(active=0, running=0, succeeded=len(acknowledged) + 1)
        assert {task["id"] for task in lote.client.each("list_tasks", {"job_id": "j"})} == {
            *acknowledged,
            "long",
        }
        assert set(ledger.runs().values()) == {1}
        assert lote.fetch("PUT", blobs.blob("big"), bytes(MIB)).status == 201


def refusal(lote: Lote, acknowledged: set[str]) -> Reply | None:
    """The first refusal of a new task; what is accepted before it is noted."""
    for number in range(200):
        task_id = f"more{len(acknowledged)}-{number}"
        reply = add(lote, task_id)
        if reply.status != 201:
            return reply
        acknowledged.add(task_id)
    return None


def test_a_full_disk_needs_no_restart_when_it_has_room_again():
    with service_on("data", "32m") as lote:
        lote.add_pool(nodes=1, slots=1)
        lote.add_job()
        acknowledged: set[str] = set()
        for _ in range(3):
            filler = fill(lote.data)
            assert until(lambda: refusal(lote, acknowledged)).status == 503
            clear(filler)
            until(lambda: add(lote, f"after{len(acknowledged)}").status == 201, "room again")
            acknowledged.add(f"after{len(acknowledged)}")
        lote.wait_for_counts(active=0, running=0, succeeded=len(acknowledged))


def test_a_node_on_a_full_disk():
    with service_on("nodes", "24m", "nr_inodes=400") as lote:
        nodes = lote.folder / "node-disk"
        ledger = Ledger(lote.folder / "runs")
        lote.add_pool(nodes=1, slots=2)
        lote.add_job()
        wait = f"until test -e {lote.folder}/go; do sleep 0.05; done"
        lote.add_tasks({"long": ledger.line(wait)})
        lote.wait_for_state("long", "running")
        [agent] = lote.agents().values()

        filler = fill(nodes)
        lote.add_tasks({"late": ledger.line()})  # before the agent has looked at its disk
        ended = lote.wait_for_end("late")
        assert ended["result"] == "failure"
        assert ended["failureInfo"]["code"] == "DiskFull"
        assert ended["failureInfo"]["category"] == "servererror"
        [error] = until(lambda: node_errors(lote), "the node is shown unusable")
        assert error["code"] == "DiskFull"
        lote.add_tasks({"later": ledger.line()})  # waits: no node is fit for it
        lote.kill()  # the end is kept in memory, where the journal can't be
        (lote.folder / "go").touch()
        until(lambda: not lote.task_processes(), "the task that ran before ends")
        lote.start()
        assert lote.wait_for_end("long")["result"] == "success"
        assert lote.task("later")["state"] == "active"

        clear(filler)
        lote.wait_for_pool(nodes=1)
        assert lote.wait_for_end("later")["result"] == "success"
        assert list(lote.agents().values()) == [agent]
        assert ledger.runs() == {"long": 1, "later": 1}


def node_errors(lote: Lote) -> list[Json]:
    [node] = lote.nodes()
    return list(node["errors"]) if node["state"] == "unusable" else []


def test_a_task_that_fills_its_node_loses_no_output():
    """The outputs of a task that failed on a full disk are sent all the same."""
    with service_on("nodes", "24m") as lote:
        out = lote.add_container("out")
        lote.add_pool(nodes=1, slots=1)
        lote.add_job()
        upload = {
            "filePattern": "small",
            "destination": {"container": {"containerUrl": out.signed}},
            "uploadOptions": {"uploadCondition": "taskcompletion"},
        }
        script = "echo precious > small; cat /dev/zero > big"
        lote.add_tasks({"t": {"commandLine": sh(script), "outputFiles": [upload]}})
        ended = lote.wait_for_end("t")
        assert ended["failureInfo"]["code"] == "FailureExitCode"
        assert lote.fetch("GET", out.blob("small")).body == b"precious\n"
        until(lambda: node_errors(lote), "the node is shown unusable")
        lote.call("delete_task", job_id="j", task_id="t")  # its directory goes with it
        lote.wait_for_pool(nodes=1)


def test_blob_storage_on_a_full_disk():
    with service_on("blobs", "16m") as lote:
        out = lote.add_container("out")
        assert lote.fetch("PUT", out.blob("before"), bytes(MIB)).status == 201
        lote.add_pool(nodes=1, slots=1)
        lote.add_job()
        filler = fill(lote.data / "blobs")
        reply = lote.fetch("PUT", out.blob("big"), bytes(MIB))
        assert (reply.status, reply.headers["x-ms-error-code"]) == (507, "InternalError")
        assert b"full" in reply.body
        until(lambda: lote.fetch("PUT", out.blob("small"), b"x" * 5000).status == 507)
        upload = {
            "filePattern": "made",
            "destination": {"container": {"containerUrl": out.signed}},
            "uploadOptions": {"uploadCondition": "taskcompletion"},
        }
        task = {"commandLine": sh("head -c 200000 /dev/zero > made"), "outputFiles": [upload]}
        lote.add_tasks({"t": task})  # the account's own disk has room
        ended = lote.wait_for_end("t")
        assert ended["failureInfo"]["code"] == "FileUploadMiscError"
        assert ended["failureInfo"]["category"] == "servererror"
        assert lote.fetch("GET", out.blob("before")).body == bytes(MIB)
        assert lote.fetch("GET", out.blob("big")).status == 404
        clear(filler)
        assert lote.fetch("PUT", out.blob("big"), bytes(MIB)).status == 201
        lote.add_tasks({"again": task})
        assert lote.wait_for_end("again")["result"] == "success"


def test_a_database_that_may_only_be_read():
    with contextlib.ExitStack() as mounts, lote_service(is_started=False) as lote:
        mounts.callback(shutil.rmtree, lote.folder, ignore_errors=True)  # once unmounted
        mounts.enter_context(image_disk(lote.data, 64))
        nodes = lote.folder / "node-disk"
        nodes.mkdir(mode=0o711)
        (lote.data / "nodes").symlink_to(nodes)
        lote.start()
        lote.add_job(pool_id="none")
        assert add(lote, "before").status == 201
        with unwritable(lote.data / "account.db", lote.data / "account.db-wal"):
            for _ in range(3):
                refused = add(lote, "during")
                assert (refused.status, refused.code) == (503, "ServerBusy")
            assert lote.ask("GET", "/jobs/j/tasks/before").status == 200
        until(lambda: add(lote, "after").status == 201, "no restart is needed")
        assert lote.stop() == 0

        remount(lote.data, "ro")
        before = lote.log.stat().st_size
        assert lote.spawn().wait(30) == 1
        said = lote.log.read_text()[before:]
        assert "Read-only file system" in said
        assert "Traceback" not in said
        remount(lote.data, "rw")
        lote.start()
        names = {task["id"] for task in lote.client.each("list_tasks", {"job_id": "j"})}
        assert names == {"before", "after"}


@contextlib.contextmanager
def unwritable(*paths: Path) -> Iterator[None]:
    try:
        for path in paths:
            set_writable(path, allowed=False)
        yield
    finally:
        for path in paths:
            subprocess.run(["chattr", "-i", str(path)], check=False)
