"""What a container crew is asked to do for a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lote.agent.container_orders import order_of
from lote.agent.container_words import Begin, Mount
from lote.agent.environment import make_base
from lote.agent.instance import WORKING, Role
from lote.agent.layout import Layout
from lote.agent.task_spec import decode_task
from lote.agent.work import Work
from lote.wire.frames import JobFacts, Registry, Run

POOLS = [Registry("r.io", "pool", "pa55")]


def ordered(
    layout: Layout,
    *,
    preparation_id: str = "",
    variables: tuple[tuple[str, str], ...] = (),
    task: dict[str, Any] | None = None,
    role: Role | None = None,
    **settings: object,
) -> Begin:
    spec = {"id": "t", "commandLine": "x", "containerSettings": {"imageName": "i", **settings}}
    raw = json.dumps(spec | (task or {})).encode()
    job = JobFacts(7, "j", "workitems/j/job-1", list(variables), 0, preparation_id)
    work = Work(Run(3, 2, 7, 0, raw, "token"), job, decode_task(raw), f"{layout.root}/w/t", role)
    work.user = (64000, 64001, "me")
    base = make_base(job.environment, {"AZ_BATCH_NODE_ID": "n"}, job.job_id)
    return order_of(work, 3, base, layout, POOLS)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path))


def test_all_of_the_root_and_the_own_variables(layout):
    order = ordered(layout, registry={"username": "own"})
    assert (order.key, order.run, order.image) == (3, 2, "i")
    assert order.mounts == [Mount(layout.root)]
    assert order.working_directory == f"{layout.root}/w/t/wd"
    assert order.registries == [Registry("docker.io", "own", ""), *POOLS]
    assert order.variables == {
        b"HOME": f"{layout.root}/w/t/wd".encode(),
        b"AZ_BATCH_NODE_ID": b"n",
        b"AZ_BATCH_JOB_ID": b"j",
        b"AZ_BATCH_TASK_ID": b"t",
        b"AZ_BATCH_TASK_DIR": f"{layout.root}/w/t".encode(),
        b"AZ_BATCH_TASK_WORKING_DIR": f"{layout.root}/w/t/wd".encode(),
        b"AZ_BATCH_AUTHENTICATION_TOKEN": b"token",
    }


def test_what_job_and_task_set_goes_before_the_image(layout):
    own = {"environmentSettings": [{"name": "USER", "value": "me"}, {"name": "EMPTY"}]}
    order = ordered(layout, variables=(("PATH", "/job"), ("LOGNAME", "l")), task=own)
    names = (b"PATH", b"USER", b"LOGNAME", b"EMPTY")
    assert [order.variables[name] for name in names] == [b"/job", b"me", b"l", b""]


def test_parts_of_the_root(layout):
    wanted = [
        {"source": source, "isReadOnly": source == "Startup"}
        for source in ("Task", "Shared", "Startup", "VfsMounts", "Applications", "JobPrep")
    ]
    order = ordered(layout, containerHostBatchBindMounts=wanted, preparation_id="prep")
    root = layout.root
    assert order.mounts == [
        Mount(f"{root}/w/t"),
        Mount(f"{root}/shared"),
        Mount(f"{root}/startup", is_read_only=True),
        Mount(f"{root}/fsmounts"),
        Mount(f"{root}/applications"),
        Mount(f"{root}/workitems/j/job-1/prep"),
    ]
    assert order.working_directory == f"{root}/w/t/wd"


def test_a_task_that_does_not_see_its_directory_works_where_the_image_says(layout):
    for wanted in ([], [{"source": "Shared"}], [{"source": "JobPrep"}]):
        order = ordered(layout, containerHostBatchBindMounts=wanted)
        assert order.working_directory is None
        assert b"HOME" not in order.variables
    assert order.mounts == []  # nothing was prepared
    assert ordered(layout, workingDirectory="containerImageDefault").working_directory is None


def test_an_instance_begins_with_its_coordination_and_knows_the_others(layout):
    multi = {"numberOfInstances": 2, "coordinationCommandLine": "meet"}
    role = Role(1, [("10.0.0.4", 2), ("10.0.0.5", 2)])
    order = ordered(layout, task={"multiInstanceSettings": multi}, role=role)
    assert (order.command_line, order.is_instance) == ("meet", True)
    assert order.variables[b"AZ_BATCH_HOST_LIST"] == b"10.0.0.4,10.0.0.5"
    assert order.variables[b"AZ_BATCH_IS_CURRENT_NODE_MASTER"] == b"false"
    assert order.variables[b"LOTE_NODE_ADDRESS"] == b"10.0.0.5"
    role.stage = WORKING
    working = ordered(layout, task={"multiInstanceSettings": multi}, role=role)
    assert working.command_line == "x"
    assert not ordered(layout).is_instance
