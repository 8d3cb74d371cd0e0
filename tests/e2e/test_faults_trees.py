"""Whatever a task started is gone soon after the task, however it ended and however it hides."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator

import pytest
from harness import Lote, gone, lote_service, sh, until

from lote.engines.process import list_stats, read_command, read_stat

SOON_S = 10.0

_seconds = itertools.count(864_000)


class Brood:
    """A script that leaves daemons, and the means to find them without any mark of ours."""

    def __init__(self) -> None:
        name = f"{next(_seconds)}.{os.getpid()}"  # nobody else sleeps so long
        self._words = ["sleep", name]
        sleep = f"sleep {name}"
        quiet = "</dev/null >/dev/null 2>&1"
        self.script = "\n".join(
            (
                f"{sleep} &",  # a plain child
                f"trap '' TERM HUP INT; {sleep} &",  # deaf to what is polite
                f"setsid -f {sleep} {quiet}",  # of another session
                f"env -i setsid -f setsid -f {sleep} {quiet}",  # and twice forked, without a mark
                "touch ../ready",
            )
        )

    def alive(self) -> list[int]:
        """The daemons that live."""
        return [s.pid for s in list_stats() if read_command(s.pid) == self._words]


@pytest.fixture(scope="module")
def lote() -> Iterator[Lote]:
    with lote_service() as lote:
        lote.add_pool(nodes=1, slots=2)
        yield lote


def start(lote: Lote, job_id: str, pool_id: str = "p") -> Brood:
    """A job with a task that left its daemons and goes on."""
    brood = Brood()
    lote.add_job(job_id, pool_id)
    lote.add_tasks({"t": sh(f"{brood.script}; exec sleep 900")}, job_id)
    until(lambda: lote.file("ready", "t", job_id).status == 200, "daemons")
    assert len(brood.alive()) == 4
    return brood


def all_gone(brood: Brood) -> None:
    until(lambda: not brood.alive(), "no daemon left", SOON_S)


def test_nothing_is_left_of_a_task_that_ended(lote: Lote) -> None:
    brood = Brood()
    lote.add_job("ended")
    lote.add_tasks({"t": sh(f"{brood.script}; exit 3")}, "ended")
    assert lote.wait_for_end("t", "ended")["exitCode"] == 3
    all_gone(brood)


def test_nothing_is_left_beside_a_neighbour_that_goes_on(lote: Lote) -> None:
    neighbour = start(lote, "neighbour")
    brood = Brood()
    lote.add_job("beside")
    lote.add_tasks({"t": sh(f"{brood.script}; exit 0")}, "beside")
    lote.wait_for_end("t", "beside")
    all_gone(brood)
    assert len(neighbour.alive()) == 4
    lote.call("terminate_job", job_id="neighbour")
    all_gone(neighbour)


WAYS: dict[str, Callable[[Lote, str], object]] = {
    "terminate_task": lambda lote, job: lote.call("terminate_task", job_id=job, task_id="t"),
    "delete_task": lambda lote, job: lote.call("delete_task", job_id=job, task_id="t"),
    "terminate_job": lambda lote, job: lote.call("terminate_job", job_id=job),
    "delete_job": lambda lote, job: lote.call("delete_job", job_id=job),
    "disable_job": lambda lote, job: lote.call(
        "disable_job", {"disableTasks": "requeue"}, job_id=job
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_nothing_is_left_of_a_task_that_was_ended_by(lote: Lote, way: str) -> None:
    brood = start(lote, way)
    WAYS[way](lote, way)
    all_gone(brood)


def test_nothing_is_left_of_a_task_that_was_too_long(lote: Lote) -> None:
    brood = Brood()
    lote.add_job("long")
    task = {
        "commandLine": sh(f"{brood.script}; exec sleep 900"),
        "constraints": {"maxWallClockTime": "PT0.5S"},
    }
    lote.add_tasks({"t": task}, "long")
    ended = lote.wait_for_end("t", "long")
    assert ended["failureInfo"]["code"] == "TaskEnded"
    all_gone(brood)


def test_nothing_is_left_of_a_deleted_pool(lote: Lote) -> None:
    lote.add_pool("deleted", nodes=1, slots=1)
    brood = start(lote, "homeless", "deleted")
    lote.call("delete_pool", pool_id="deleted")
    all_gone(brood)
    until(lambda: lote.ask("GET", "/pools/deleted").status == 404, "the pool is gone")
    assert lote.task("t", "homeless")["state"] == "active"


@pytest.mark.parametrize("victim", ["agent", "spawner", "agent above a hanging spawner"])
def test_nothing_is_left_of_a_node_whose_process_was_killed(lote: Lote, victim: str) -> None:
    pool_id = victim.replace(" ", "-")
    lote.add_pool(pool_id, nodes=1, slots=1)
    brood = start(lote, pool_id, pool_id)
    [node] = lote.nodes(pool_id)
    before = set(brood.alive())
    spawners = [one for one in map(read_stat, lote.spawners(node["id"])) if one]
    if "hanging" in victim:
        for one in spawners:
            os.kill(one.pid, signal.SIGSTOP)
    pids = [s.pid for s in spawners] if victim == "spawner" else [lote.agents()[node["id"]]]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    until(lambda: not before & set(brood.alive()), "no daemon of the first run", SOON_S)
    until(lambda: gone(spawners), "no spawner of the first life", SOON_S)
    lote.call("delete_job", job_id=pool_id)
    all_gone(brood)
    lote.call("delete_pool", pool_id=pool_id)
