"""Rules on tasks, jobs and job schedules, beyond types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.wire.check_jobs import (
    check_job,
    check_job_replace,
    check_job_schedule,
    check_job_schedule_replace,
    check_job_schedule_update,
    check_job_update,
)
from lote.wire.check_tasks import check_task, check_task_in_job, check_task_replace
from lote.wire.decode import decode
from lote.wire.errors import Refused
from lote.wire.job import JobCreate, JobReplace, JobUpdate
from lote.wire.job_schedule import JobScheduleCreate, JobScheduleReplace, JobScheduleUpdate
from lote.wire.task import TaskCreate, TaskReplace


def a_task(**members: Any) -> TaskCreate:
    return decode(json.dumps({"id": "t", "commandLine": "x", **members}).encode(), TaskCreate)


def a_job(**members: Any) -> JobCreate:
    body = {"id": "j", "poolInfo": {"poolId": "p"}, **members}
    return decode(json.dumps(body).encode(), JobCreate)


def a_schedule(**members: Any) -> JobScheduleCreate:
    body = {
        "id": "s",
        "schedule": {},
        "jobSpecification": {"poolInfo": {"poolId": "p"}},
        **members,
    }
    return decode(json.dumps(body).encode(), JobScheduleCreate)


def a_file(**members: Any) -> dict[str, Any]:
    return {"resourceFiles": [members]}


def an_output(pattern: str, url: str = "https://h/c?sig=1") -> dict[str, Any]:
    return {
        "outputFiles": [
            {
                "filePattern": pattern,
                "destination": {"container": {"containerUrl": url}},
                "uploadOptions": {"uploadCondition": "taskcompletion"},
            }
        ]
    }


def an_auto_pool(**members: Any) -> dict[str, Any]:
    pool = {
        "vmSize": "small",
        "virtualMachineConfiguration": {
            "nodeAgentSKUId": "a",
            "imageReference": {"publisher": "p", "offer": "o", "sku": "s"},
        },
    }
    return {
        "poolInfo": {
            "autoPoolSpecification": {"poolLifetimeOption": "job", "pool": pool, **members}
        }
    }


def refusal_of(check: Any, *values: Any, **context: Any) -> tuple[str, str | None]:
    with pytest.raises(Refused) as caught:
        check(*values, **context)
    assert caught.value.status in (400, 409)
    return caught.value.code, dict(caught.value.values).get("PropertyName")


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"displayName": "ä" * 1024},
        {"requiredSlots": 256},
        {"constraints": {"maxTaskRetryCount": -1, "maxWallClockTime": "P", "retentionTime": "P7D"}},
        {"environmentSettings": [{"name": "A"}, {"name": "A", "value": "=x"}]},
        {"userIdentity": {"username": "u"}},
        {"userIdentity": {"autoUser": {}}},
        {"commandLine": "", "containerSettings": {"imageName": "i"}},
        {"multiInstanceSettings": {"coordinationCommandLine": "c", "numberOfInstances": 2}},
        {"dependsOn": {}},
        {"dependsOn": {"taskIds": []}},
        {"exitConditions": {"default": {}}},
        {"applicationPackageReferences": [{"applicationId": "a", "version": "1"}] * 11},
        a_file(httpUrl="http://h/b", filePath="a/b.txt", fileMode="0770"),
        a_file(httpUrl="HTTPS://h", filePath="a/../b", fileMode="755"),
        a_file(storageContainerUrl="https://h/c?sig=1", blobPrefix="x", filePath="in"),
        a_file(autoStorageContainerName="c"),
        a_file(autoStorageContainerName="c", filePath="", fileMode=""),
        an_output("out/*.txt"),
        an_output("**/*.txt"),
        an_output("../std*.txt"),
        an_output("..\\std*.txt"),
        an_output("a/../../stdout.txt"),
        an_output("$AZ_BATCH_TASK_DIR/stdout.txt"),
        an_output("${AZ_BATCH_TASK_WORKING_DIR}/../stdout.txt"),
        an_output("%AZ_BATCH_TASK_DIR%\\stdout.txt"),
        an_output("$AZ_BATCH_NODE_SHARED_DIR/x"),
    ],
)
def test_good_tasks(members: dict[str, Any]):
    check_task(a_task(**members))


@pytest.mark.parametrize(
    ("members", "code", "name"),
    [
        ({"id": "a b"}, "InvalidPropertyValue", "id"),
        ({"commandLine": ""}, "InvalidPropertyValue", "commandLine"),
        ({"commandLine": " \t"}, "InvalidPropertyValue", "commandLine"),
        ({"commandLine": "a\0b"}, "InvalidPropertyValue", "commandLine"),
        ({"displayName": "x" * 1025}, "InvalidPropertyValue", "displayName"),
        ({"requiredSlots": 0}, "InvalidPropertyValue", "requiredSlots"),
        ({"requiredSlots": 257}, "InvalidPropertyValue", "requiredSlots"),
        (
            {"constraints": {"maxTaskRetryCount": -2}},
            "InvalidPropertyValue",
            "constraints.maxTaskRetryCount",
        ),
        (
            {"constraints": {"maxWallClockTime": "soon"}},
            "InvalidPropertyValue",
            "constraints.maxWallClockTime",
        ),
        (
            {"constraints": {"retentionTime": "-P1D"}},
            "InvalidPropertyValue",
            "constraints.retentionTime",
        ),
        ({"userIdentity": {}}, "MissingRequiredProperty", "userIdentity.username"),
        (
            {"userIdentity": {"username": "u", "autoUser": {}}},
            "InvalidPropertyValue",
            "userIdentity.autoUser",
        ),
        (
            {"containerSettings": {"imageName": ""}},
            "InvalidPropertyValue",
            "containerSettings.imageName",
        ),
        (
            {
                "containerSettings": {
                    "imageName": "i",
                    "registry": {"password": "p", "identityReference": {}},
                }
            },
            "InvalidPropertyValue",
            "containerSettings.registry.identityReference",
        ),
        (
            {"environmentSettings": [{"name": ""}]},
            "InvalidPropertyValue",
            "environmentSettings[0].name",
        ),
        (
            {"environmentSettings": [{"name": "A=B"}]},
            "InvalidPropertyValue",
            "environmentSettings[0].name",
        ),
        (
            {"environmentSettings": [{"name": "A", "value": "\0"}]},
            "InvalidPropertyValue",
            "environmentSettings[0].value",
        ),
        (
            {"applicationPackageReferences": [{"applicationId": " "}]},
            "InvalidPropertyValue",
            "applicationPackageReferences[0].applicationId",
        ),
        (
            {"multiInstanceSettings": {"coordinationCommandLine": "c"}, "requiredSlots": 2},
            "InvalidPropertyValue",
            "requiredSlots",
        ),
        (
            {"multiInstanceSettings": {"coordinationCommandLine": ""}},
            "InvalidPropertyValue",
            "multiInstanceSettings.coordinationCommandLine",
        ),
        (
            {"multiInstanceSettings": {"coordinationCommandLine": "c", "numberOfInstances": 0}},
            "InvalidPropertyValue",
            "multiInstanceSettings.numberOfInstances",
        ),
        (a_file(), "MissingRequiredProperty", "resourceFiles[0].httpUrl"),
        (a_file(httpUrl="http://h/b"), "MissingRequiredProperty", "resourceFiles[0].filePath"),
        (
            a_file(httpUrl="http://h/b", filePath="x", autoStorageContainerName="c"),
            "InvalidPropertyValue",
            "resourceFiles[0].autoStorageContainerName",
        ),
        (
            a_file(httpUrl="http://h/b", filePath="x", blobPrefix="c"),
            "InvalidPropertyValue",
            "resourceFiles[0].blobPrefix",
        ),
        (
            a_file(httpUrl="http://h/b", filePath="x", fileMode="0888"),
            "InvalidPropertyValue",
            "resourceFiles[0].fileMode",
        ),
        (
            a_file(httpUrl="http://h/b", filePath="x", fileMode="77777"),
            "InvalidPropertyValue",
            "resourceFiles[0].fileMode",
        ),
        (an_output("x", "file:///etc"), "InvalidPropertyValue", None),
        (
            {
                "outputFiles": [
                    {
                        "filePattern": "x",
                        "destination": {},
                        "uploadOptions": {"uploadCondition": "tasksuccess"},
                    }
                ]
            },
            "MissingRequiredProperty",
            "outputFiles[0].destination.container",
        ),
    ],
)
def test_bad_tasks(members: dict[str, Any], code: str, name: str | None):
    found_code, found_name = refusal_of(check_task, a_task(**members))
    assert found_code == code
    if name is not None:
        assert found_name == name


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "\\x",
        "C:\\x",
        "c:x",
        "..",
        "../x",
        "a/../../x",
        "a\\..\\..\\x",
        "./../x",
        "\0",
    ],
)
def test_resource_files_stay_in_their_folder(path: str):
    task = a_task(**a_file(httpUrl="http://h/b", filePath=path))
    assert refusal_of(check_task, task)[1] == "resourceFiles[0].filePath"


@pytest.mark.parametrize(
    "url", ["", "h/b", "ftp://h/b", "http:///b", "file:///b", "http://u@h/b", "http://h b"]
)
def test_sources_are_web_addresses(url: str):
    task = a_task(**a_file(httpUrl=url, filePath="x"))
    assert refusal_of(check_task, task)[1] == "resourceFiles[0].httpUrl"


@pytest.mark.parametrize(
    "pattern",
    ["", "/etc/*", "C:\\*", "../../x", "a/../../../x", "**/../../../x", "..\\..\\x",
     "$AZ_BATCH_TASK_DIR/../x", "%AZ_BATCH_TASK_WORKING_DIR%/../../x", "${X}/../../../x\0"],
)  # fmt: skip
def test_output_patterns_stay_in_the_task_directory(pattern: str):
    assert refusal_of(check_task, a_task(**an_output(pattern)))[1] == "outputFiles[0].filePattern"


@given(st.lists(st.sampled_from(["..", ".", "a", "", "b c"]), min_size=1, max_size=8))
def test_an_accepted_path_never_leaves_its_folder(segments: list[str]):
    path = "/".join(segments)
    try:
        check_task(a_task(**a_file(httpUrl="http://h/b", filePath=path)))
    except Refused:
        return
    level = 0
    for segment in segments:
        level += {"..": -1, ".": 0, "": 0}.get(segment, 1)
        assert level >= 0


def test_exit_conditions_need_what_they_act_on():
    for member, value, context in (
        ("jobAction", "terminate", {"uses_dependencies": True, "acts_on_failure": False}),
        ("dependencyAction", "block", {"uses_dependencies": False, "acts_on_failure": True}),
    ):
        for place in (
            {"exitCodes": [{"code": 1, "exitOptions": {member: value}}]},
            {"exitCodeRanges": [{"start": 1, "end": 2, "exitOptions": {member: value}}]},
            {"preProcessingError": {member: value}},
            {"fileUploadError": {member: value}},
            {"default": {member: value}},
        ):
            task = a_task(exitConditions=place)
            check_task(task)
            code, name = refusal_of(check_task_in_job, task, **context)
            assert code == "InvalidPropertyValue"
            assert name is not None
            assert name.endswith(member)
            check_task_in_job(task, uses_dependencies=True, acts_on_failure=True)


def test_dependencies_need_a_job_that_uses_them():
    context = {"uses_dependencies": False, "acts_on_failure": True}
    for depends_on in ({"taskIds": ["a"]}, {"taskIdRanges": [{"start": 1, "end": 2}]}):
        found = refusal_of(check_task_in_job, a_task(dependsOn=depends_on), **context)
        assert found == ("TaskDependenciesNotSpecifiedOnJob", "dependsOn")
    for depends_on in ({}, {"taskIds": []}):
        check_task_in_job(a_task(dependsOn=depends_on), **context)


def test_ranges_do_not_run_backwards():
    options = {"start": 2, "end": 1, "exitOptions": {}}
    task = a_task(exitConditions={"exitCodeRanges": [options]})
    assert refusal_of(check_task, task)[1] == "exitConditions.exitCodeRanges[0].end"
    task = a_task(dependsOn={"taskIdRanges": [{"start": 2, "end": 1}]})
    found = refusal_of(check_task, task)
    assert found == ("InvalidPropertyValue", "dependsOn.taskIdRanges[0].end")


def test_dependency_lists_have_a_length():
    fits = {"taskIds": ["x" * 64] * 1000, "taskIdRanges": [{"start": 1, "end": 10**6}]}
    check_task(a_task(dependsOn=fits))
    too_many = a_task(dependsOn={"taskIds": ["x" * 64] * 1000 + ["y"]})
    code, _ = refusal_of(check_task, too_many)
    assert code == "TaskDependencyListTooLong"
    too_many = a_task(dependsOn={"taskIdRanges": [{"start": 100000, "end": 200000}] * 5000})
    code, _ = refusal_of(check_task, too_many)
    assert code == "TaskDependencyRangesTooLong"


def test_a_replaced_task_has_constraints_to_check():
    check_task_replace(TaskReplace())
    body = b'{"constraints":{"maxTaskRetryCount":-2}}'
    assert refusal_of(check_task_replace, decode(body, TaskReplace))


PREP = {"commandLine": "x"}


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"priority": 1000, "maxParallelTasks": -1},
        {"priority": -1000, "maxParallelTasks": 1},
        {"constraints": {"maxWallClockTime": "PT1H", "maxTaskRetryCount": -1}},
        {"jobPreparationTask": PREP, "jobReleaseTask": {**PREP, "maxWallClockTime": "PT15M"}},
        {"jobManagerTask": {"id": "m", "commandLine": "x"}},
        an_auto_pool(),
        an_auto_pool(autoPoolIdPrefix="x" * 20),
    ],
)
def test_good_jobs(members: dict[str, Any]):
    check_job(a_job(**members))


@pytest.mark.parametrize(
    ("members", "code", "name"),
    [
        ({"id": ""}, "InvalidPropertyValue", "id"),
        ({"id": "s:job-1"}, "InvalidPropertyValue", "id"),
        ({"priority": 1001}, "InvalidPropertyValue", "priority"),
        ({"priority": -1001}, "InvalidPropertyValue", "priority"),
        ({"maxParallelTasks": 0}, "InvalidPropertyValue", "maxParallelTasks"),
        ({"maxParallelTasks": -2}, "InvalidPropertyValue", "maxParallelTasks"),
        (
            {"constraints": {"maxTaskRetryCount": -2}},
            "InvalidPropertyValue",
            "constraints.maxTaskRetryCount",
        ),
        ({"poolInfo": {}}, "MissingRequiredProperty", "poolInfo.poolId"),
        ({"poolInfo": {"poolId": ""}}, "InvalidPropertyValue", "poolInfo.poolId"),
        (
            {"poolInfo": {"poolId": "p", **an_auto_pool()["poolInfo"]}},
            "InvalidPropertyValue",
            "poolInfo.autoPoolSpecification",
        ),
        (
            an_auto_pool(poolLifetimeOption="jobschedule"),
            "InvalidPropertyValue",
            "poolInfo.autoPoolSpecification.poolLifetimeOption",
        ),
        (
            an_auto_pool(autoPoolIdPrefix="x" * 21),
            "InvalidPropertyValue",
            "poolInfo.autoPoolSpecification.autoPoolIdPrefix",
        ),
        (
            an_auto_pool(pool=None),
            "MissingRequiredProperty",
            "poolInfo.autoPoolSpecification.pool",
        ),
        ({"metadata": [{"name": "", "value": "x"}]}, "EmptyMetadataKey", "metadata[0].name"),
        ({"jobReleaseTask": PREP}, "InvalidPropertyValue", "jobReleaseTask"),
        (
            {
                "jobPreparationTask": PREP,
                "jobReleaseTask": {**PREP, "maxWallClockTime": "PT15M1S"},
            },
            "InvalidPropertyValue",
            "jobReleaseTask.maxWallClockTime",
        ),
        (
            {"jobPreparationTask": PREP, "jobReleaseTask": {**PREP, "id": "JobPreparation"}},
            "InvalidPropertyValue",
            "jobReleaseTask.id",
        ),
        (
            {
                "jobPreparationTask": PREP,
                "jobManagerTask": {"id": "jobPreparation", "commandLine": "x"},
            },
            "TaskIdSameAsJobPreparationTask",
            None,
        ),
        (
            {
                "jobPreparationTask": PREP,
                "jobReleaseTask": PREP,
                "jobManagerTask": {"id": "jobrelease", "commandLine": "x"},
            },
            "TaskIdSameAsJobReleaseTask",
            None,
        ),
        (
            {"jobManagerTask": {"id": "m", "commandLine": ""}},
            "InvalidPropertyValue",
            "jobManagerTask.commandLine",
        ),
        (
            {"jobManagerTask": {"id": "m", "commandLine": "x", **an_output("/etc/x")}},
            "InvalidPropertyValue",
            "jobManagerTask.outputFiles[0].filePattern",
        ),
        (
            {"commonEnvironmentSettings": [{"name": ""}]},
            "InvalidPropertyValue",
            "commonEnvironmentSettings[0].name",
        ),
    ],
)
def test_bad_jobs(members: dict[str, Any], code: str, name: str | None):
    assert refusal_of(check_job, a_job(**members)) == (code, name)


def test_changed_jobs_obey_the_same_rules():
    check_job_update(decode(b'{"priority":5,"metadata":[]}', JobUpdate))
    check_job_replace(decode(b'{"poolInfo":{"poolId":"p"}}', JobReplace))
    bad: list[tuple[Any, Any, bytes]] = [
        (check_job_update, JobUpdate, b'{"priority":2000}'),
        (check_job_update, JobUpdate, b'{"poolInfo":{}}'),
        (check_job_update, JobUpdate, b'{"constraints":{"maxWallClockTime":"x"}}'),
        (check_job_update, JobUpdate, b'{"metadata":[{"name":"","value":""}]}'),
        (check_job_update, JobUpdate, b'{"networkConfiguration":{"subnetId":""}}'),
        (check_job_replace, JobReplace, b'{"poolInfo":{}}'),
        (check_job_replace, JobReplace, b'{"poolInfo":{"poolId":"p"},"maxParallelTasks":0}'),
    ]
    for check, struct, body in bad:
        assert refusal_of(check, decode(body, struct))


def test_schedules():
    check_job_schedule(
        a_schedule(schedule={"recurrenceInterval": "PT1M", "doNotRunUntil": "2024-01-01T00:00:00Z"})
    )
    lifetime = an_auto_pool(poolLifetimeOption="jobschedule")
    check_job_schedule(a_schedule(jobSpecification=lifetime))
    for members, name in (
        ({"id": "a b"}, "id"),
        ({"displayName": "x" * 1025}, "displayName"),
        ({"schedule": {"recurrenceInterval": "PT59S"}}, "schedule.recurrenceInterval"),
        ({"schedule": {"startWindow": "PT0S"}}, "schedule.startWindow"),
        ({"schedule": {"doNotRunAfter": "never"}}, "schedule.doNotRunAfter"),
        ({"jobSpecification": {"poolInfo": {}}}, "jobSpecification.poolInfo.poolId"),
        (
            {"jobSpecification": {"poolInfo": {"poolId": "p"}, "priority": 5000}},
            "jobSpecification.priority",
        ),
    ):
        assert refusal_of(check_job_schedule, a_schedule(**members))[1] == name


def test_changed_schedules_obey_the_same_rules():
    check_job_schedule_update(JobScheduleUpdate())
    body = b'{"jobSpecification":{"poolInfo":{"poolId":"p"}}}'
    check_job_schedule_replace(decode(body, JobScheduleReplace))
    body = b'{"schedule":{"startWindow":"PT1S"},"jobSpecification":{"poolInfo":{"poolId":"p"}}}'
    assert refusal_of(check_job_schedule_update, decode(body, JobScheduleUpdate))
    assert refusal_of(check_job_schedule_replace, decode(body, JobScheduleReplace))
