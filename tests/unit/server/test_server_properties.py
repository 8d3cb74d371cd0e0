"""What is said to become of a property is what becomes of it when a client sends it."""

from __future__ import annotations

from typing import Any

import pytest
from bench import a_job, a_pool, a_task

from lote.wire.errors import Refused
from lote.wire.job import JobCreate, JobManagerTask
from lote.wire.pool import PoolCreate, PoolSpecification
from lote.wire.properties import DONE, GROUPS, LATER, RECORDED, REFUSED, fates
from lote.wire.task import TaskCreate
from lote.wire.vm import VirtualMachineConfiguration
from whole_bodies import part, whole_job, whole_pool, whole_task

FATES = {row.struct: fates(row) for rows in GROUPS.values() for row in rows}
# Properties that are nothing by themselves, and how they are sent.
TOGETHER: dict[str, dict[str, Any]] = {
    "autoScaleFormula": part("auto_scale"),
    "autoScaleEvaluationInterval": part("auto_scale"),
    "enableAutoScale": part("auto_scale"),
    "jobReleaseTask": {
        name: part("special_tasks")[name] for name in ("jobReleaseTask", "jobPreparationTask")
    },
    "jobPreparationTask": {"jobPreparationTask": {"commandLine": "true"}},
    "jobManagerTask": {"jobManagerTask": {"id": "m", "commandLine": "true"}},
    "cloudServiceConfiguration": {
        "cloudServiceConfiguration": {"osFamily": "6"},
        "virtualMachineConfiguration": None,
    },
    "maxTasksPerNode": {"maxTasksPerNode": 1},
    # a subnet, and a certificate, that there cannot be or is not
    "networkConfiguration": {"networkConfiguration": {"subnetId": "/subscriptions/x"}},
    "serviceArtifactReference": {"serviceArtifactReference": {"id": "/subscriptions/x"}},
    "certificateReferences": {"certificateReferences": []},
    "poolInfo": {"poolInfo": {"poolId": "p"}},
}
POOL, JOB, TASK = whole_pool(), whole_job(), whole_task()
NEVER_YET = {"NotImplemented", "InvalidApplicationPackageReferences"}


def sent(whole: dict[str, Any], name: str) -> dict[str, Any]:
    if name in TOGETHER:
        return TOGETHER[name]
    return {name: whole[name]} if name in whole else {}


def became(bench: Any, operation: str, body: dict[str, Any], **params: str) -> str:
    """The fate of a body: refused for now, for ever, or taken."""
    try:
        bench.ask(operation, body, settled=False, **params)
    except Refused as refused:
        return LATER if refused.code in NEVER_YET else REFUSED
    return DONE


def check(fate: str, seen: str) -> None:
    assert seen == (DONE if fate == RECORDED else fate)


@pytest.mark.parametrize(("name", "fate"), FATES[PoolCreate].items())
def test_pools(bench, name, fate):
    members = {} if name == "networkConfiguration" else sent(POOL, name)
    body = a_pool(nodes=0)
    if "autoScaleFormula" in members:
        del body["targetDedicatedNodes"]
    if name == "startTask":
        members = {"startTask": part("pool")["startTask"]}
    if name == "virtualMachineConfiguration":
        members = {name: part("pool")[name]}
    check(fate, became(bench, "create_pool", body | members))


@pytest.mark.parametrize(("name", "fate"), FATES[VirtualMachineConfiguration].items())
def test_machines(bench, name, fate):
    machine = a_pool()["virtualMachineConfiguration"]
    if name == "windowsConfiguration":
        machine["nodeAgentSKUId"] = "batch.node.windows amd64"
    whole = POOL["virtualMachineConfiguration"]
    body = a_pool(nodes=0, virtualMachineConfiguration=machine | sent(whole, name))
    check(fate, became(bench, "create_pool", body))


@pytest.mark.parametrize(("name", "fate"), FATES[JobCreate].items())
def test_jobs(bench, name, fate):
    check(fate, became(bench, "create_job", a_job() | sent(JOB, name) | {"id": "j"}))


@pytest.mark.parametrize(("name", "fate"), FATES[JobManagerTask].items())
def test_job_managers(bench, name, fate):
    whole = JOB["jobManagerTask"]
    manager = {"id": "m", "commandLine": "true"} | sent(whole, name)
    check(fate, became(bench, "create_job", a_job(jobManagerTask=manager)))


@pytest.mark.parametrize(("name", "fate"), FATES[PoolSpecification].items())
def test_auto_pools(bench, name, fate):
    spec = a_pool(nodes=0)
    del spec["id"]
    members = {} if name == "networkConfiguration" else sent(POOL, name)
    if "autoScaleFormula" in members:
        del spec["targetDedicatedNodes"]
    if name == "startTask":
        members = {name: part("pool")[name]}
    if name == "virtualMachineConfiguration":
        members = {name: part("pool")[name]}
    auto_pool = {"poolLifetimeOption": "job", "pool": spec | members}
    seen = became(bench, "create_job", a_job(poolInfo={"autoPoolSpecification": auto_pool}))
    if seen == DONE and "schedulingError" in bench.job()["executionInfo"]:
        seen = LATER
    check(fate, seen)


@pytest.mark.parametrize(("name", "fate"), FATES[TaskCreate].items())
def test_tasks(bench, name, fate):
    bench.add_job(usesTaskDependencies=True, onTaskFailure="performexitoptionsjobaction")
    body = a_task("t") | sent(TASK, name) | {"id": "t"}
    check(fate, became(bench, "create_task", body, job_id="j"))
