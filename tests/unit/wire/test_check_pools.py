"""Rules on pools and requests to nodes, beyond types."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from lote.wire import node, pool
from lote.wire.check_nodes import (
    check_log_upload,
    check_node_user,
    check_node_user_replace,
    check_removal,
)
from lote.wire.check_pools import (
    check_enable_auto_scale,
    check_evaluate_auto_scale,
    check_pool,
    check_pool_replace,
    check_pool_update,
    check_resize,
)
from lote.wire.decode import decode
from lote.wire.errors import Refused

MACHINE = {
    "nodeAgentSKUId": "batch.node.ubuntu 22.04",
    "imageReference": {"publisher": "canonical", "offer": "o", "sku": "s"},
}


def a_pool(**members: Any) -> pool.PoolCreate:
    body = {"id": "p", "vmSize": "standard_d2_v2", "virtualMachineConfiguration": MACHINE}
    return decode(json.dumps({**body, **members}).encode(), pool.PoolCreate)


def a_nat_pool(**members: Any) -> dict[str, Any]:
    return {
        "name": "ssh",
        "protocol": "tcp",
        "backendPort": 22,
        "frontendPortRangeStart": 15000,
        "frontendPortRangeEnd": 15100,
        **members,
    }


def a_network(*nat_pools: dict[str, Any]) -> dict[str, Any]:
    return {"networkConfiguration": {"endpointConfiguration": {"inboundNATPools": nat_pools}}}


def a_rule(priority: int) -> dict[str, Any]:
    return {"priority": priority, "access": "allow", "sourceAddressPrefix": "*"}


ELSEWHERE = {"frontendPortRangeStart": 16000, "frontendPortRangeEnd": 16100}
NFS = {"source": "s", "relativeMountPath": "m"}
BLOB = {"accountName": "a", "containerName": "c", "relativeMountPath": "m"}
SHARE = {"accountName": "a", "azureFileUrl": "u", "relativeMountPath": "m"}


def refusal_of(check: Any, value: Any) -> tuple[str, str | None]:
    with pytest.raises(Refused) as caught:
        check(value)
    return caught.value.code, dict(caught.value.values).get("PropertyName")


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"targetDedicatedNodes": 0, "targetLowPriorityNodes": 5, "resizeTimeout": "PT5M"},
        {"enableAutoScale": True, "autoScaleFormula": "$TargetDedicatedNodes=1;"},
        {
            "enableAutoScale": True,
            "autoScaleFormula": "x" * 8192,
            "autoScaleEvaluationInterval": "P7D",
            "targetDedicatedNodes": 0,
        },
        {"taskSlotsPerNode": 256},
        {"metadata": [{"name": "a", "value": ""}]},
        {"userAccounts": [{"name": "u", "password": "p"}]},
        {"applicationPackageReferences": [{"applicationId": "a"}] * 10},
        {"startTask": {"commandLine": "x", "maxTaskRetryCount": -1}},
        {"mountConfiguration": [{"azureBlobFileSystemConfiguration": {**BLOB, "sasKey": "k"}}]},
        a_network(a_nat_pool(networkSecurityGroupRules=[a_rule(150), a_rule(4096)])),
        {"virtualMachineConfiguration": None, "cloudServiceConfiguration": {"osFamily": "5"}},
        {
            "virtualMachineConfiguration": {
                "nodeAgentSKUId": "a",
                "imageReference": {"publisher": "p", "offer": "o", "sku": "s"},
                "dataDisks": [{"lun": 0, "diskSizeGB": 1}, {"lun": 63, "diskSizeGB": 1}],
            }
        },
    ],
)
def test_good_pools(members: dict[str, Any]):
    check_pool(a_pool(**members))


def with_machine(**members: Any) -> dict[str, Any]:
    return {"virtualMachineConfiguration": {**MACHINE, **members}}


@pytest.mark.parametrize(
    ("members", "code", "name"),
    [
        ({"id": "a b"}, "InvalidPropertyValue", "id"),
        ({"vmSize": ""}, "InvalidPropertyValue", "vmSize"),
        ({"displayName": "x" * 1025}, "InvalidPropertyValue", "displayName"),
        ({"targetDedicatedNodes": -1}, "InvalidPropertyValue", "targetDedicatedNodes"),
        ({"targetLowPriorityNodes": -1}, "InvalidPropertyValue", "targetLowPriorityNodes"),
        ({"resizeTimeout": "PT4M59S"}, "InvalidPropertyValue", "resizeTimeout"),
        ({"taskSlotsPerNode": 0}, "InvalidPropertyValue", "taskSlotsPerNode"),
        ({"taskSlotsPerNode": 257}, "InvalidPropertyValue", "taskSlotsPerNode"),
        ({"maxTasksPerNode": 0}, "InvalidPropertyValue", "maxTasksPerNode"),
        ({"enableAutoScale": True}, "MissingRequiredProperty", "autoScaleFormula"),
        (
            {"enableAutoScale": True, "autoScaleFormula": "x", "targetDedicatedNodes": 1},
            "InvalidPropertyValue",
            "targetDedicatedNodes",
        ),
        ({"autoScaleFormula": "x"}, "InvalidPropertyValue", "autoScaleFormula"),
        (
            {"autoScaleEvaluationInterval": "PT5M"},
            "InvalidPropertyValue",
            "autoScaleEvaluationInterval",
        ),
        (
            {
                "enableAutoScale": True,
                "autoScaleFormula": "x",
                "autoScaleEvaluationInterval": "PT4M",
            },
            "InvalidPropertyValue",
            "autoScaleEvaluationInterval",
        ),
        (
            {
                "enableAutoScale": True,
                "autoScaleFormula": "x",
                "autoScaleEvaluationInterval": "P8D",
            },
            "InvalidPropertyValue",
            "autoScaleEvaluationInterval",
        ),
        (
            {"enableAutoScale": True, "autoScaleFormula": "x" * 8193},
            "AutoScaleFormulaTooLong",
            "autoScaleFormula",
        ),
        ({"metadata": [{"name": " ", "value": ""}]}, "EmptyMetadataKey", "metadata[0].name"),
        (
            {"virtualMachineConfiguration": None},
            "MissingRequiredProperty",
            "virtualMachineConfiguration",
        ),
        (
            {"cloudServiceConfiguration": {"osFamily": "5"}},
            "InvalidPropertyValue",
            "cloudServiceConfiguration",
        ),
        (
            with_machine(nodeAgentSKUId=""),
            "InvalidPropertyValue",
            "virtualMachineConfiguration.nodeAgentSKUId",
        ),
        (
            with_machine(imageReference={"publisher": "p", "offer": "o"}),
            "MissingRequiredProperty",
            "virtualMachineConfiguration.imageReference.sku",
        ),
        (
            with_machine(imageReference={"virtualMachineImageId": "x", "sku": "s"}),
            "InvalidPropertyValue",
            "virtualMachineConfiguration.imageReference.virtualMachineImageId",
        ),
        (
            with_machine(
                imageReference={"virtualMachineImageId": "x", "sharedGalleryImageId": "y"}
            ),
            "InvalidPropertyValue",
            "virtualMachineConfiguration.imageReference.sharedGalleryImageId",
        ),
        (
            with_machine(dataDisks=[{"lun": 64, "diskSizeGB": 1}]),
            "InvalidPropertyValue",
            "virtualMachineConfiguration.dataDisks[0].lun",
        ),
        (
            with_machine(dataDisks=[{"lun": 1, "diskSizeGB": 1}] * 2),
            "InvalidPropertyValue",
            "virtualMachineConfiguration.dataDisks[1].lun",
        ),
        (
            {"applicationPackageReferences": [{"applicationId": "a"}] * 11},
            "InvalidPropertyValue",
            "applicationPackageReferences",
        ),
        ({"startTask": {"commandLine": ""}}, "InvalidPropertyValue", "startTask.commandLine"),
        (
            {"startTask": {"commandLine": "x", "resourceFiles": [{"filePath": "a"}]}},
            "MissingRequiredProperty",
            "startTask.resourceFiles[0].httpUrl",
        ),
        (
            {"startTask": {"commandLine": "x", "maxTaskRetryCount": -2}},
            "InvalidPropertyValue",
            "startTask.maxTaskRetryCount",
        ),
        (
            {"userAccounts": [{"name": "x" * 21, "password": "p"}]},
            "InvalidPropertyValue",
            "userAccounts[0].name",
        ),
        ({"userAccounts": [{"name": "u"}]}, "MissingRequiredProperty", "userAccounts[0].password"),
        (
            {"userAccounts": [{"name": "u", "password": "p"}, {"name": "U", "password": "p"}]},
            "InvalidPropertyValue",
            "userAccounts[1].name",
        ),
        (
            {
                "userAccounts": [
                    {"name": "u", "password": "p", "linuxUserConfiguration": {"uid": 1000}}
                ]
            },
            "MissingRequiredProperty",
            "userAccounts[0].linuxUserConfiguration.gid",
        ),
        (
            {
                "userAccounts": [
                    {"name": "u", "password": "p", "linuxUserConfiguration": {"uid": 0, "gid": 0}}
                ]
            },
            "InvalidPropertyValue",
            "userAccounts[0].linuxUserConfiguration.uid",
        ),
        (
            {"mountConfiguration": [{"nfsMountConfiguration": NFS}] * 11},
            "InvalidPropertyValue",
            "mountConfiguration",
        ),
        (
            {"mountConfiguration": [{}]},
            "MissingRequiredProperty",
            "mountConfiguration[0].azureBlobFileSystemConfiguration",
        ),
        (
            {
                "mountConfiguration": [
                    {"nfsMountConfiguration": {"source": "s", "relativeMountPath": "../m"}}
                ]
            },
            "InvalidPropertyValue",
            "mountConfiguration[0].nfsMountConfiguration.relativeMountPath",
        ),
        (
            {"mountConfiguration": [{"azureBlobFileSystemConfiguration": BLOB}]},
            "MissingRequiredProperty",
            "mountConfiguration[0].azureBlobFileSystemConfiguration.accountKey",
        ),
        (
            {"mountConfiguration": [{"azureFileShareConfiguration": SHARE}]},
            "MissingRequiredProperty",
            "mountConfiguration[0].azureFileShareConfiguration.accountKey",
        ),
        (
            {"mountConfiguration": [{"cifsMountConfiguration": {**NFS, "username": "u"}}]},
            "MissingRequiredProperty",
            "mountConfiguration[0].cifsMountConfiguration.password",
        ),
    ],
)
def test_bad_pools(members: dict[str, Any], code: str, name: str | None):
    assert refusal_of(check_pool, a_pool(**members)) == (code, name)


@pytest.mark.parametrize(
    "nat_pools",
    [
        [a_nat_pool(name="")],
        [a_nat_pool(name="-a")],
        [a_nat_pool(name="a-")],
        [a_nat_pool(name="x" * 78)],
        [a_nat_pool(backendPort=0)],
        [a_nat_pool(backendPort=29876)],
        [a_nat_pool(frontendPortRangeEnd=65535)],
        [a_nat_pool(frontendPortRangeEnd=15038)],
        [a_nat_pool(frontendPortRangeStart=49000, frontendPortRangeEnd=50000)],
        [a_nat_pool(), a_nat_pool(backendPort=23, **ELSEWHERE)],
        [a_nat_pool(), a_nat_pool(name="b", **ELSEWHERE)],
        [a_nat_pool(), a_nat_pool(name="b", backendPort=23)],
        [a_nat_pool(networkSecurityGroupRules=[a_rule(149)])],
        [a_nat_pool(networkSecurityGroupRules=[a_rule(150), a_rule(150)])],
        [a_nat_pool(networkSecurityGroupRules=[a_rule(150 + number) for number in range(26)])],
        [a_nat_pool()] * 6,
    ],
)  # fmt: skip
def test_bad_inbound_endpoints(nat_pools: list[dict[str, Any]]):
    code, name = refusal_of(check_pool, a_pool(**a_network(*nat_pools)))
    assert code == "InvalidPropertyValue"
    assert name is not None
    assert name.startswith("networkConfiguration.endpointConfiguration.inboundNATPools")


GOOD: list[tuple[Any, type[msgspec.Struct], bytes]] = [
    (check_pool_update, pool.PoolUpdate, b'{"metadata":[]}'),
    (
        check_pool_replace,
        pool.PoolReplace,
        b'{"metadata":[],"applicationPackageReferences":[],"certificateReferences":[]}',
    ),
    (check_resize, pool.PoolResize, b'{"targetDedicatedNodes":0,"resizeTimeout":"PT5M"}'),
    (check_resize, pool.PoolResize, b"{}"),
    (check_removal, node.NodeRemove, b'{"nodeList":["a"]}'),
    (check_enable_auto_scale, pool.PoolEnableAutoScale, b"{}"),
    (check_evaluate_auto_scale, pool.PoolEvaluateAutoScale, b'{"autoScaleFormula":"x"}'),
    (check_node_user, node.NodeUserCreate, b'{"name":"u","expiryTime":"2030-01-01T00:00:00Z"}'),
    (check_node_user_replace, node.NodeUserReplace, b"{}"),
    (
        check_log_upload,
        node.UploadBatchServiceLogs,
        b'{"containerUrl":"https://h/c?sig=1","startTime":"2024-01-01T00:00:00Z"}',
    ),
]
BAD: list[tuple[Any, type[msgspec.Struct], bytes]] = [
    (check_pool_update, pool.PoolUpdate, b'{"vmSize":""}'),
    (check_pool_update, pool.PoolUpdate, b'{"taskSlotsPerNode":0}'),
    (check_pool_update, pool.PoolUpdate, b'{"startTask":{"commandLine":""}}'),
    (
        check_pool_replace,
        pool.PoolReplace,
        b'{"metadata":[{"name":"","value":""}],"applicationPackageReferences":[]}',
    ),
    (check_resize, pool.PoolResize, b'{"targetDedicatedNodes":-1}'),
    (check_resize, pool.PoolResize, b'{"targetDedicatedNodes":1,"resizeTimeout":"PT1M"}'),
    (check_removal, node.NodeRemove, b'{"nodeList":[]}'),
    (check_removal, node.NodeRemove, b'{"nodeList":[""]}'),
    (check_removal, node.NodeRemove, b'{"nodeList":["a"],"resizeTimeout":"PT1M"}'),
    (
        check_removal,
        node.NodeRemove,
        json.dumps({"nodeList": [str(number) for number in range(101)]}).encode(),
    ),
    (check_enable_auto_scale, pool.PoolEnableAutoScale, b'{"autoScaleFormula":""}'),
    (
        check_enable_auto_scale,
        pool.PoolEnableAutoScale,
        b'{"autoScaleEvaluationInterval":"PT1M"}',
    ),
    (check_evaluate_auto_scale, pool.PoolEvaluateAutoScale, b'{"autoScaleFormula":" "}'),
    (check_node_user, node.NodeUserCreate, b'{"name":""}'),
    (check_node_user, node.NodeUserCreate, b'{"name":"u","expiryTime":"later"}'),
    (check_node_user_replace, node.NodeUserReplace, b'{"expiryTime":"later"}'),
    (
        check_log_upload,
        node.UploadBatchServiceLogs,
        b'{"containerUrl":"x","startTime":"2024-01-01T00:00:00Z"}',
    ),
    (
        check_log_upload,
        node.UploadBatchServiceLogs,
        b'{"containerUrl":"https://h/c","startTime":"x"}',
    ),
]


@pytest.mark.parametrize(("check", "struct", "body"), GOOD)
def test_good_requests(check: Any, struct: type[msgspec.Struct], body: bytes):
    check(decode(body, struct))


@pytest.mark.parametrize(("check", "struct", "body"), BAD)
def test_bad_requests(check: Any, struct: type[msgspec.Struct], body: bytes):
    code, _ = refusal_of(check, decode(body, struct))
    assert code in ("InvalidPropertyValue", "EmptyMetadataKey")
