"""Quotas of the account, as the SDK sees them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from azure.batch import models as m
from azure.core.exceptions import HttpResponseError, ResourceExistsError

from lote.cli.service import temporary_service

from .conftest import create_pool, fresh, new_client, until

QUICK = {"polling_interval": 0.02}


def create_job(batch, job_id):
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id="p")))


def refusal(act, *args):
    with pytest.raises(ResourceExistsError) as caught:
        act(*args)
    assert caught.value.status_code == 409
    return caught.value.error.code


def test_quotas_of_an_account(tmp_path, monkeypatch):
    monkeypatch.setenv("LOTE_POOL_QUOTA", "1")
    monkeypatch.setenv("LOTE_ACTIVE_JOB_AND_SCHEDULE_QUOTA", "1")
    monkeypatch.setenv("LOTE_DEDICATED_CORE_QUOTA", "3")
    monkeypatch.setenv("LOTE_LOW_PRIORITY_CORE_QUOTA", "0")
    with temporary_service(tmp_path) as ready, new_client(ready) as batch:
        create_pool(batch, "p", 2, target_low_priority_nodes=1)  # of two cores each
        assert refusal(create_pool, batch, "q", 0) == "PoolQuotaReached"
        pool = until(lambda: (p := batch.get_pool("p")).allocation_state == "steady" and p)
        assert (pool.current_dedicated_nodes, pool.current_low_priority_nodes) == (1, 0)
        assert [error.code for error in pool.resize_errors] == [
            "AccountCoreQuotaReached",
            "AccountLowPriorityCoreQuotaReached",
        ]
        create_job(batch, "a")
        assert refusal(create_job, batch, "b") == "ActiveJobAndScheduleQuotaReached"
        schedule = m.BatchJobScheduleCreateOptions(
            id="s",
            schedule=m.BatchJobScheduleConfiguration(recurrence_interval=timedelta(hours=1)),
            job_specification=m.BatchJobSpecification(pool_info=m.BatchPoolInfo(pool_id="p")),
        )
        assert refusal(batch.create_job_schedule, schedule) == "ActiveJobAndScheduleQuotaReached"
        batch.begin_terminate_job("a", {"terminateReason": "room"}, **QUICK).result()
        create_job(batch, "b")
        batch.begin_delete_pool("p", **QUICK).result()
        create_pool(batch, "q", 0)


def test_nodes_that_reach_each_other(batch):
    pool_id = fresh("linked")

    def refused(act, *args, **given):
        with pytest.raises(HttpResponseError) as caught:
            act(*args, **given)
        error = caught.value.response.json()
        assert (caught.value.status_code, error["code"]) == (400, "InvalidPropertyValue")
        values = {one["key"]: one["value"] for one in error["values"]}
        return values["PropertyName"]

    linked = {"enable_inter_node_communication": True}
    assert refused(create_pool, batch, pool_id, 101, **linked) == "targetDedicatedNodes"
    create_pool(batch, pool_id, 0, **linked)
    more = m.BatchPoolResizeOptions(target_low_priority_nodes=101)
    assert refused(batch.begin_resize_pool, pool_id, more) == "targetLowPriorityNodes"
    batch.begin_delete_pool(pool_id, **QUICK).result()
