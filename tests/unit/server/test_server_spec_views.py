"""Every member a user can send comes back as it was sent, with defaults, without secrets."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lote.server.spec_views import (
    shown_spec,
    shown_task_spec,
    view_job_settings,
    view_pool_settings,
    view_schedule,
    view_start_task,
    view_task_constraints,
)
from lote.server.views import QUICK_MEMBERS, view_quick_members, view_task
from lote.store.records import COMPLETED, READY, TaskRecord
from lote.wire.check_jobs import check_job, check_job_schedule
from lote.wire.check_pools import check_pool
from lote.wire.check_tasks import check_task
from lote.wire.decode import decode
from lote.wire.job import JobCreate
from lote.wire.job_schedule import JobScheduleCreate
from lote.wire.pool import PoolCreate
from lote.wire.task import TaskCreate
from whole_bodies import part, whole_job, whole_pool, whole_task, without_secrets

SCHEDULE = {
    "id": "s",
    "displayName": "Everything",
    "schedule": part("schedule"),
    "jobSpecification": whole_job(),
    "metadata": [{"name": "a", "value": "b"}],
}
WHOLE: dict[type[msgspec.Struct], tuple[dict[str, Any], Any]] = {
    PoolCreate: ({"id": "p"} | whole_pool(), check_pool),
    JobCreate: ({"id": "j"} | whole_job(), check_job),
    JobScheduleCreate: (SCHEDULE, check_job_schedule),
    TaskCreate: ({"id": "t"} | whole_task(), check_task),
}
# Excluded by another member, or refused because it can only be in the provider's cloud.
LEFT_OUT = {
    "autoScaleEvaluationInterval", "autoScaleFormula", "cloudServiceConfiguration",
    "communityGalleryImageId", "customerManagedKey", "diskEncryptionSet", "exactVersion", "id",
    "inVMAccessControlProfileReferenceId", "ipAddressIds", "maxTasksPerNode",
    "networkConfiguration", "poolId", "serviceArtifactReference", "sharedGalleryImageId",
    "storageAccountType", "subnetId", "virtualMachineImageId",
    # A pool's own identities, which it can't have here; those of resource files may be given.
    "AzureBlobFileSystemConfiguration.identityReference",
    "ContainerRegistryReference.identityReference",
}  # fmt: skip


def kept(struct: type[msgspec.Struct]) -> bytes:
    body, check = WHOLE[struct]
    found = decode(msgspec.json.encode(body), struct)
    check(found)
    return msgspec.json.encode(found)


def absent(bodies: list[msgspec.Struct]) -> Iterator[str]:
    """The members that are absent in every struct of their kind."""
    lacking: dict[type, set[str]] = {}
    for one in structs_in(bodies):
        names = {
            field.encode_name
            for field in msgspec.structs.fields(one)
            if getattr(one, field.name) is None
        }
        lacking[type(one)] = lacking.get(type(one), names) & names
    for kind, names in lacking.items():
        yield from (f"{kind.__name__}.{name}" for name in names)


def structs_in(value: Any) -> Iterator[msgspec.Struct]:
    if isinstance(value, msgspec.Struct):
        yield value
        for name in value.__struct_fields__:
            yield from structs_in(getattr(value, name))
    elif isinstance(value, list):
        for item in value:
            yield from structs_in(item)


def test_the_bodies_have_every_member():
    found = [msgspec.json.decode(kept(struct), type=struct) for struct in WHOLE]
    lacking = {name for name in absent(found) if not {name, name.partition(".")[2]} & LEFT_OUT}
    assert lacking == set()


@pytest.mark.parametrize("struct", WHOLE, ids=lambda struct: struct.__name__)
def test_no_member_is_lost_and_no_secret_shown(struct):
    body, _ = WHOLE[struct]
    shown = shown_spec(kept(struct), struct)
    assert "SECRET" not in repr(shown)
    assert shown == without_secrets(body)


def test_a_whole_pool():
    spec = shown_spec(kept(PoolCreate), PoolCreate)
    shown = view_pool_settings(spec)
    sent = without_secrets(whole_pool())
    assert shown == {name: sent[name] for name in shown}
    # the others are on the record: sizes, slots and the like
    assert set(sent) - set(shown) == {
        "displayName", "enableAutoScale", "enableInterNodeCommunication", "resizeTimeout",
        "targetDedicatedNodes", "targetLowPriorityNodes", "taskSlotsPerNode", "vmSize",
    }  # fmt: skip


@pytest.mark.parametrize("struct", [JobCreate, JobScheduleCreate])
def test_a_whole_job(struct):
    spec = shown_spec(kept(struct), struct)
    settings = spec["jobSpecification"] if struct is JobScheduleCreate else spec
    sent = without_secrets(whole_job())
    assert view_job_settings(settings) == sent


def test_a_whole_schedule():
    assert view_schedule(part("schedule")) == part("schedule")


def test_nothing_is_changed_by_showing_it():
    spec = shown_spec(kept(JobCreate), JobCreate)
    before = copy.deepcopy(spec)
    view_job_settings(spec)
    assert spec == before


def test_defaults_are_filled_in():
    pool = {"vmSize": "small", "startTask": {"commandLine": "x"}, "networkConfiguration": {}}
    auto_pool = {"poolLifetimeOption": "job", "pool": pool}
    job = {"poolInfo": {"autoPoolSpecification": auto_pool}}
    job |= {
        "jobManagerTask": {"id": "m", "commandLine": "x"},
        "jobPreparationTask": {"commandLine": "x"},
        "jobReleaseTask": {"commandLine": "x"},
    }
    user = {"autoUser": {"scope": "pool", "elevationLevel": "nonadmin"}}
    unlimited = "P10675199DT2H48M5.4775807S"
    limits = {"maxWallClockTime": unlimited, "retentionTime": "P7D", "maxTaskRetryCount": 0}
    assert view_job_settings(job) == {
        "priority": 0,
        "maxParallelTasks": -1,
        "usesTaskDependencies": False,
        "allowTaskPreemption": False,
        "constraints": {"maxWallClockTime": unlimited, "maxTaskRetryCount": 0},
        "jobManagerTask": {
            "id": "m", "commandLine": "x", "constraints": limits, "requiredSlots": 1,
            "userIdentity": user, "runExclusive": True, "allowLowPriorityNode": True,
            "killJobOnCompletion": True,
        },
        "jobPreparationTask": {
            "id": "jobpreparation", "commandLine": "x", "constraints": limits,
            "userIdentity": user, "waitForSuccess": True, "rerunOnNodeRebootAfterSuccess": True,
        },
        "jobReleaseTask": {
            "id": "jobrelease", "commandLine": "x", "maxWallClockTime": "PT15M",
            "retentionTime": "P7D", "userIdentity": user,
        },
        "poolInfo": {
            "autoPoolSpecification": {
                "poolLifetimeOption": "job",
                "keepAlive": False,
                "pool": {
                    "vmSize": "small",
                    "taskSlotsPerNode": 1,
                    "taskSchedulingPolicy": {"nodeFillType": "spread"},
                    "resizeTimeout": "PT15M",
                    "targetDedicatedNodes": 0,
                    "targetLowPriorityNodes": 0,
                    "enableAutoScale": False,
                    "enableInterNodeCommunication": False,
                    "networkConfiguration": {"dynamicVNetAssignmentScope": "none"},
                    "startTask": {
                        "commandLine": "x", "userIdentity": user, "maxTaskRetryCount": 0,
                        "waitForSuccess": True,
                    },
                    "targetNodeCommunicationMode": "default",
                },
            }
        },
        "onAllTasksComplete": "noaction",
        "onTaskFailure": "noaction",
    }  # fmt: skip


def test_durations_and_moments_have_one_spelling():
    spelled = view_task_constraints({"maxWallClockTime": "P1W", "retentionTime": "P"}, 4)
    assert spelled == {"maxWallClockTime": "P7D", "retentionTime": "PT0S", "maxTaskRetryCount": 4}
    schedule = {"doNotRunUntil": "2024-01-01T01:00:00+01:00", "recurrenceInterval": "P1M"}
    assert view_schedule(schedule) == {
        "doNotRunUntil": "2024-01-01T00:00:00Z",
        "recurrenceInterval": "P30D",
    }
    rolling = {"mode": "rolling", "rollingUpgradePolicy": {"pauseTimeBetweenBatches": "PT60S"}}
    shown = view_pool_settings({"upgradePolicy": rolling})["upgradePolicy"]
    assert shown["rollingUpgradePolicy"] == {"pauseTimeBetweenBatches": "PT1M"}
    scale = {
        "enableAutoScale": True,
        "autoScaleFormula": "x",
        "autoScaleEvaluationInterval": "PT600S",
    }
    assert view_pool_settings(scale)["autoScaleEvaluationInterval"] == "PT10M"
    release = {"commandLine": "x", "maxWallClockTime": "PT300S", "retentionTime": "P1W"}
    job = {"poolInfo": {"poolId": "p"}, "jobReleaseTask": release}
    shown = view_job_settings(job)["jobReleaseTask"]
    assert (shown["maxWallClockTime"], shown["retentionTime"]) == ("PT5M", "P7D")


def test_a_start_task_is_shown_with_its_defaults():
    assert view_start_task({"commandLine": "x", "waitForSuccess": False})["waitForSuccess"] is False


# What signatures, quotes, escapes and white space of other alphabets are made of.
PIECES = st.sampled_from(
    [
        *("sig=", "SIG=", "Sig=", "\u017fig=", "?", "&", ";", "a", "9%2F", "/", "REDACTED"),
        *('"', "'", "\\", "\\\\", " ", "\n", "\t", "\x08", "\x1f", "\x7f"),
        *("\u00a0", "\u2028", "é", "password"),
    ]
)


@given(st.lists(PIECES, max_size=14).map("".join))
@example('http://h/x?sig=a\\"b')
@example("?sig=&sig=a")
@example("?sig=a\u00a0b&sIg=c")
def test_a_task_is_shown_quickly_as_it_is_shown_thoroughly(text):
    task = TaskCreate(id="t", command_line=text, display_name=f"?sig={text}")
    spec = msgspec.json.encode(task)
    assert shown_task_spec(spec) == shown_spec(spec, TaskCreate)


QUICK_NAMES = sorted(QUICK_MEMBERS)


@given(st.sets(st.sampled_from(QUICK_NAMES), min_size=1), st.booleans())
def test_members_shown_without_the_spec_are_those_of_the_whole_view(names, ended):
    record = a_task_record(ended=ended)
    whole = view_task(record, "j", 3, "http://h")
    assert view_quick_members(record, names) == {name: whole[name] for name in names}


def a_task_record(*, ended: bool) -> TaskRecord:
    """A task as the store gives it, before and after its run."""
    facts: dict[str, Any] = dict.fromkeys(TaskRecord.__struct_fields__)
    facts |= {"key": 1, "job_key": 1, "id": "t", "phase": READY, "flags": 0, "slots": 2}
    facts |= {
        "waiting": 0,
        "created_us": 1_000_000,
        "modified_us": 2_000_001,
        "state_us": 3_500_000,
    }
    facts |= {"run": 0, "retries": 0, "requeues": 0, "reruns": 0, "spec": b'{"commandLine":"x"}'}
    if ended:
        facts |= {"phase": COMPLETED, "start_us": 4, "end_us": 5, "exit_code": 0, "result": 1}
    return TaskRecord(**facts)
