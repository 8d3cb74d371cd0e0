"""What older api-versions say and are told, in their own words."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from lote.wire.decode import decode
from lote.wire.dialects import RENAMES, SPANS, hidden_members
from lote.wire.errors import Refused
from lote.wire.job import JobCreate, TaskCountsResult
from lote.wire.modern import modernize
from lote.wire.node import Node
from lote.wire.operations import OPERATIONS
from lote.wire.pool import Pool, PoolCreate, PoolResize
from lote.wire.spelling import selectable_members, spell
from lote.wire.task import Task, TaskCreate
from lote.wire.versions import NEWEST, VERSIONS

IMAGE = {"publisher": "p", "offer": "o", "sku": "s"}


def a_pool(**members: Any) -> dict[str, Any]:
    return {"id": "p", "vmSize": "standard_d2_v2", **members}


def read(members: dict[str, Any], struct: type, version: str = NEWEST) -> Any:
    """The members as they are kept, of a body of that version."""
    body = decode(json.dumps(members).encode(), struct)
    modernize(body, version)
    return msgspec.to_builtins(body)


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span.names)
def test_every_span_names_members_and_versions_that_there_are(span):
    assert span.since in VERSIONS
    assert span.until in VERSIONS
    assert VERSIONS.index(span.since) <= VERSIONS.index(span.until)
    for name in span.names.split():
        assert any(name in selectable_members(struct) for struct in span.structs), name


@pytest.mark.parametrize("rename", RENAMES, ids=lambda rename: rename.old)
def test_every_rename_names_a_member_and_a_version(rename):
    assert rename.until in VERSIONS[:-1]
    for struct in rename.structs:
        assert rename.new in {field.encode_name for field in msgspec.structs.fields(struct)}


@pytest.mark.parametrize("span", SPANS, ids=lambda span: span.names)
def test_a_member_is_shown_only_in_its_versions(span):
    first, last = VERSIONS.index(span.since), VERSIONS.index(span.until)
    for struct in span.structs:
        for number, version in enumerate(VERSIONS):
            for name in span.names.split():
                is_hidden = name in hidden_members(struct, version)
                assert is_hidden is not (first <= number <= last), (struct, name, version)


@pytest.mark.parametrize(
    ("version", "slots"),
    [("2018-03-01.6.1", "maxTasksPerNode"), ("2020-03-01.11.0", "maxTasksPerNode"),
     ("2020-09-01.12.0", "taskSlotsPerNode"), (NEWEST, "taskSlotsPerNode")],
)  # fmt: skip
def test_slots_of_a_pool(version, slots):
    shown = spell({"id": "p", "taskSlotsPerNode": 4}, Pool, version)
    assert shown == {"id": "p", slots: 4}


@pytest.mark.parametrize("name", ["maxTasksPerNode", "taskSlotsPerNode"])
def test_slots_are_read_under_both_names(name):
    assert read(a_pool(**{name: "4"}), PoolCreate) == a_pool(taskSlotsPerNode=4)


def test_who_gives_both_names_means_the_newest():
    assert read(a_pool(maxTasksPerNode=2, taskSlotsPerNode=4), PoolCreate)["taskSlotsPerNode"] == 4
    files = {"id": "t", "commandLine": "x", "resourceFiles": [{"blobSource": "a", "httpUrl": "b"}]}
    assert read(files, TaskCreate)["resourceFiles"] == [{"httpUrl": "b"}]


def test_what_a_node_shows_of_its_image_is_not_kept():
    machine = {"imageReference": IMAGE | {"exactVersion": "1.2"}, "nodeAgentSKUId": "a"}
    kept = read(a_pool(virtualMachineConfiguration=machine), PoolCreate)
    assert kept["virtualMachineConfiguration"]["imageReference"] == IMAGE


def test_files_had_one_source():
    sent = {
        "id": "t",
        "commandLine": "x",
        "resourceFiles": [{"blobSource": "http://h/a", "filePath": "a"}],
    }
    kept = read(sent, TaskCreate)
    assert kept["resourceFiles"] == [{"httpUrl": "http://h/a", "filePath": "a"}]
    assert spell(kept, Task, "2018-08-01.7.0") == sent
    assert spell(kept, Task, "2018-12-01.8.0") == kept


def test_disks_had_their_kind_themselves():
    disk = {"lun": 0, "diskSizeGB": 10}
    machine = {"imageReference": IMAGE, "nodeAgentSKUId": "a"}
    old = a_pool(
        virtualMachineConfiguration=machine
        | {"dataDisks": [disk | {"storageAccountType": "Premium_LRS"}]}
    )
    new = a_pool(
        virtualMachineConfiguration=machine
        | {"dataDisks": [disk | {"managedDisk": {"storageAccountType": "premium_lrs"}}]}
    )
    kept = read(old, PoolCreate)
    assert kept == new
    assert spell(kept, Pool, NEWEST) == new
    shown = spell(kept, Pool, "2024-07-01.20.0")
    disks = shown["virtualMachineConfiguration"]["dataDisks"]
    assert disks == [disk | {"storageAccountType": "premium_lrs"}]


@pytest.mark.parametrize(
    ("version", "waits"), [("2019-06-01.9.0", False), ("2019-08-01.10.0", None), (NEWEST, None)]
)
def test_start_tasks_were_not_waited_for(version, waits):
    start = {"commandLine": "x"}
    for body, struct in [
        (a_pool(startTask=start), PoolCreate),
        (an_auto_pool({"vmSize": "small", "startTask": start}), JobCreate),
    ]:
        kept = read(body, struct, version)
        if struct is JobCreate:
            kept = kept["poolInfo"]["autoPoolSpecification"]["pool"]
        assert kept["startTask"].get("waitForSuccess") is waits
    given = a_pool(startTask=start | {"waitForSuccess": True})
    assert read(given, PoolCreate, version) == given


def an_auto_pool(pool: dict[str, Any]) -> dict[str, Any]:
    auto_pool = {"poolLifetimeOption": "job", "pool": pool}
    return {"id": "j", "poolInfo": {"autoPoolSpecification": auto_pool}}


@pytest.mark.parametrize("version", ["2018-08-01.7.0", "2018-12-01.8.0"])
def test_files_of_tasks_stayed_with_their_node(version):
    forever = "P10675199DT2H48M5.4775807S" if version == "2018-08-01.7.0" else None
    task = read({"id": "t", "commandLine": "x"}, TaskCreate, version)
    assert task.get("constraints", {}).get("retentionTime") == forever
    given = {"id": "t", "commandLine": "x", "constraints": {"retentionTime": "P1D"}}
    assert read(given, TaskCreate, version) == given
    job = read(
        {
            "id": "j",
            "poolInfo": {"poolId": "p"},
            "jobManagerTask": {"id": "m", "commandLine": "x"},
            "jobPreparationTask": {"commandLine": "x"},
            "jobReleaseTask": {"commandLine": "x"},
        },
        JobCreate,
        version,
    )
    for name in ("jobManagerTask", "jobPreparationTask"):
        assert job[name].get("constraints", {}).get("retentionTime") == forever
    assert job["jobReleaseTask"].get("retentionTime") == forever


def test_counts_had_no_slots():
    counts = {"active": 1, "running": 2, "completed": 3, "succeeded": 2, "failed": 1}
    shown = {"taskCounts": counts, "taskSlotCounts": dict.fromkeys(counts, 0)}
    assert spell(shown, TaskCountsResult, "2020-03-01.11.0") == counts
    validated = counts | {"validationStatus": "validated"}
    assert spell(shown, TaskCountsResult, "2018-03-01.6.1") == validated
    assert spell(shown, TaskCountsResult, "2020-09-01.12.0") == shown


def test_a_pool_had_one_resize_error():
    error = {"code": "AllocationTimedout", "message": "m"}
    shown = {"id": "p", "targetDedicatedNodes": 1, "currentDedicatedNodes": 0,
             "targetLowPriorityNodes": 0, "resizeErrors": [error]}  # fmt: skip
    assert spell(shown, Pool, "2017-01-01.4.0") == {
        "id": "p", "targetDedicated": 1, "currentDedicated": 0, "resizeError": error,
    }  # fmt: skip
    assert spell(shown, Pool, "2017-05-01.5.0") == shown
    assert read({"targetDedicated": 3}, PoolResize) == {"targetDedicatedNodes": 3}


@pytest.mark.parametrize(
    ("code", "old"), [("BlobNotFound", {"schedulingError"}), ("FailureExitCode", set())]
)
def test_a_failure_was_a_scheduling_error(code, old):
    info = {"retryCount": 0, "failureInfo": {"category": "usererror", "code": code}}
    shown = spell({"executionInfo": info | {"result": "failure"}}, Task, "2017-01-01.4.0")
    assert set(shown["executionInfo"]) == {"retryCount"} | old


@pytest.mark.parametrize(("elevated", "level"), [(True, "admin"), (False, "nonadmin")])
def test_tasks_ran_elevated(elevated, level):
    kept = read({"id": "t", "commandLine": "x", "runElevated": elevated}, TaskCreate)
    assert kept["userIdentity"] == {"autoUser": {"elevationLevel": level}}
    shown = spell(kept, Task, "2016-07-01.3.1")
    assert shown == {"id": "t", "commandLine": "x", "runElevated": elevated}
    assert spell(kept, Task, "2017-01-01.4.0") == kept


@pytest.mark.parametrize(("version", "has"), [("2024-07-01.20.0", True), ("2025-06-01", False)])
def test_nodes_had_certificates(version, has):
    shown = spell({"id": "n", "certificateReferences": []}, Node, version)
    assert ("certificateReferences" in shown) is has


def test_what_is_spelled_is_left_as_it_was():
    kept = {"id": "t", "resourceFiles": [{"httpUrl": "h"}], "userIdentity": {"username": "u"}}
    before = json.dumps(kept)
    for version in VERSIONS:
        spell(kept, Task, version)
    assert json.dumps(kept) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_what_a_version_is_shown_it_can_send(version):
    """Whatever ``spell`` makes of a body, the decoder of the body takes back."""
    task = {
        "id": "t",
        "commandLine": "x",
        "requiredSlots": 2,
        "userIdentity": {"autoUser": {"elevationLevel": "admin"}},
        "resourceFiles": [{"httpUrl": "http://h/a", "filePath": "a"}],
        "exitConditions": {"preProcessingError": {"jobAction": "terminate"}},
    }
    again = read(spell(task, Task, version), TaskCreate)
    for name in ("resourceFiles", "userIdentity"):
        assert again[name] == task[name]


def test_an_older_name_is_unknown_where_no_version_had_it():
    for struct in {row.takes for row in OPERATIONS if row.takes}:
        with pytest.raises(Refused):
            decode(b'{"blobSource":"x"}', struct)
