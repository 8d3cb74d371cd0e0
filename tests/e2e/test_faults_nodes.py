"""Agents, spawners and tasks are killed or stopped: their tasks run elsewhere, the pool heals."""

from __future__ import annotations

import os
import signal

import pytest
from harness import Ledger, Lote, lote_service, sh, until

from lote.engines.local import STOP_GRACE_S
from lote.engines.process import read_stat


def busy_pool(lote: Lote, ledger: Ledger) -> None:
    """A pool of two nodes on which short and long tasks run; the long ones end when told."""
    lote.add_pool(nodes=2, slots=2)
    lote.add_job()
    wait = f"until test -e {lote.folder}/go; do sleep 0.05; done"
    lote.add_tasks({f"long{n}": ledger.line(wait) for n in range(4)})
    lote.add_tasks({f"short{n}": ledger.line() for n in range(40)})
    for n in range(4):
        lote.wait_for_state(f"long{n}", "running")
    until(lambda: len(ledger.runs()) == 4, "all slots taken")


def finish(lote: Lote, ledger: Ledger) -> None:
    (lote.folder / "go").touch()
    lote.wait_for_counts(active=0, running=0, succeeded=44)
    with lote.database() as db:
        reruns = {row[0]: row[1] for row in db.execute("SELECT id, reruns FROM task")}
    assert {name: count - 1 for name, count in ledger.runs().items()} == reruns


def node_of(lote: Lote, task_id: str) -> str:
    """The node that runs a task, or ran it."""
    task = until(lambda: lote.task(task_id).get("nodeInfo"), f"{task_id} on a node")
    return str(task["nodeId"])


def test_a_killed_agent_is_shown_lost_and_replaced():
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        busy_pool(lote, ledger)
        victim = node_of(lote, "long0")
        others = {f"long{n}" for n in range(4) if node_of(lote, f"long{n}") == victim}
        os.kill(lote.agents()[victim], signal.SIGKILL)
        seen = until(lambda: lost(lote, victim), "the node is shown lost or gone")
        until(lambda: lote.task_processes(victim) == [], "no process of the dead node")
        nodes = lote.wait_for_pool(nodes=2)
        assert victim not in nodes
        assert victim in lote.events("node_lost")
        assert "killed by signal 9" in str(seen)
        finish(lote, ledger)
        for name in others:
            assert ledger.runs()[name] == 2
            assert node_of(lote, name) != victim
        assert lote.task("long0")["executionInfo"]["requeueCount"] == 0  # no user asked for it


def lost(lote: Lote, node_id: str):
    """The errors of a node that is shown lost."""
    [node] = [one for one in lote.nodes() if one["id"] == node_id]
    return node["state"] == "unusable" and node["errors"]


def test_a_killed_spawner_costs_no_task():
    with lote_service() as lote:
        ledger = Ledger(lote.folder / "runs")
        busy_pool(lote, ledger)
        victim = node_of(lote, "long0")
        before = lote.task_processes(victim)
        os.kill(lote.spawners(victim)[0], signal.SIGKILL)
        until(lambda: not {s.pid for s in before} & {s.pid for s in lote.task_processes()})
        lote.wait_for_pool(nodes=2)
        finish(lote, ledger)


def test_a_killed_task_is_a_failure_of_its_own():
    with lote_service() as lote:
        lote.add_pool(nodes=1, slots=2)
        lote.add_job()
        lote.add_tasks(
            {
                "once": "sleep 600",
                "again": {
                    "commandLine": sh("test -e ../second || { touch ../second; sleep 600; }"),
                    "constraints": {"maxTaskRetryCount": 1},
                },
            }
        )
        lote.wait_for_state("once", "running")
        lote.wait_for_state("again", "running")
        until(lambda: lote.file("second", "again").status == 200, "the first run of `again`")
        for one in lote.task_processes():
            os.kill(one.pid, signal.SIGKILL)
        ended = lote.wait_for_end("once")
        assert (ended["result"], ended["exitCode"]) == ("failure", -9)
        assert ended["failureInfo"]["code"] == "FailureExitCode"
        ended = lote.wait_for_end("again")
        assert (ended["result"], ended["exitCode"], ended["retryCount"]) == ("success", 0, 1)
        assert len(lote.wait_for_pool(nodes=1)) == 1


@pytest.mark.parametrize("is_late", [False, True])
def test_a_node_that_hangs_past_its_grace_changes_nothing_any_more(is_late):
    """``is_late``: the server learns of its return after a restart that knew it as lost."""
    with lote_service("--node-grace-s", "2") as lote:
        ledger = Ledger(lote.folder / "runs")
        out = lote.add_container("out")
        lote.add_pool(nodes=1, slots=1)
        lote.add_job()
        script = (
            f"echo $AZ_BATCH_NODE_ID > who; until test -e {lote.folder}/$AZ_BATCH_NODE_ID;"
            " do sleep 0.05; done"
        )
        upload = {
            "filePattern": "who",
            "destination": {"container": {"containerUrl": out.signed}},
            "uploadOptions": {"uploadCondition": "taskcompletion"},
        }
        lote.add_tasks({"t": {"commandLine": ledger.line(script), "outputFiles": [upload]}})
        until(lambda: ledger.runs()["t"] == 1)
        [victim] = lote.agents()
        pid = lote.agents()[victim]
        os.kill(pid, signal.SIGSTOP)
        (lote.folder / victim).touch()  # its task ends, but nobody can say so
        until(lambda: lost(lote, victim), "the node is shown lost", 20.0)
        until(lambda: ledger.runs()["t"] == 2, "the task runs again, elsewhere")
        second = until(lambda: node_of(lote, "t") != victim and node_of(lote, "t"))
        if is_late:
            lote.kill()
            lote.start()
        (lote.folder / second).touch()
        ended = lote.wait_for_end("t")
        assert ended["result"] == "success"
        os.kill(pid, signal.SIGCONT)
        until(lambda: read_stat(pid) is None or read_stat(pid).dead, "the late agent has ended")
        assert lote.wait_for_pool(nodes=1) == [second]
        assert lote.fetch("GET", out.blob("who")).body.decode().strip() == second
        assert lote.wait_for_end("t") == ended
        assert ledger.runs()["t"] == 2


def test_a_node_that_hangs_holds_up_no_other():
    with lote_service("--node-grace-s", "1") as lote:
        lote.add_pool(nodes=1, slots=1)
        [victim] = lote.agents()
        pid = lote.agents()[victim]
        os.kill(pid, signal.SIGSTOP)
        [other] = until(lambda: able_but(lote, victim), "its replacement")
        begun_s = lote.world.monotonic()
        lote.add_pool("second", nodes=1)
        lote.call("delete_pool", pool_id="second")
        until(lambda: lote.ask("GET", "/pools/second").status == 404)
        assert lote.world.monotonic() - begun_s < STOP_GRACE_S
        assert {one["id"] for one in lote.nodes()} == {other, victim}  # it is not gone yet
        os.kill(pid, signal.SIGCONT)
        assert lote.wait_for_pool(nodes=1) == [other]


def able_but(lote: Lote, node_id: str) -> list[str]:
    """Other nodes that can work."""
    return [one["id"] for one in lote.nodes() if one["id"] != node_id and one["state"] == "idle"]
