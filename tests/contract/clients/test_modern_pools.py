"""Pools with every method of the official Python client 15.1, sync and async."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceNotFoundError
from data_plane.conftest import MACHINE, VM_SIZE, fresh

from .modern import calls, now

PAIRS = [m.BatchMetadataItem(name="team", value="red"), m.BatchMetadataItem(name="x", value="")]


def options(pool_id: str, **changes: object) -> m.BatchPoolCreateOptions:
    """All that a pool of no nodes can be told."""
    members = {
        "display_name": "A pool",
        "resize_timeout": timedelta(minutes=10),
        "target_dedicated_nodes": 0,
        "target_low_priority_nodes": 0,
        "enable_inter_node_communication": False,
        "start_task": m.BatchStartTask(
            command_line="/bin/true",
            environment_settings=[m.EnvironmentSetting(name="N", value="v")],
            max_task_retry_count=1,
            wait_for_success=True,
        ),
        "task_slots_per_node": 2,
        "task_scheduling_policy": m.BatchTaskSchedulingPolicy(
            node_fill_type=m.BatchNodeFillType.PACK
        ),
        "metadata": PAIRS,
    } | changes
    return m.BatchPoolCreateOptions(
        id=pool_id, vm_size=VM_SIZE, virtual_machine_configuration=MACHINE, **members
    )


@pytest.fixture
def empty(batch):
    """A pool without nodes."""
    pool_id = fresh("empty")
    batch.create_pool(options(pool_id))
    yield pool_id
    try:
        batch.begin_delete_pool(pool_id, polling_interval=0)
    except ResourceNotFoundError as error:
        assert error.error.code == "PoolNotFound"  # noqa: PT017, the test deleted it


@calls("create_pool", "get_pool")
def test_a_pool_is_created_and_read(sdk):
    pool_id, before = fresh("pool"), now() - timedelta(seconds=2)
    assert sdk.create_pool(options(pool_id)) is None
    pool = sdk.get_pool(pool_id)
    assert (pool.id, pool.display_name, pool.vm_size) == (pool_id, "A pool", VM_SIZE)
    assert pool.url.endswith(f"/pools/{pool_id}")
    assert before <= pool.creation_time <= now()
    assert pool.last_modified == pool.creation_time == pool.state_transition_time
    assert pool.state is m.BatchPoolState.ACTIVE
    assert pool.allocation_state in (m.AllocationState.STEADY, m.AllocationState.RESIZING)
    assert pool.resize_timeout == timedelta(minutes=10)
    assert (pool.target_dedicated_nodes, pool.current_low_priority_nodes) == (0, 0)
    assert pool.enable_auto_scale is False
    assert pool.enable_inter_node_communication is False
    assert pool.task_slots_per_node == 2
    assert pool.task_scheduling_policy.node_fill_type is m.BatchNodeFillType.PACK
    assert [(one.name, one.value) for one in pool.metadata] == [("team", "red"), ("x", "")]
    assert pool.start_task.max_task_retry_count == 1
    assert pool.start_task.environment_settings[0].value == "v"
    machine = pool.virtual_machine_configuration
    assert machine.image_reference.offer == MACHINE.image_reference.offer
    part = sdk.conditional("get_pool", pool_id, etag=pool.etag, select=["id", "metadata"])
    assert (part.id, part.vm_size, len(part.metadata)) == (pool_id, None, 2)
    whole = sdk.get_pool(pool_id, expand=["stats"])
    assert whole.id == pool_id
    sdk.refused(409, "PoolExists", "create_pool", options(pool_id))
    sdk.refused(404, "PoolNotFound", "get_pool", fresh("none"))
    assert sdk.begin_delete_pool(pool_id) == "Succeeded"


@calls("list_pools")
def test_pools_are_listed(sdk, empty):
    found = sdk.list_pools(
        filter=f"id eq '{empty}' and state eq 'active'",
        select=["id", "state"],
        expand=["stats"],
        max_results=1,
    )
    assert [(one.id, one.state, one.vm_size) for one in found] == [(empty, "active", None)]
    ids = [one.id for one in sdk.list_pools(max_results=1)]
    assert empty in ids
    assert ids == sorted(set(ids))


@calls("pool_exists")
def test_a_pool_exists(sdk, empty):
    etag = sdk.get_pool(empty).etag
    assert sdk.conditional("pool_exists", empty, etag=etag) is True
    # The client looks for errors before it looks at the status.
    with pytest.raises(ResourceNotFoundError):
        sdk.pool_exists(fresh("none"))


@calls("update_pool")
def test_a_pool_is_changed(sdk, empty):
    before = sdk.get_pool(empty)
    changes = m.BatchPoolUpdateOptions(display_name="Other", metadata=PAIRS[:1])
    assert sdk.conditional("update_pool", empty, changes, etag=before.etag) is None
    after = sdk.get_pool(empty)
    assert (after.display_name, len(after.metadata)) == ("Other", 1)
    assert after.start_task.command_line == "/bin/true"
    assert after.etag != before.etag
    assert after.last_modified > before.last_modified


@calls("replace_pool_properties")
def test_a_pools_properties_are_replaced(sdk, empty):
    body = m.BatchPoolReplaceOptions(application_package_references=[], metadata=[])
    assert sdk.replace_pool_properties(empty, body) is None
    after = sdk.get_pool(empty)
    assert after.start_task is None
    assert not after.metadata


@calls("begin_resize_pool", "begin_stop_pool_resize", "begin_remove_nodes", "begin_delete_pool")
def test_a_pool_grows_and_shrinks(sdk, empty):
    body = m.BatchPoolResizeOptions(
        target_dedicated_nodes=2,
        target_low_priority_nodes=0,
        resize_timeout=timedelta(minutes=5),
        node_deallocation_option=m.BatchNodeDeallocationOption.REQUEUE,
    )
    etag = sdk.get_pool(empty).etag
    assert sdk.conditional("begin_resize_pool", empty, body, etag=etag) == "Succeeded"
    pool = sdk.get_pool(empty)
    assert (pool.allocation_state, pool.current_dedicated_nodes) == ("steady", 2)
    assert pool.etag != etag
    assert sdk.conditional("begin_stop_pool_resize", empty, etag=pool.etag) == "Succeeded"
    nodes = sdk.list_nodes(empty)
    body = m.BatchNodeRemoveOptions(
        node_ids=[nodes[0].id],
        resize_timeout=timedelta(minutes=5),
        node_deallocation_option=m.BatchNodeDeallocationOption.TERMINATE,
    )
    etag = sdk.get_pool(empty).etag
    assert sdk.conditional("begin_remove_nodes", empty, body, etag=etag) == "Succeeded"
    pool = sdk.get_pool(empty)
    assert (pool.target_dedicated_nodes, pool.current_dedicated_nodes) == (1, 1)
    assert [one.id for one in sdk.list_nodes(empty)] == [nodes[1].id]
    assert sdk.conditional("begin_delete_pool", empty, etag=pool.etag) == "Succeeded"
    sdk.refused(404, "PoolNotFound", "get_pool", empty)


@calls("enable_pool_auto_scale", "evaluate_pool_auto_scale", "disable_pool_auto_scale")
def test_a_formula_is_enabled_evaluated_and_disabled(sdk, empty):
    formula = "$TargetDedicatedNodes = 0; $NodeDeallocationOption = requeue;"
    evaluation = m.BatchPoolEvaluateAutoScaleOptions(auto_scale_formula=formula)
    enabling = m.BatchPoolEnableAutoScaleOptions(
        auto_scale_formula=formula, auto_scale_evaluation_interval=timedelta(minutes=6)
    )
    etag = sdk.get_pool(empty).etag
    assert sdk.conditional("enable_pool_auto_scale", empty, enabling, etag=etag) is None
    pool = sdk.get_pool(empty)
    assert pool.enable_auto_scale is True
    assert pool.auto_scale_formula == formula
    assert pool.auto_scale_evaluation_interval == timedelta(minutes=6)
    assert pool.auto_scale_run.error is None
    run = sdk.evaluate_pool_auto_scale(empty, evaluation)
    assert run.error is None
    assert "$TargetDedicatedNodes=0" in run.results
    assert abs(now() - run.timestamp) < timedelta(minutes=5)
    assert sdk.disable_pool_auto_scale(empty) is None
    assert sdk.get_pool(empty).enable_auto_scale is False
