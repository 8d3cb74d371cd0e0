"""Every limit: what lies on it is taken, what lies one beyond it is refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from lote.wire import check_certificates, check_jobs, check_nodes, check_pools, check_tasks
from lote.wire.decode import decode
from lote.wire.errors import Refused
from lote.wire.job import JobCreate
from lote.wire.job_schedule import JobScheduleCreate
from lote.wire.legacy import CertificateCreate
from lote.wire.node import NodeRemove, NodeUserCreate, UploadBatchServiceLogs
from lote.wire.pool import PoolCreate, PoolEnableAutoScale, PoolResize
from lote.wire.task import TaskCreate
from lote.wire.task_groups import decode_task_group

MACHINE = {
    "nodeAgentSKUId": "batch.node.ubuntu 22.04",
    "imageReference": {"publisher": "canonical", "offer": "o", "sku": "s"},
}
POOL = {"id": "p", "vmSize": "standard_d2_v2", "virtualMachineConfiguration": MACHINE}
JOB = {"id": "j", "poolInfo": {"poolId": "p"}}
TASK = {"id": "t", "commandLine": "x"}
SCHEDULE = {"id": "s", "schedule": {}, "jobSpecification": {"poolInfo": {"poolId": "p"}}}
NAT_POOL = {"name": "a", "protocol": "tcp", "backendPort": 22,
            "frontendPortRangeStart": 1000, "frontendPortRangeEnd": 1039}  # fmt: skip
CERTIFICATE = {"thumbprint": "0" * 40, "thumbprintAlgorithm": "sha1", "data": "AAAA"}


class Limit(NamedTuple):
    """A member, its value on the limit, and one beyond."""

    name: str
    fits: Any
    breaks: Any
    code: str = "InvalidPropertyValue"
    refused: str | None = None  # the name in the refusal, where it is another
    base: dict[str, Any] = POOL
    struct: type = PoolCreate
    check: Callable[[Any], None] = check_pools.check_pool


def of_job(*row: Any, **more: Any) -> Limit:
    return Limit(*row, base=JOB, struct=JobCreate, check=check_jobs.check_job, **more)


def of_task(*row: Any, **more: Any) -> Limit:
    return Limit(*row, base=TASK, struct=TaskCreate, check=check_tasks.check_task, **more)


def of_schedule(*row: Any, **more: Any) -> Limit:
    check = check_jobs.check_job_schedule
    return Limit(*row, base=SCHEDULE, struct=JobScheduleCreate, check=check, **more)


def nat_pools(*several: dict[str, Any]) -> list[dict[str, Any]]:
    return [NAT_POOL | one for one in several]


def rules(priorities: range) -> list[dict[str, Any]]:
    return [{"priority": n, "access": "Allow", "sourceAddressPrefix": "*"} for n in priorities]


def certificates(count: int) -> list[dict[str, Any]]:
    return [{"thumbprint": f"{n:040x}", "thumbprintAlgorithm": "sha1"} for n in range(count)]


NAT = "networkConfiguration.endpointConfiguration.inboundNATPools"
ROLLING = "upgradePolicy.rollingUpgradePolicy"
RELEASE = "jobReleaseTask.maxWallClockTime"
START = {"commandLine": "x" * (32_768 - len('{"commandLine":""}'))}
LIMITS = [
    Limit("id", "x" * 64, "x" * 65),
    Limit("id", "Aa0_-", "Aa0_-."),
    Limit("displayName", "x" * 1024, "x" * 1025),
    Limit("resizeTimeout", "PT5M", "PT4M59.999S"),
    Limit("targetDedicatedNodes", 0, -1),
    Limit("targetLowPriorityNodes", 0, -1),
    Limit("taskSlotsPerNode", 1, 0),
    Limit("taskSlotsPerNode", 256, 257),
    Limit("maxTasksPerNode", 256, 257),
    Limit("applicationPackageReferences", [{"applicationId": "a"}] * 10,
          [{"applicationId": "a"}] * 11),
    Limit("userAccounts", [{"name": "x" * 20, "password": "p"}],
          [{"name": "x" * 21, "password": "p"}], refused="userAccounts[0].name"),
    Limit("startTask", START, {"commandLine": START["commandLine"] + "x"},
          "RequestEntityTooLarge"),
    Limit("startTask.maxTaskRetryCount", -1, -2),
    Limit("metadata", [{"name": "a", "value": ""}], [{"name": "", "value": ""}],
          "EmptyMetadataKey", "metadata[0].name"),
    Limit("virtualMachineConfiguration.dataDisks", [{"lun": 0, "diskSizeGB": 1}],
          [{"lun": -1, "diskSizeGB": 1}], refused="virtualMachineConfiguration.dataDisks[0].lun"),
    Limit("virtualMachineConfiguration.dataDisks", [{"lun": 63, "diskSizeGB": 1}],
          [{"lun": 64, "diskSizeGB": 1}], refused="virtualMachineConfiguration.dataDisks[0].lun"),
    Limit("virtualMachineConfiguration.dataDisks", [{"lun": 0, "diskSizeGB": 1}],
          [{"lun": 0, "diskSizeGB": 0}],
          refused="virtualMachineConfiguration.dataDisks[0].diskSizeGB"),
    Limit("virtualMachineConfiguration.osDisk.diskSizeGB", 1, 0),
    Limit("mountConfiguration",
          [{"nfsMountConfiguration": {"source": "s", "relativeMountPath": f"m{n}"}}
           for n in range(10)],
          [{"nfsMountConfiguration": {"source": "s", "relativeMountPath": f"m{n}"}}
           for n in range(11)]),
    Limit(NAT, nat_pools({"name": "x" * 77}), nat_pools({"name": "x" * 78}),
          refused=NAT + "[0].name"),
    Limit(NAT, nat_pools({"backendPort": 1}), nat_pools({"backendPort": 0}),
          refused=NAT + "[0].backendPort"),
    Limit(NAT, nat_pools({"backendPort": 65_535}), nat_pools({"backendPort": 65_536}),
          refused=NAT + "[0].backendPort"),
    Limit(NAT, nat_pools({"backendPort": 29_875}), nat_pools({"backendPort": 29_876}),
          refused=NAT + "[0].backendPort"),
    Limit(NAT, nat_pools({"backendPort": 29_878}), nat_pools({"backendPort": 29_877}),
          refused=NAT + "[0].backendPort"),
    Limit(NAT, nat_pools({"frontendPortRangeStart": 1}), nat_pools({"frontendPortRangeStart": 0}),
          refused=NAT + "[0].frontendPortRangeStart"),
    Limit(NAT, nat_pools({"frontendPortRangeStart": 60_000, "frontendPortRangeEnd": 65_534}),
          nat_pools({"frontendPortRangeStart": 60_000, "frontendPortRangeEnd": 65_535}),
          refused=NAT + "[0].frontendPortRangeEnd"),
    Limit(NAT, nat_pools({"frontendPortRangeEnd": 49_999}),
          nat_pools({"frontendPortRangeEnd": 50_000}),
          refused=NAT + "[0].frontendPortRangeStart"),
    Limit(NAT, nat_pools({"frontendPortRangeStart": 55_001, "frontendPortRangeEnd": 60_000}),
          nat_pools({"frontendPortRangeStart": 55_000, "frontendPortRangeEnd": 60_000}),
          refused=NAT + "[0].frontendPortRangeStart"),
    Limit(NAT, nat_pools({"frontendPortRangeEnd": 1039}), nat_pools({"frontendPortRangeEnd": 1038}),
          refused=NAT + "[0].frontendPortRangeEnd"),
    Limit(NAT,
          nat_pools({}, {"name": "b", "backendPort": 23, "frontendPortRangeStart": 1040,
                         "frontendPortRangeEnd": 1079}),
          nat_pools({}, {"name": "b", "backendPort": 23, "frontendPortRangeStart": 1039,
                         "frontendPortRangeEnd": 1079}),
          refused=NAT + "[1].frontendPortRangeStart"),
    Limit(NAT,
          nat_pools(*({"name": f"n{n}", "backendPort": 10 + n,
                       "frontendPortRangeStart": 1000 + 100 * n,
                       "frontendPortRangeEnd": 1099 + 100 * n} for n in range(5))),
          nat_pools(*({"name": f"n{n}", "backendPort": 10 + n,
                       "frontendPortRangeStart": 1000 + 100 * n,
                       "frontendPortRangeEnd": 1099 + 100 * n} for n in range(6)))),
    Limit(NAT, nat_pools({"networkSecurityGroupRules": rules(range(150, 175))}),
          nat_pools({"networkSecurityGroupRules": rules(range(150, 176))})),
    Limit(NAT, nat_pools({"networkSecurityGroupRules": rules(range(150, 151))}),
          nat_pools({"networkSecurityGroupRules": rules(range(149, 150))}),
          refused=NAT + "[0].networkSecurityGroupRules[0].priority"),
    Limit(NAT, nat_pools({"networkSecurityGroupRules": rules(range(4096, 4097))}),
          nat_pools({"networkSecurityGroupRules": rules(range(4097, 4098))}),
          refused=NAT + "[0].networkSecurityGroupRules[0].priority"),
    Limit(NAT,
          nat_pools({"networkSecurityGroupRules": rules(range(200, 201))},
                    {"name": "b", "backendPort": 23, "frontendPortRangeStart": 2000,
                     "frontendPortRangeEnd": 2100,
                     "networkSecurityGroupRules": rules(range(201, 202))}),
          nat_pools({"networkSecurityGroupRules": rules(range(200, 201))},
                    {"name": "b", "backendPort": 23, "frontendPortRangeStart": 2000,
                     "frontendPortRangeEnd": 2100,
                     "networkSecurityGroupRules": rules(range(200, 201))}),
          refused=NAT + "[1].networkSecurityGroupRules[0].priority"),
    Limit("certificateReferences", certificates(12), certificates(13)),
    Limit("upgradePolicy.mode", "automatic", "never"),
    *(Limit(f"{ROLLING}.{name}", low, low - 1) for name, low in (
        ("maxBatchInstancePercent", 5), ("maxUnhealthyInstancePercent", 5),
        ("maxUnhealthyUpgradedInstancePercent", 0))),
    *(Limit(f"{ROLLING}.{name}", 100, 101) for name in (
        "maxBatchInstancePercent", "maxUnhealthyInstancePercent",
        "maxUnhealthyUpgradedInstancePercent")),
    Limit(f"{ROLLING}.pauseTimeBetweenBatches", "PT0S", "-PT1S"),
    Limit("autoScaleFormula", "x" * 8192, "x" * 8193, "AutoScaleFormulaTooLong",
          base=POOL | {"enableAutoScale": True}),
    Limit("autoScaleEvaluationInterval", "PT5M", "PT4M59S",
          base=POOL | {"enableAutoScale": True, "autoScaleFormula": "x"}),
    Limit("autoScaleEvaluationInterval", "P7D", "P7DT1S",
          base=POOL | {"enableAutoScale": True, "autoScaleFormula": "x"}),
    Limit("autoScaleEvaluationInterval", "P7D", "P7DT0.0000001S", base={},
          struct=PoolEnableAutoScale, check=check_pools.check_enable_auto_scale),
    Limit("autoScaleEvaluationInterval", "PT5M", "PT4M59S", base={}, struct=PoolEnableAutoScale,
          check=check_pools.check_enable_auto_scale),
    Limit("resizeTimeout", "PT5M", "PT299S", base={}, struct=PoolResize,
          check=check_pools.check_resize),
    Limit("targetDedicatedNodes", 2**31 - 1, 2**31, base={}, struct=PoolResize,
          check=check_pools.check_resize),
    Limit("nodeList", ["n"] * 100, ["n"] * 101, base={}, struct=NodeRemove,
          check=check_nodes.check_removal),
    Limit("nodeList", ["n"], [], base={}, struct=NodeRemove, check=check_nodes.check_removal),
    Limit("resizeTimeout", "PT5M", "PT299S", base={"nodeList": ["n"]}, struct=NodeRemove,
          check=check_nodes.check_removal),
    Limit("name", "x" * 20, "x" * 21, base={}, struct=NodeUserCreate,
          check=check_nodes.check_node_user),
    Limit("endTime", "2024-01-01T01:00:00+01:00", "2024-01-01T00:59:59+01:00",
          base={"containerUrl": "https://h/c", "startTime": "2024-01-01T00:00:00Z"},
          struct=UploadBatchServiceLogs, check=check_nodes.check_log_upload),
    Limit("thumbprint", "aF" * 20, "aF" * 20 + "0", base=CERTIFICATE, struct=CertificateCreate,
          check=check_certificates.check_certificate),
    Limit("thumbprintAlgorithm", "SHA1", "sha256", base=CERTIFICATE, struct=CertificateCreate,
          check=check_certificates.check_certificate),
    Limit("data", "AAA=", "AAA", base=CERTIFICATE, struct=CertificateCreate,
          check=check_certificates.check_certificate),
    Limit("data", "AAA=", "", base=CERTIFICATE, struct=CertificateCreate,
          check=check_certificates.check_certificate),
    of_job("id", "x" * 64, ""),
    of_job("displayName", "x" * 1024, "x" * 1025),
    of_job("priority", 1000, 1001),
    of_job("priority", -1000, -1001),
    of_job("maxParallelTasks", 1, 0),
    of_job("maxParallelTasks", -1, -2),
    of_job("constraints.maxTaskRetryCount", -1, -2),
    of_job("constraints.maxWallClockTime", "PT0S", "-PT0.0000001S"),
    of_job("jobReleaseTask", {"commandLine": "x", "maxWallClockTime": "PT15M"},
           {"commandLine": "x", "maxWallClockTime": "PT15M0.0000001S"}, refused=RELEASE),
    of_job("jobManagerTask", {"id": "m", "commandLine": "x", "requiredSlots": 256},
           {"id": "m", "commandLine": "x", "requiredSlots": 257},
           refused="jobManagerTask.requiredSlots"),
    of_schedule("displayName", "x" * 1024, "x" * 1025),
    of_schedule("jobSpecification.displayName", "x" * 1024, "x" * 1025),
    of_schedule("schedule.recurrenceInterval", "PT1M", "PT59S"),
    of_schedule("schedule.startWindow", "PT1M", "PT59S"),
    of_schedule("schedule.doNotRunAfter", "2024-01-01T00:00:00Z", "2023-12-31T23:59:59Z"),
    of_task("id", "x" * 64, "x" * 65),
    of_task("displayName", "x" * 1024, "x" * 1025),
    of_task("requiredSlots", 256, 257),
    of_task("requiredSlots", 1, 0),
    of_task("constraints.maxTaskRetryCount", -1, -2),
    of_task("constraints.retentionTime", "PT0S", "-PT1S"),
    of_task("dependsOn.taskIds", ["x" * 64] * 1000, ["x" * 64] * 1000 + ["y"],
            "TaskDependencyListTooLong"),
    of_task("dependsOn.taskIdRanges", [{"start": 1, "end": 1}], [{"start": 2, "end": 1}],
            refused="dependsOn.taskIdRanges[0].end"),
    of_task("multiInstanceSettings", {"coordinationCommandLine": "c", "numberOfInstances": 1},
            {"coordinationCommandLine": "c", "numberOfInstances": 0},
            refused="multiInstanceSettings.numberOfInstances"),
    of_task("applicationPackageReferences", [{"applicationId": "a", "version": "v" * 64}],
            [{"applicationId": "a", "version": "v" * 65}],
            refused="applicationPackageReferences[0].version"),
    of_task("resourceFiles", [{"httpUrl": "http://h/b", "filePath": "f", "fileMode": "7777"}],
            [{"httpUrl": "http://h/b", "filePath": "f", "fileMode": "17777"}],
            refused="resourceFiles[0].fileMode"),
]  # fmt: skip
ENCLOSING = {
    "schedule.doNotRunAfter": {"schedule": {"doNotRunUntil": "2024-01-01T00:00:00Z"}},
    "jobReleaseTask": {"jobPreparationTask": {"commandLine": "x"}},
    "startTask.maxTaskRetryCount": {"startTask": {"commandLine": "x"}},
    ROLLING: {"upgradePolicy": {"mode": "rolling"}},
}


def body_with(limit: Limit, value: Any) -> bytes:
    """The base with this one member, however deep."""
    body = json.loads(json.dumps(limit.base))
    for place, members in ENCLOSING.items():
        if limit.name.startswith(place):
            body |= json.loads(json.dumps(members))
    holder = body
    *way, last = limit.name.split(".")
    for step in way:
        holder = holder.setdefault(step, {})
    holder[last] = value
    return json.dumps(body).encode()


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: f"{limit.struct.__name__}.{limit.name}")
def test_on_the_limit_and_one_beyond(limit):
    limit.check(decode(body_with(limit, limit.fits), limit.struct))
    with pytest.raises(Refused) as caught:
        limit.check(decode(body_with(limit, limit.breaks), limit.struct))
    values = dict(caught.value.values)
    assert caught.value.code == limit.code
    assert values["PropertyName"] == (limit.refused or limit.name)
    assert values["Reason"]


def test_the_number_of_tasks_in_a_collection():
    def collection(count: int) -> bytes:
        return json.dumps({"value": [TASK] * count}).encode()

    assert len(decode_task_group(collection(100))) == 100
    with pytest.raises(Refused) as caught:
        decode_task_group(collection(101))
    assert dict(caught.value.values)["PropertyName"] == "value"


def test_an_auto_pool_prefix():
    def job(prefix: str) -> JobCreate:
        pool = {name: value for name, value in POOL.items() if name != "id"}
        auto_pool = {"autoPoolIdPrefix": prefix, "poolLifetimeOption": "job", "pool": pool}
        body = {"id": "j", "poolInfo": {"autoPoolSpecification": auto_pool}}
        return decode(json.dumps(body).encode(), JobCreate)

    check_jobs.check_job(job("x" * 20))
    with pytest.raises(Refused) as caught:
        check_jobs.check_job(job("x" * 21))
    name = "poolInfo.autoPoolSpecification.autoPoolIdPrefix"
    assert dict(caught.value.values)["PropertyName"] == name
