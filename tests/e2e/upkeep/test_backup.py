"""`lote backup` of a service that works, and what `lote restore` makes of it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from harness import Container, Ledger, Lote, lote_service, until

from lote.upkeep.manifest import CONTENT_NAME

KEYS = ("keys", "storage_keys")
BLOB_BYTES = 150_000  # more than is kept in a row


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lote.main", *map(str, words)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def backed_up(lote: Lote, name: str = "backup") -> Path:
    target = lote.folder / name
    done = command("backup", target, "--data", lote.data, "-o", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["account"] == "lote"
    return target


def whole(text: str) -> bytes:
    """Content that shows whether it is all there: the sum of a seed, again and again."""
    digest = hashlib.sha256(text.encode()).digest()
    return digest * (BLOB_BYTES // len(digest))


class Churn(threading.Thread):
    """Replaces and deletes blobs, and goes on doing it."""

    def __init__(self, lote: Lote, container: Container) -> None:
        super().__init__()
        self._lote, self._container = lote, container
        self.stop = threading.Event()
        self.rounds = 0

    def run(self) -> None:
        while not self.stop.is_set():
            for name in ("one", "two", "three"):
                url = self._container.blob(name)
                assert self._lote.fetch("PUT", url, whole(f"{name}{self.rounds}")).status == 201
            assert self._lote.fetch("DELETE", self._container.blob("two")).status == 202
            self.rounds += 1


def test_a_working_service_is_backed_up_and_lives_again_elsewhere():
    with lote_service() as lote, lote_service(is_started=False) as second:
        ledger = Ledger(lote.folder / "runs")
        blobs = lote.add_container("blobs")
        for number in range(5):
            url = lote.container("blobs", "rwdl").blob(f"fixed{number}")
            assert lote.fetch("PUT", url, whole(f"fixed{number}")).status == 201
        lote.add_pool(nodes=2, slots=2)
        lote.add_job()
        lote.add_tasks({f"done{n}": "/bin/true" for n in range(50)})
        lote.wait_for_counts(succeeded=50)
        wait = f"until test -e {lote.folder}/go; do sleep 0.05; done"
        lote.add_tasks({f"t{n}": ledger.line(wait) for n in range(8)})
        until(lambda: len(ledger.runs()) == 4, "all slots taken")
        churn = Churn(lote, lote.container("blobs", "rwdl"))
        churn.start()
        try:
            until(lambda: churn.rounds > 2 or not churn.is_alive())
            source = backed_up(lote)
            rounds = churn.rounds
            until(lambda: churn.rounds > rounds or not churn.is_alive(), "no writer was held up")
        finally:
            churn.stop.set()
            churn.join()
        assert not (lote.data / "blobs" / ".backup").exists()
        assert private(source)
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=source, check=True)

        done = command("restore", source, "--data", second.data)
        assert done.returncode == 0, done.stderr
        second.start()  # beside the first one, which has the ports of the backup
        nodes = second.wait_for_pool(nodes=2)
        assert not set(nodes) & set(lote.agents())
        assert second.counts()["succeeded"] == 50
        until(lambda: ledger.runs()["t0"] == 2, "what ran there runs here too, anew")
        assert "account_restored" in {kind for (kind,) in kinds(second)}
        for number in range(5):
            reply = second.fetch("GET", second.container("blobs").blob(f"fixed{number}"))
            assert reply.body == whole(f"fixed{number}")
        for name in ("one", "three"):
            body = second.fetch("GET", second.container("blobs").blob(name)).body
            assert body in {whole(f"{name}{n}") for n in range(churn.rounds)}
        assert second.fetch("PUT", second.container("blobs").blob("new"), b"x").status == 201
        assert lote.fetch("GET", blobs.blob("new")).status == 404  # nothing is shared

        (lote.folder / "go").touch()
        for one in (lote, second):
            one.wait_for_counts(active=0, running=0, succeeded=58)
        assert set(ledger.runs().values()) == {2}  # once for each of the two
        assert len(lote.wait_for_pool(nodes=2)) == 2


def private(source: Path) -> bool:
    """Nobody but the owner may read a backup: it has the keys."""
    modes = {path.stat().st_mode & 0o777 for path in source.rglob("*") if path.is_file()}
    account = json.loads((source / CONTENT_NAME / "account.json").read_text())
    manifest = (source / "manifest.json").read_text()
    shows = any(key in manifest for name in KEYS for key in account[name])
    return source.stat().st_mode & 0o777 == 0o700 and modes == {0o600} and not shows


def kinds(lote: Lote) -> list[tuple[str]]:
    with lote.database() as db:
        return list(db.execute("SELECT kind FROM event"))


def test_agents_of_the_lost_server_are_refused_by_the_restored_one():
    """The folder is lost while agents live on; its backup takes its place, on the same ports."""
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        lote.add_pool(nodes=2, slots=1)
        lote.add_job()
        wait = f"until test -e {lote.folder}/go; do sleep 0.05; done"
        lote.add_tasks({f"t{n}": ledger.line(wait) for n in range(2)})
        until(lambda: len(ledger.runs()) == 2)
        until(lambda: lote.counts()["running"] == 2)
        source = backed_up(lote)
        lote.add_tasks({"late": ledger.line()})  # not in the backup
        before = lote.agents()
        ports = (lote.data / "ports.json").read_bytes()
        lote.kill()
        lost = lote.data.rename(lote.folder / "lost")
        assert command("restore", source, "--data", lote.data).returncode == 0
        (lost / "nodes").rename(lote.data / "nodes")
        lote.start()
        assert (lote.data / "ports.json").read_bytes() == ports
        nodes = lote.wait_for_pool(nodes=2)
        assert not set(nodes) & set(before)
        until(lambda: set(lote.agents()) == set(nodes), "the agents of the lost server ended")
        until(lambda: ledger.runs()["t0"] == 2 == ledger.runs()["t1"])

        def strays():
            known = {one.pid for node in nodes for one in lote.task_processes(node)}
            return [one for one in lote.task_processes() if one.pid not in known]

        until(lambda: not strays(), "no process of the lost server's tasks is left")
        (lote.folder / "go").touch()
        lote.wait_for_counts(active=0, running=0, succeeded=2)
        assert lote.ask("GET", "/jobs/j/tasks/late").status == 404


def test_a_stopped_or_killed_service_is_backed_up_too():
    with lote_service() as lote:
        lote.add_job(pool_id="none")
        lote.add_tasks({"t": "/bin/true"})
        lote.kill()  # what is committed is in the log, which nobody has folded in
        killed = backed_up(lote, "killed")
        lote.start()
        lote.stop()
        stopped = backed_up(lote, "stopped")
        for source in (killed, stopped):
            folder = lote.folder / f"from-{source.name}"
            assert command("restore", source, "--data", folder).returncode == 0
            names = {one.name for one in folder.iterdir()}
            assert {"account.db", "account.json", "blobs", "ports.json", "tls", "tokens"} <= names
            assert ".restore" not in names
        refused = command("restore", stopped, "--data", folder)
        assert refused.returncode == 1
        assert "not empty" in refused.stderr
        lote.start()
        assert lote.task("t")["state"] == "active"
        refused = command("restore", stopped, "--data", lote.data)
        assert refused.returncode == 1
        assert "Another lote server" in refused.stderr
        refused = command("backup", lote.folder / "stopped", "--data", lote.data)
        assert refused.returncode == 1
        assert "not empty" in refused.stderr


def test_a_killed_backup_or_restore_leaves_nothing_that_counts():
    with lote_service() as lote:
        container = lote.add_container("blobs")
        for number in range(40):
            url = container.blob(f"b{number}")
            assert lote.fetch("PUT", url, whole(f"b{number}")).status == 201
        target = lote.folder / "backup"
        kill_when(["backup", target, "--data", lote.data], target.with_name(".backup.part"))
        assert not target.exists()
        source = backed_up(lote)
        assert not target.with_name(".backup.part").exists()
        folder = lote.folder / "restored"
        kill_when(["restore", source, "--data", folder], folder / ".restore")
        started = command("serve", "--data", folder, "--port", "0")
        assert started.returncode == 3
        assert "restore" in started.stderr
        assert command("restore", source, "--data", folder).returncode == 0
        assert len(list((folder / "blobs" / "contents").glob("*/*"))) == 40


def kill_when(words: list[str | Path], path: Path) -> None:
    """Kill a command with SIGKILL as soon as a path is there."""
    process = subprocess.Popen([sys.executable, "-m", "lote.main", *map(str, words)])
    until(lambda: path.exists() or process.poll() is not None, str(path))
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
