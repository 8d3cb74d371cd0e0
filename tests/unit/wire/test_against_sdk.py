"""Our structs have the members of the official client's models, under the same JSON names."""

from __future__ import annotations

import inspect
from enum import Enum
from types import ModuleType
from typing import get_args

import msgspec
import pytest

from lote.wire import (
    account,
    enums,
    file,
    job,
    job_schedule,
    legacy,
    network,
    node,
    pool,
    shared,
    task,
    vm,
)

models = pytest.importorskip("azure.batch.models")

ROOMS: list[ModuleType] = [
    account, file, job, job_schedule, legacy, network, node, pool, shared, task, vm,
]  # fmt: skip
STRUCTS = {
    struct.__name__: struct
    for room in ROOMS
    for struct in vars(room).values()
    if inspect.isclass(struct)
    and issubclass(struct, msgspec.Struct)
    and struct.__module__ == room.__name__
}
# Members of ours that the client's newest models lack: sent or read by its older versions only.
OLD_MEMBERS = {
    "applicationLicenses", "authenticationTokenSettings", "certificateReferences",
    "cloudServiceConfiguration", "currentNodeCommunicationMode", "maxTasksPerNode",
    "resourceTags", "storageAccountType", "targetNodeCommunicationMode",
}  # fmt: skip


def our_name(model: str) -> str:
    exact = {"RecentBatchJob": "RecentJob", "ExitOptions": "ExitOptions"}
    if model in exact or model in STRUCTS:
        return exact.get(model, model)
    return model.removeprefix("Batch").removesuffix("Options")


SDK = {
    name: frozenset(field._rest_name for field in model.__new__(model)._attr_to_rest_field.values())
    for name, model in inspect.getmembers(models, inspect.isclass)
    if hasattr(model, "as_dict")
}


@pytest.mark.parametrize("model", sorted(SDK))
def test_every_model_is_there_with_all_its_members(model: str):
    struct = STRUCTS[our_name(model)]
    ours = {field.encode_name for field in msgspec.structs.fields(struct)}
    assert SDK[model] <= ours
    assert ours - SDK[model] <= OLD_MEMBERS


def test_the_list_is_not_empty():
    assert len(SDK) > 140


ENUMS = {
    name: {member.value for member in kind}
    for name, kind in inspect.getmembers(models, inspect.isclass)
    if issubclass(kind, Enum)
}


@pytest.mark.parametrize("name", sorted(ENUMS))
def test_every_word_is_spelled_alike(name: str):
    ours = getattr(enums, name if hasattr(enums, name) else name.removeprefix("Batch"))
    assert set(get_args(ours)) == ENUMS[name]
