"""Any body of any operation is read and checked, or refused in the protocol's words."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import inspect

from lote.wire import check_certificates, check_jobs, check_nodes, check_pools, check_tasks
from lote.wire.decode import decode
from lote.wire.errors import ERRORS, Refused, error_body
from lote.wire.job import JobCreate, JobReplace, JobUpdate
from lote.wire.job_schedule import JobScheduleCreate, JobScheduleReplace, JobScheduleUpdate
from lote.wire.legacy import CertificateCreate
from lote.wire.modern import modernize
from lote.wire.node import NodeRemove, NodeUserCreate, NodeUserReplace, UploadBatchServiceLogs
from lote.wire.operations import OPERATIONS
from lote.wire.pool import (
    PoolCreate,
    PoolEnableAutoScale,
    PoolEvaluateAutoScale,
    PoolReplace,
    PoolResize,
    PoolUpdate,
)
from lote.wire.secret_members import without_secrets
from lote.wire.task import TaskCreate, TaskReplace
from lote.wire.versions import VERSIONS

CHECKS: dict[type, Any] = {
    CertificateCreate: check_certificates.check_certificate,
    JobCreate: check_jobs.check_job,
    JobReplace: check_jobs.check_job_replace,
    JobScheduleCreate: check_jobs.check_job_schedule,
    JobScheduleReplace: check_jobs.check_job_schedule_replace,
    JobScheduleUpdate: check_jobs.check_job_schedule_update,
    JobUpdate: check_jobs.check_job_update,
    NodeRemove: check_nodes.check_removal,
    NodeUserCreate: check_nodes.check_node_user,
    NodeUserReplace: check_nodes.check_node_user_replace,
    PoolCreate: check_pools.check_pool,
    PoolEnableAutoScale: check_pools.check_enable_auto_scale,
    PoolEvaluateAutoScale: check_pools.check_evaluate_auto_scale,
    PoolReplace: check_pools.check_pool_replace,
    PoolResize: check_pools.check_resize,
    PoolUpdate: check_pools.check_pool_update,
    TaskCreate: check_tasks.check_task,
    TaskReplace: check_tasks.check_task_replace,
    UploadBatchServiceLogs: check_nodes.check_log_upload,
}
BODIES = sorted({row.takes for row in OPERATIONS if row.takes}, key=lambda struct: struct.__name__)
TEXTS = [
    "", "a", "a b", "t-1", "x" * 65, "\0", "..", "a/../..", "http://h/b?sig=hush5", "P1D", "PT5M",
    "P99999999D", "P1Y2M3W4D", "-PT1S", "2024-01-01T00:00:00+02:00", "9999-99-99", "5", "-1",
    "true", "standard_d2_v2", "ü\u2028", "sha1", "0" * 40, "AAAA", "*", "100-200", "0770",
]  # fmt: skip
leaves = (
    st.none() | st.booleans() | st.integers(-(2**65), 2**65) | st.floats() | st.sampled_from(TEXTS)
)
anything = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(TEXTS), inner, max_size=2)
    ),
    max_leaves=4,
)


def values_of(kind: inspect.Type, depth: int) -> st.SearchStrategy[Any]:
    """JSON values, most of them of the kind that a member wants."""
    match kind:
        case inspect.UnionType():
            kinds = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
            right = st.one_of([values_of(one, depth) for one in kinds])
        case inspect.StructType():
            right = bodies_of(kind.cls, depth - 1) if depth else st.just({})
        case inspect.ListType():
            right = st.lists(values_of(kind.item_type, depth), max_size=2)
        case inspect.LiteralType():
            words = [word for word in kind.values if isinstance(word, str)]
            right = st.sampled_from([*words, *(word.upper() for word in words)])
        case inspect.IntType():
            right = st.integers(-2, 300) | st.integers(0, 99).map(str)
        case inspect.BoolType():
            right = st.booleans() | st.sampled_from(["True", "false"])
        case inspect.DictType():
            right = st.dictionaries(st.sampled_from(TEXTS), st.sampled_from(TEXTS), max_size=2)
        case _:
            right = st.sampled_from(TEXTS)
    return st.one_of(right, right, right, right, right, anything)


@cache
def bodies_of(struct: type[msgspec.Struct], depth: int = 5) -> st.SearchStrategy[dict[str, Any]]:
    """Bodies with some of the members of a struct, nearly always with those it must have."""
    kind = inspect.type_info(struct)
    assert isinstance(kind, inspect.StructType)
    required = {f.encode_name: values_of(f.type, depth) for f in kind.fields if f.required}
    optional = {f.encode_name: values_of(f.type, depth) for f in kind.fields if not f.required}
    # a few of the optional ones at a time: bodies of models with dozens of members stay small
    return st.lists(st.sampled_from(sorted(optional) or [""]), max_size=4, unique=True).flatmap(
        lambda names: st.fixed_dictionaries(
            required | {name: optional[name] for name in names if name}
        )
    )


def test_every_body_that_has_rules_is_checked_here():
    ruleless = {body for body in BODIES if body not in CHECKS}
    assert {body.__name__ for body in ruleless} == {
        "JobDisable", "JobTerminate", "NodeDeallocate", "NodeDisableScheduling", "NodeReboot",
        "NodeReimage", "PoolUpgradeOs", "TaskGroup",
    }  # fmt: skip


@pytest.mark.parametrize("struct", BODIES, ids=lambda struct: struct.__name__)
@settings(max_examples=30, deadline=None)
@given(data=st.data(), version=st.sampled_from(VERSIONS))
def test_any_body_is_read_and_checked_or_refused(struct, data, version):
    body = msgspec.json.encode(data.draw(bodies_of(struct)))
    refused = None
    try:
        found = decode(body, struct)
        modernize(found, version)
        CHECKS.get(struct, without_secrets)(found)
    except Refused as error:
        refused = error
    if refused is not None:
        assert refused.code in ERRORS
        assert 400 <= refused.status < 500
        text = error_body(refused, "http://h", "id", 0)
        assert b"hush5" not in text
        assert len(text) < 4096
        return
    # what was taken can be kept, read again and shown
    kept = msgspec.json.encode(found)
    assert msgspec.json.decode(kept, type=struct, strict=False) == found
    msgspec.to_builtins(without_secrets(found))
