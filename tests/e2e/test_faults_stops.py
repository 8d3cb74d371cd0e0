"""Stopping in good order, leaving nodes at work, and a second server on the same folder."""

from __future__ import annotations

import contextlib
import random
import subprocess

from harness import Ledger, Lote, lote_service, pool_body, sh, until

from lote.cli.ready import Ready


def ports(ready: Ready) -> tuple[str | None, ...]:
    """Everything clients and agents remember of a service."""
    assert ready.storage is not None
    batch, storage = ready.batch, ready.storage
    return (
        batch.endpoint,
        batch.tls_endpoint,
        batch.key,
        storage.blob_endpoint,
        storage.tls_blob_endpoint,
    )


def busy(lote: Lote, ledger: Ledger) -> None:
    """Four tasks that run until told, and forty behind them."""
    lote.add_pool(nodes=2, slots=2)
    lote.add_job()
    wait = f"until test -e {lote.folder}/go; do sleep 0.05; done"
    lote.add_tasks({f"long{n}": ledger.line(wait) for n in range(4)})
    lote.add_tasks({f"short{n}": ledger.line() for n in range(40)})
    until(lambda: len(ledger.runs()) == 4, "all slots taken")
    for n in range(4):
        lote.wait_for_state(f"long{n}", "running")


def test_a_stop_ends_the_nodes_and_a_start_brings_them_back():
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        busy(lote, ledger)
        assert lote.ready is not None
        before, names = ports(lote.ready), set(lote.agents())
        processes = lote.everything()
        assert lote.stop() == 0
        assert lote.agents() == {}
        assert lote.task_processes() == []
        assert len(processes) > 8
        lote.check_record()
        assert not (lote.data / "ready.json").exists()
        lote.start()
        assert ports(lote.ready) == before
        assert set(lote.wait_for_pool()) == names
        until(lambda: sum(ledger.runs().values()) == 8, "the tasks run again")
        (lote.folder / "go").touch()
        lote.wait_for_counts(active=0, running=0, succeeded=44)
        assert ledger.runs() == {f"long{n}": 2 for n in range(4)} | {
            f"short{n}": 1 for n in range(40)
        }
        with lote.database() as db:
            rows = db.execute("SELECT id FROM task WHERE reruns <> (id LIKE 'long%')")
            assert [row[0] for row in rows] == []


def test_nodes_that_are_left_work_on_and_tell_later():
    with lote_service("--leave-nodes") as lote:
        ledger = Ledger(lote.folder / "runs")
        busy(lote, ledger)
        agents = lote.agents()
        assert lote.stop() == 0
        assert lote.agents() == agents
        assert len(lote.task_processes()) >= 4
        (lote.folder / "go").touch()
        until(lambda: lote.task_processes() == [], "they end with no server to tell")
        done = ledger.runs()
        assert set(done) >= {f"long{n}" for n in range(4)}
        lote.flags = ()
        lote.start()
        lote.wait_for_counts(active=0, running=0, succeeded=44)
        assert lote.agents() == agents
        assert set(ledger.runs().values()) == {1}
        with lote.database() as db:
            rows = db.execute("SELECT id FROM task WHERE reruns OR requeues")
            assert [row[0] for row in rows] == []
        lote.wait_for_pool()


def test_a_second_server_on_the_folder_refuses_and_harms_nothing():
    with lote_service() as lote:
        lote.add_pool(nodes=1, slots=1)
        agents, ready = lote.agents(), (lote.data / "ready.json").read_bytes()
        marker = lote.folder / "second.json"
        second = lote.spawn("--ready-file", str(marker))
        assert second.wait(30) not in (0, None)
        assert f"pid {lote.pid}" in lote.said()
        assert str(lote.data) in lote.said()
        assert "Traceback" not in lote.said()
        assert not marker.exists()
        assert (lote.data / "ready.json").read_bytes() == ready
        assert lote.agents() == agents
        lote.add_job()
        lote.add_tasks({"t": "/bin/true"})
        assert lote.wait_for_end("t")["result"] == "success"


def test_ports_and_keys_outlive_a_kill():
    with lote_service() as lote:
        assert lote.ready is not None
        before = ports(lote.ready)
        for _ in range(2):
            lote.kill()
            lote.start()
            assert ports(lote.ready) == before


def test_a_first_start_may_be_killed_at_any_moment():
    chance = random.Random(5)
    with lote_service(is_started=False) as lote:
        for _ in range(4):
            process = lote.spawn()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.random() * 0.8)
            process.kill()
            process.wait()
        lote.start()
        lote.add_pool(nodes=1, slots=1)
        lote.add_job()
        lote.add_tasks({"t": "/bin/true"})
        assert lote.wait_for_end("t")["result"] == "success"


def test_a_start_task_runs_once_although_the_server_dies_meanwhile():
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        wait = f"echo start >> {ledger.path}; until test -e {lote.folder}/go; do sleep 0.05; done"
        start_task = {"commandLine": sh(wait), "waitForSuccess": True}
        lote.call("create_pool", pool_body("p", nodes=1) | {"startTask": start_task})
        until(lambda: ledger.runs()["start"] == 1)
        for _ in range(2):
            lote.kill()
            lote.start()
            until(lambda: node_state(lote) == "waitingforstarttask")
        lote.kill()
        (lote.folder / "go").touch()
        until(lambda: lote.task_processes() == [], "it ends with no server to tell")
        lote.start()
        lote.wait_for_pool(nodes=1)
        assert ledger.runs() == {"start": 1}
        [node] = lote.nodes()
        assert node["startTaskInfo"]["result"] == "success"


def node_state(lote: Lote) -> str:
    [node] = lote.nodes()
    return str(node["state"])
