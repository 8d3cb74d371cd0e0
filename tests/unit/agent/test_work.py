"""What a run keeps of its attempts, and whom a changed limit concerns."""

from __future__ import annotations

import json

import pytest

from lote.agent.instance import Role
from lote.agent.task_spec import TaskSpec, decode_task
from lote.agent.work import Work
from lote.wire.frames import JobFacts, Run

JOB = JobFacts(1, "j", "workitems/j/job-1", [], 0)
HOSTS = [("127.0.0.1", 1), ("127.0.0.2", 1)]


def spec_of(**members: object) -> TaskSpec:
    return decode_task(json.dumps({"id": "t", "commandLine": "true"} | members).encode())


def a_work(role: Role | None = None) -> Work:
    return Work(Run(1, 1, 1, 0, b"{}"), JOB, spec_of(), "/t", role)


def test_use_is_that_of_all_attempts():
    work = a_work()
    work.add_use(0.5, 0.25, 3, 4)
    work.add_use(1.0, 0.25, 3, 4)
    assert (work.user_us, work.kernel_us) == (1_500_000, 500_000)
    assert (work.read_blocks, work.write_blocks) == (6, 8)


def test_use_is_unknown_once_an_attempt_was_not_measured():
    work = a_work()
    for used in ((0.5, 0.25, None, None), (None, None, None, 4), (0.5, 0.25, 3, 4)):
        work.add_use(*used)
    assert (work.user_us, work.kernel_us) == (None, None)
    assert (work.read_blocks, work.write_blocks) == (None, None)


@pytest.mark.parametrize(
    ("role", "limit_s"), [(None, 2.0), (Role(0, HOSTS), 2.0), (Role(1, HOSTS), None)]
)
def test_a_changed_limit_concerns_no_subtask(role, limit_s):
    work = a_work(role)
    work.amend(spec_of(constraints={"maxWallClockTime": "PT2S"}))
    assert work.limit_s == limit_s
