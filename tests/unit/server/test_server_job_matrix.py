"""Two requests on a job, one right after the other, while a task of each kind is at work."""

from __future__ import annotations

import itertools

import pytest
from bench import a_task

from lote.domain.job import allows_write, job_refusal
from lote.wire.errors import Refused

SPECIALS = {
    "jobPreparationTask": {"commandLine": "sleep 5"},
    "jobReleaseTask": {"commandLine": "sleep 7"},
}
MANAGER = {"jobManagerTask": a_task("manager", seconds=1000)}
KINDS = {
    "task": ({}, 1),
    "manager": (MANAGER, 1),
    "preparation": (SPECIALS, 2),
    "prepared": (SPECIALS | MANAGER, 8),
    "release": (SPECIALS, 8),
}
OPTIONS = ("requeue", "terminate", "wait")
REQUESTS = {
    **{f"disable {one}": ("disable_job", "disable", {"disableTasks": one}) for one in OPTIONS},
    "enable": ("enable_job", "enable", None),
    "terminate": ("terminate_job", "terminate", None),
    "delete": ("delete_job", "delete", None),
    "patch": ("update_job", "update", {"priority": 5, "onAllTasksComplete": "noaction"}),
    "move": ("update_job", "move_pool", {"poolInfo": {"poolId": "q"}}),
    "put": ("replace_job", "update", {"poolInfo": {"poolId": "p"}}),
    "add": ("create_task", "add_task", a_task("late", seconds=1000)),
}
ENDS, WAITS = {"disable terminate"}, {"disable wait"}
LONG_S = 60  # longer than preparation and release together


def begin(bench, kind):
    """A job with something of this kind at work on one of two nodes."""
    given, after_s = KINDS[kind]
    bench.add_job(**given)
    bench.add_task("t", seconds=1000)
    bench.advance(after_s)
    if kind == "release":
        bench.ask("terminate_job", job_id="j")
        bench.advance(1)


def clear(bench):
    """The job goes, whatever became of it."""
    if state_of(bench) is not None:
        bench.ask("delete_job", job_id="j")
        bench.advance(LONG_S)
    assert state_of(bench) is None


def state_of(bench):
    found = bench.reader.execute("SELECT state FROM job").fetchone()
    return found[0] if found else None


def ask(bench, name):
    """Whether the request is taken: just where the tables say so. Agents may answer meanwhile."""
    operation, event, body = REQUESTS[name]
    before, code = state_of(bench), None
    try:
        bench.ask(operation, body, job_id="j", settled=False)
    except Refused as refused:
        code = refused.code
    allowed, codes = False, set()
    for state in (before, state_of(bench)):
        if state is None:
            codes.add("JobNotFound")
        elif event == "move_pool" and not allows_write(state, "update"):
            codes.add(job_refusal(state, "update"))
        elif allows_write(state, event):
            allowed = True
        else:
            codes.add(job_refusal(state, event))
    assert allowed if code is None else code in codes, (name, before, code)
    return code is None


def rest_of(kind, taken):
    """The state the job comes to rest in after these requests."""
    if "delete" in taken:
        return None
    if kind == "release" or "terminate" in taken:
        return "completed"
    disables = [one for one in taken if one.startswith("disable")]
    if "jobManagerTask" in KINDS[kind][0] and set(disables) in (ENDS, ENDS | WAITS):
        return "completed"  # the manager is ended, and its end is the job's
    if not disables or "enable" in taken:
        return "active"
    return "disabling" if set(disables) == WAITS else "disabled"


@pytest.mark.parametrize("kind", KINDS)
def test_any_two_requests(bench, kind):
    bench.add_pool(nodes=2)
    bench.add_pool("q")
    for pair in itertools.product(REQUESTS, repeat=2):
        if pair == ("add", "add"):
            continue  # it is there
        begin(bench, kind)
        taken = [name for name in pair if ask(bench, name)]
        bench.check()
        bench.advance(LONG_S)
        rest = rest_of(kind, taken)
        if rest is None:
            assert bench.refusal("get_job", job_id="j") == "JobNotFound", pair
        else:
            assert bench.job()["state"] == rest, pair
        nodes = bench.owner.memory.nodes.values()
        if rest not in ("active", "disabling"):
            assert not bench.owner.memory.placed, pair
        if rest in (None, "completed"):
            assert not any(node.specials for node in nodes), pair
        clear(bench)
    bench.check()
