"""Bodies into structs: what is forgiven, what is refused, and with which words."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.wire.decode import decode
from lote.wire.errors import Refused
from lote.wire.job import JobCreate, JobDisable, JobReplace
from lote.wire.node import NodeDisableScheduling, NodeRemove
from lote.wire.operations import OPERATIONS
from lote.wire.pool import PoolCreate, PoolResize
from lote.wire.task import TaskCreate
from lote.wire.task_groups import decode_task_group, task_id_of

BODIES = sorted({row.takes for row in OPERATIONS if row.takes}, key=lambda struct: struct.__name__)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def a_task(**members: Any) -> dict[str, Any]:
    return {"id": "t1", "commandLine": "/bin/true", **members}


def body(members: Any) -> bytes:
    return json.dumps(members).encode()


def refusal_of(data: bytes, struct: type[msgspec.Struct]) -> Refused:
    with pytest.raises(Refused) as caught:
        decode(data, struct)
    return caught.value


def test_numbers_as_strings_and_enums_in_any_case():
    resize = decode(
        b'{"targetDedicatedNodes":"2","nodeDeallocationOption":"TaskCompletion"}', PoolResize
    )
    assert resize.target_dedicated_nodes == 2
    assert resize.node_deallocation_option == "taskcompletion"
    assert decode(b'{"disableTasks":"Requeue"}', JobDisable).disable_tasks == "requeue"


def test_an_option_that_az_puts_into_an_object_of_its_own():
    """`az batch node scheduling disable`, 2.91."""
    name = "nodeDisableSchedulingOption"
    plain = decode(body({name: "terminate"}), NodeDisableScheduling)
    assert decode(body({name: {name: "Terminate"}}), NodeDisableScheduling) == plain
    for wrong in ({}, {"option": "requeue"}, {name: {name: "requeue"}}, {name: 1}):
        refused = refusal_of(body({name: wrong}), NodeDisableScheduling)
        assert refused.code == "InvalidPropertyValue"


def test_a_body_that_is_lenient_in_one_place_is_read_whole():
    task = decode(
        b"\xef\xbb\xbf"
        + body(
            a_task(
                requiredSlots=" 3 ",
                constraints={"maxTaskRetryCount": 2.0, "retentionTime": None},
                userIdentity={"autoUser": {"scope": "Pool", "elevationLevel": "ADMIN"}},
                containerSettings={
                    "imageName": "i",
                    "workingDirectory": "TASKWORKINGDIRECTORY",
                    "containerHostBatchBindMounts": [{"source": "task", "isReadOnly": "True"}],
                },
            )
        ),
        TaskCreate,
    )
    assert task.required_slots == 3
    assert task.constraints is not None
    assert task.constraints.max_task_retry_count == 2
    assert task.constraints.retention_time is None
    assert task.user_identity is not None
    assert task.user_identity.auto_user is not None
    assert task.user_identity.auto_user.scope == "pool"
    assert task.user_identity.auto_user.elevation_level == "admin"
    assert task.container_settings is not None
    assert task.container_settings.working_directory == "taskWorkingDirectory"
    mounts = task.container_settings.container_host_batch_bind_mounts
    assert mounts is not None
    assert (mounts[0].source, mounts[0].is_read_only) == ("Task", True)


def test_what_the_service_shows_may_come_back():
    shown = {
        "odata.metadata": "http://h/$metadata#jobs/@Element",
        "id": "j", "url": "http://h/jobs/j", "eTag": "0x1", "lastModified": "2024-01-01T00:00:00Z",
        "state": "active", "executionInfo": {"startTime": "x"}, "displayName": "J",
        "poolInfo": {"poolId": "p"}, "priority": 5,
    }  # fmt: skip
    job = decode(body(shown), JobReplace)
    assert job.priority == 5
    assert job.pool_info.pool_id == "p"


def test_null_is_absent_and_the_last_of_two_members_counts():
    task = decode(b'{"id":"a","id":"b","commandLine":"x","displayName":null}', TaskCreate)
    assert (task.id, task.display_name) == ("b", None)
    assert (
        refusal_of(b'{"id":null,"commandLine":"x"}', TaskCreate).code == "MissingRequiredProperty"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b"5", b'"x"', b"{'id':1}", b"\xff\xfe{}", b'{"id":"\xff"}',
        b'{"id":"a","commandLine":"x","requiredSlots":NaN}',
        b'{"id":"a","commandLine":"x","requiredSlots":Infinity}',
        b'{"id":"a","commandLine":"\\ud800"}',
        b"[" * 100_000, b'{"id":' * 100_000, b'{"a":[' * 50_000 + b"]}" * 50_000,
        b'{"id":"a","commandLine":"x","requiredSlots":' + b"9" * 10_000 + b"}",
    ],
)  # fmt: skip
def test_what_is_no_json_object_is_an_invalid_body(data: bytes):
    refused = refusal_of(data, TaskCreate)
    assert refused.code in ("InvalidRequestBody", "InvalidPropertyValue")
    if b"9999" not in data:  # a readable number of that size names its member instead
        assert refused.code == "InvalidRequestBody"


@pytest.mark.parametrize("struct", BODIES, ids=lambda struct: struct.__name__)
@given(data=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_decode_or_are_refused(struct: type[msgspec.Struct], data: bytes):
    try:
        decoded = decode(data, struct)
    except Refused:
        return
    assert isinstance(decoded, struct)


@given(members=st.fixed_dictionaries({}, optional=dict.fromkeys(
    ("id", "commandLine", "constraints", "resourceFiles", "requiredSlots", "dependsOn", "x"),
    json_values,
)))  # fmt: skip
def test_tasks_of_any_values_decode_or_are_refused(members: dict[str, Any]):
    data = json.dumps({"value": [members]}).encode()
    try:
        [(task, raw)] = decode_task_group(data)
    except Refused:
        return
    if isinstance(task, TaskCreate):
        # what is kept for showing is strict JSON of the same task, without nulls
        assert msgspec.json.decode(raw, type=TaskCreate) == task
        assert msgspec.json.encode(task) == msgspec.json.encode(decode(raw, TaskCreate))


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b'{"id":"hush","commandLine":}', "byte 27"),
        (b'{"id":"hush"', "truncated"),
        (b'["hush"]', "object"),
        (b'{"id":"hush\xff","commandLine":"x"}', "utf-8"),
    ],
)
def test_a_malformed_body_is_refused_with_the_place(data: bytes, where: str):
    refused = refusal_of(data, TaskCreate)
    assert refused.code == "InvalidRequestBody"
    reason = dict(refused.values)["Reason"]
    assert where in reason
    assert "hush" not in reason


def test_a_missing_member_is_named_by_its_path():
    refused = refusal_of(body(a_task(exitConditions={"exitCodes": [{"code": 1}]})), TaskCreate)
    assert refused.code == "MissingRequiredProperty"
    assert dict(refused.values)["PropertyName"] == "exitConditions.exitCodes[0].exitOptions"
    assert dict(refused.values)["Reason"]


@pytest.mark.parametrize(
    ("members", "name"),
    [
        ({"requiredSlots": "many"}, "requiredSlots"),
        ({"requiredSlots": 1.5}, "requiredSlots"),
        ({"requiredSlots": True}, "requiredSlots"),
        ({"requiredSlots": 2**31}, "requiredSlots"),
        ({"requiredSlots": 10**30}, "requiredSlots"),
        ({"displayName": 5}, "displayName"),
        ({"resourceFiles": {}}, "resourceFiles"),
        ({"resourceFiles": [None]}, "resourceFiles[0]"),
        ({"constraints": []}, "constraints"),
        ({"userIdentity": {"autoUser": {"scope": "moon"}}}, "userIdentity.autoUser.scope"),
        ({"environmentSettings": [{"name": "A", "value": 1}]}, "environmentSettings[0].value"),
    ],
)
def test_a_bad_value_is_named_by_its_path(members: dict[str, Any], name: str):
    refused = refusal_of(body(a_task(**members)), TaskCreate)
    assert refused.code == "InvalidPropertyValue"
    assert dict(refused.values)["PropertyName"] == name
    assert dict(refused.values)["Reason"]


@pytest.mark.parametrize(
    ("members", "name"),
    [({"comandLine": "x"}, "comandLine"), ({"constraints": {"max": 1}}, "constraints.max"),
     ({"resourceFiles": [{"blobSource2": "x"}]}, "resourceFiles[0].blobSource2")],
)  # fmt: skip
def test_an_unknown_member_is_unsupported(members: dict[str, Any], name: str):
    refused = refusal_of(body(a_task(**members)), TaskCreate)
    assert refused.code == "UnsupportedProperty"
    assert dict(refused.values)["PropertyName"] == name


@pytest.mark.parametrize(
    "members",
    [
        {"userAccounts": [{"name": "u", "password": 4711}]},
        {"userAccounts": [{"name": "u", "password": {"x": "4711"}}]},
        {"userAccounts": "4711"},
        {"userAccounts": [{"name": "u", "linuxUserConfiguration": {"sshPrivateKey": [4711]}}]},
        {"mountConfiguration": [{"azureFileShareConfiguration": {"accountKey": 4711}}]},
        {"unknown": {"password": "4711"}},
    ],
)  # fmt: skip
def test_secrets_do_not_come_back_in_refusals(members: dict[str, Any]):
    pool = {"id": "p", "vmSize": "small", **members}
    refused = refusal_of(body(pool), PoolCreate)
    assert "4711" not in repr(refused.values)


def test_arbitrary_settings_of_extensions_pass():
    pool = decode(
        body(
            {
                "id": "p",
                "vmSize": "Small",
                "virtualMachineConfiguration": {
                    "nodeAgentSKUId": "a",
                    "imageReference": {"publisher": "c", "offer": "o", "sku": "s"},
                    "extensions": [
                        {"name": "n", "publisher": "p", "type": "t", "settings": {"a": [1, None]}}
                    ],
                },
                "resourceTags": {"a": "b"},
                "enableAutoScale": "false",
            }
        ),
        PoolCreate,
    )
    machine = pool.virtual_machine_configuration
    assert machine is not None
    assert machine.extensions is not None
    assert machine.extensions[0].settings == {"a": [1, None]}
    assert pool.enable_auto_scale is False


def test_a_list_of_texts_may_hold_only_texts():
    assert decode(b'{"nodeList":["a"]}', NodeRemove).node_list == ["a"]
    refused = refusal_of(b'{"nodeList":["a",1]}', NodeRemove)
    assert dict(refused.values)["PropertyName"] == "nodeList[1]"


def test_one_bad_task_does_not_refuse_the_others():
    entries = decode_task_group(
        b'{"odata.metadata":"x","value":[{"id":"a","commandLine":"x"},{"id":"b"},7,'
        b'{"id":"c","commandLine":"x","requiredSlots":"2","url":"http://h"}]}'
    )
    assert [type(task) for task, _ in entries] == [TaskCreate, Refused, Refused, TaskCreate]
    assert entries[0][1] == b'{"id":"a","commandLine":"x"}'
    assert [task_id_of(raw) for _, raw in entries] == ["a", "b", "", "c"]
    # spelled as the wire spells it, since these bytes are shown again
    assert entries[3][1] == b'{"id":"c","commandLine":"x","requiredSlots":2}'


def test_what_is_kept_has_one_spelling():
    raw = b'{ "id": "a", "commandLine": "cat /dev/null" , "displayName": null }'
    [(_, kept)] = decode_task_group(b'{"value":[' + raw + b"]}")
    assert kept == b'{"id":"a","commandLine":"cat /dev/null"}'
    raw = (
        b'{ "id": "a",  "commandLine": "\\u0041", '
        b'"constraints": {"retentionTime": "PT24H", "maxWallClockTime": "P1W"} }'
    )
    [(task, kept)] = decode_task_group(b'{"value":[' + raw + b"]}")
    assert msgspec.json.decode(kept) == {
        "id": "a",
        "commandLine": "A",
        "constraints": {"retentionTime": "P1D", "maxWallClockTime": "P7D"},
    }
    assert msgspec.json.decode(kept, type=TaskCreate) == task


@pytest.mark.parametrize(
    ("data", "code", "name"),
    [
        (b"{}", "MissingRequiredProperty", "value"),
        (b'{"value":null}', "MissingRequiredProperty", "value"),
        (b'{"value":{}}', "InvalidPropertyValue", "value"),
        (b'{"value":[],"tasks":[]}', "UnsupportedProperty", "tasks"),
        (b'{"value":[' + b",".join([b"{}"] * 101) + b"]}", "InvalidPropertyValue", "value"),
        (b'{"value":[{"id":', "InvalidRequestBody", None),
        (b"[]", "InvalidRequestBody", None),
        (b'{"value":[' * 60_000, "InvalidRequestBody", None),
    ],
)
def test_what_is_no_collection_is_refused_whole(data: bytes, code: str, name: str | None):
    with pytest.raises(Refused) as caught:
        decode_task_group(data)
    assert caught.value.code == code
    assert dict(caught.value.values).get("PropertyName") == name


def test_a_hundred_tasks_are_a_collection():
    data = json.dumps({"value": [a_task(id=f"t{number}") for number in range(100)]}).encode()
    assert len(decode_task_group(data)) == 100


def test_bodies_survive_encoding():
    job = decode(
        b'{"id":"j","poolInfo":{"poolId":"p"},"onAllTasksComplete":"terminatejob"}', JobCreate
    )
    assert decode(msgspec.json.encode(job), JobCreate) == job
