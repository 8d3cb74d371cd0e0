"""Auto pools: made with the job, or the schedule, that wants one of its own; gone with it.

The pool is a pool like any other. The job's row has its id, the schedule's that of the pool which
its jobs share; whether it is kept at the end is read from the specification then.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from lote.server.memory import JobState
from lote.server.new_pools import make_pool
from lote.server.owner import Tx
from lote.server.resizing import begin_delete_pool
from lote.server.spec_views import Shown, shown_spec, view_pool_specification
from lote.store import job_schedules as schedule_rows
from lote.store import jobs as job_rows
from lote.store.events import add_event
from lote.store.records import JobScheduleRecord
from lote.wire.errors import Refused, invalid_property
from lote.wire.job import JobCreate
from lote.wire.job_schedule import JobScheduleCreate
from lote.wire.pool import AutoPoolSpecification, PoolCreate, PoolInfo, PoolSpecification

# Why a job could not have its pool. REST: job scheduling errors.
_ERRORS = {
    "PoolQuotaReached": "AutoPoolCreationFailedWithQuotaReached",
    "AutoScalingFormulaSyntaxError": "InvalidAutoScaleFormulaInAutoPool",
    "AutoScaleFormulaTooLong": "InvalidAutoScaleFormulaInAutoPool",
    "InvalidApplicationPackageReferences": "InvalidApplicationPackageReferencesInAutoPool",
    "InvalidCertificateReferences": "InvalidCertificatesInAutoPool",
}
_OTHER_ERROR = "InvalidAutoPoolSettings"

_decode_job = msgspec.json.Decoder(JobCreate, strict=False).decode
_decode_schedule = msgspec.json.Decoder(JobScheduleCreate, strict=False).decode


class FoundPool(NamedTuple):
    """The id of a job's pool, or the wire's schedulingError as JSON."""

    pool_id: str | None
    error: str | None = None


def find_pool(tx: Tx, info: PoolInfo, schedule: JobScheduleRecord | None) -> FoundPool:
    """The pool of a new job: the one it names, else a new one, else that of its schedule."""
    auto_pool = info.auto_pool_specification
    if auto_pool is None:
        return FoundPool(info.pool_id)
    is_shared = auto_pool.pool_lifetime_option == "jobschedule"
    if is_shared and schedule is not None:
        pool = tx.memory.pool_of_id(schedule.auto_pool_id)
        if pool is not None and pool.state == "active":
            return FoundPool(pool.id)
    try:
        pool = make_pool(tx, _as_pool(tx, auto_pool))
    except Refused as refused:
        return FoundPool(None, _scheduling_error(refused))
    add_event(tx.db, tx.now_us, "auto_pool_created", pool.id, "")
    if is_shared and schedule is not None:
        schedule.auto_pool_id = pool.id
        schedule_rows.save_job_schedule(tx.db, schedule.key, auto_pool_id=pool.id)
    return FoundPool(pool.id)


def _as_pool(tx: Tx, auto_pool: AutoPoolSpecification) -> PoolCreate:
    """The specification under an id of its own: a GUID, behind the prefix if there is one."""
    guid = tx.world.new_guid().upper()
    prefix = auto_pool.auto_pool_id_prefix
    spec = auto_pool.pool
    if spec is None:
        raise Refused("InvalidPropertyValue", "An auto pool needs a pool specification.")
    members = {name: getattr(spec, name) for name in spec.__struct_fields__}
    return PoolCreate(id=f"{prefix}_{guid}" if prefix else guid, **members)


def _scheduling_error(refused: Refused) -> str:
    error = {
        "category": "usererror",
        "code": _ERRORS.get(refused.code, _OTHER_ERROR),
        "message": "The auto pool of the job could not be created.",
        "details": [
            {"name": "Reason", "value": refused.message},
            *({"name": name, "value": value} for name, value in refused.values),
        ],
    }
    return msgspec.json.encode(error).decode()


def end_job_pool(tx: Tx, job: JobState) -> None:
    """The job is over: the pool that lived for it goes, unless it is to be kept."""
    if not job.has_auto_pool:
        return
    record = job_rows.get_job_by_key(tx.db, job.key)
    if record is not None:
        auto_pool = _decode_job(record.spec).pool_info.auto_pool_specification
        if auto_pool is not None and not auto_pool.keep_alive:
            _delete(tx, record.pool_id)


def end_schedule_pool(tx: Tx, schedule: JobScheduleRecord) -> None:
    """The schedule is over: the pool that its jobs shared goes, unless it is to be kept."""
    if schedule.auto_pool_id is None:
        return
    info = _decode_schedule(schedule.spec).job_specification.pool_info
    auto_pool = info.auto_pool_specification
    if auto_pool is None or not auto_pool.keep_alive:
        _delete(tx, schedule.auto_pool_id)


def _delete(tx: Tx, pool_id: str | None) -> None:
    pool = tx.memory.pool_of_id(pool_id)
    if pool is not None and pool.state == "active":
        begin_delete_pool(tx, pool)


def _shown(spec: PoolSpecification | None) -> Shown | None:
    """As clients read it, and send it again: with defaults, without secrets."""
    if spec is None:
        return None
    return view_pool_specification(shown_spec(msgspec.json.encode(spec), PoolSpecification))


def patched_auto_pool(before: PoolInfo, after: PoolInfo) -> PoolInfo:
    """The pool information of a job that is patched or replaced.

    Refuses: InvalidPropertyValue for any change of an auto pool but ``keepAlive``, and for that
    unless it lives for the job. Source: REST, Patch Job.
    """
    old, new = before.auto_pool_specification, after.auto_pool_specification
    if old is None and new is None:
        return after
    name = "poolInfo.autoPoolSpecification"
    if old is None or new is None:
        reason = "A job cannot change between an auto pool and a pool that exists."
        raise invalid_property(name, None, reason)
    if old.pool_lifetime_option != "job" or new.pool_lifetime_option != "job":
        value = new.pool_lifetime_option
        reason = "Only an auto pool that lives for its job can be changed, and not in this."
        raise invalid_property(f"{name}.poolLifetimeOption", value, reason)
    is_same_prefix = new.auto_pool_id_prefix in (None, old.auto_pool_id_prefix)
    if not is_same_prefix or (new.pool is not None and _shown(new.pool) != _shown(old.pool)):
        raise invalid_property(name, None, "Only keepAlive of an auto pool can be changed.")
    return PoolInfo(auto_pool_specification=msgspec.structs.replace(old, keep_alive=new.keep_alive))
