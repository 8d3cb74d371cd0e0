"""Every operation of the data plane, as one table of literals.

The server's handlers, the reference pages and the contract tests all read this table; ``match``
finds the row a request means. Source: REST, api-versions 2016-02-01.3.0 and newer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import msgspec

from lote.wire import job, job_schedule, legacy, node, pool, task
from lote.wire.routes import Routes

Conditions = Literal["all", "modified", "none"]

_NONE: frozenset[str] = frozenset()
_PAGE = frozenset({"maxresults"})
_PAGE_FILTER = frozenset({"maxresults", "filter"})
_PAGE_SELECT = frozenset({"maxresults", "select"})
_PAGE_FILTER_SELECT = frozenset({"maxresults", "filter", "select"})
_LIST = frozenset({"maxresults", "filter", "select", "expand"})
_ONE = frozenset({"select", "expand"})
_SELECT = frozenset({"select"})
_FORCE = frozenset({"force"})
_FILES = frozenset({"maxresults", "filter", "recursive"})
_RECURSIVE = frozenset({"recursive"})
_USAGE = frozenset({"maxresults", "filter", "starttime", "endtime"})

# Headers of a success: E = ETag and Last-Modified, D = DataServiceId, L = Location.
_E = frozenset({"etag"})
_D = frozenset({"dataserviceid"})
_ED = _E | _D
_DL = _D | {"location"}
_EDL = _ED | {"location"}

_SCALE_RUN = "Microsoft.Azure.Batch.Protocol.Entities.AutoScaleRun"
_LOG_UPLOAD = "Microsoft.Azure.Batch.Protocol.Entities.UploadBatchServiceLogsResult"
_REMOTE_LOGIN = "Microsoft.Azure.Batch.Protocol.Entities.ComputeNodeGetRemoteLoginSettingsResult"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One row: what is asked, what may come with it, and how a success looks.

    ``query`` names options in lower case without ``$``; ``api-version`` and ``timeout`` go
    everywhere. ``metadata`` is what follows ``$metadata#`` in ``odata.metadata``. ``real`` is False
    for what this release answers with 501 NotImplemented. ``since`` and ``until`` are the first and
    last api-version that have the operation, where that is not all of them. ``is_bulk``: one
    request may take milliseconds of the service's time.
    """

    name: str
    method: str
    path: str
    status: int
    takes: type[msgspec.Struct] | None = None
    takes_optional: bool = False
    query: frozenset[str] = _NONE
    conditions: Conditions = "none"
    headers: frozenset[str] = _NONE
    metadata: str | None = None
    since: str | None = None
    until: str | None = None
    real: bool = True
    is_bulk: bool = False


_POOL = "/pools/{pool_id}"
_NODE = "/pools/{pool_id}/nodes/{node_id}"
_NODE_FILE = "/pools/{pool_id}/nodes/{node_id}/files/{file_path}"
_JOB = "/jobs/{job_id}"
_SCHEDULE = "/jobschedules/{job_schedule_id}"
_TASK = "/jobs/{job_id}/tasks/{task_id}"
_TASK_FILE = "/jobs/{job_id}/tasks/{task_id}/files/{file_path}"
_CERTIFICATE = "/certificates(thumbprintAlgorithm={thumbprint_algorithm},thumbprint={thumbprint})"
_NO_CERTIFICATES_AFTER = "2024-07-01.20.0"

# fmt: off
_POOLS = (
    Operation(name="create_pool", method="POST", path="/pools", status=201,
              takes=pool.PoolCreate, headers=_EDL),
    Operation(name="list_pools", method="GET", path="/pools", status=200,
              query=_LIST, metadata="pools"),
    Operation(name="get_pool", method="GET", path=_POOL, status=200,
              query=_ONE, conditions="all", headers=_E, metadata="pools/@Element"),
    Operation(name="pool_exists", method="HEAD", path=_POOL, status=200,
              conditions="all", headers=_E),
    Operation(name="update_pool", method="PATCH", path=_POOL, status=200,
              takes=pool.PoolUpdate, conditions="all", headers=_ED),
    Operation(name="replace_pool_properties", method="POST", path=_POOL + "/updateproperties",
              status=204, takes=pool.PoolReplace, headers=_ED),
    Operation(name="delete_pool", method="DELETE", path=_POOL, status=202, conditions="all"),
    Operation(name="resize_pool", method="POST", path=_POOL + "/resize", status=202,
              takes=pool.PoolResize, conditions="all", headers=_ED),
    Operation(name="stop_pool_resize", method="POST", path=_POOL + "/stopresize", status=202,
              conditions="all", headers=_ED),
    Operation(name="enable_pool_auto_scale", method="POST", path=_POOL + "/enableautoscale",
              status=200, takes=pool.PoolEnableAutoScale, conditions="all", headers=_ED),
    Operation(name="disable_pool_auto_scale", method="POST", path=_POOL + "/disableautoscale",
              status=200, headers=_ED),
    Operation(name="evaluate_pool_auto_scale", method="POST", path=_POOL + "/evaluateautoscale",
              status=200, takes=pool.PoolEvaluateAutoScale, headers=_D, metadata=_SCALE_RUN),
    # Ours: the service shows the last evaluation only.
    Operation(name="list_pool_evaluations", method="GET", path=_POOL + "/evaluations", status=200,
              query=_PAGE, metadata="evaluations"),
    Operation(name="remove_nodes", method="POST", path=_POOL + "/removenodes", status=202,
              takes=node.NodeRemove, conditions="all", headers=_ED),
)

_NODES = (
    Operation(name="list_nodes", method="GET", path=_POOL + "/nodes", status=200,
              query=_PAGE_FILTER_SELECT, metadata="nodes"),
    Operation(name="get_node", method="GET", path=_NODE, status=200,
              query=_SELECT, metadata="nodes/@Element"),
    Operation(name="reboot_node", method="POST", path=_NODE + "/reboot", status=202,
              takes=node.NodeReboot, takes_optional=True, headers=_D),
    Operation(name="reimage_node", method="POST", path=_NODE + "/reimage", status=202,
              takes=node.NodeReimage, takes_optional=True, headers=_D),
    Operation(name="start_node", method="POST", path=_NODE + "/start", status=202,
              headers=_D, since="2024-07-01.20.0"),
    Operation(name="deallocate_node", method="POST", path=_NODE + "/deallocate", status=202,
              takes=node.NodeDeallocate, takes_optional=True, headers=_D,
              since="2024-07-01.20.0"),
    Operation(name="disable_node_scheduling", method="POST", path=_NODE + "/disablescheduling",
              status=200, takes=node.NodeDisableScheduling, takes_optional=True, headers=_D),
    Operation(name="enable_node_scheduling", method="POST", path=_NODE + "/enablescheduling",
              status=200, headers=_D),
    Operation(name="list_node_extensions", method="GET", path=_NODE + "/extensions", status=200,
              query=_PAGE_SELECT, metadata="extensions", since="2021-06-01.14.0"),
    Operation(name="get_node_extension", method="GET",
              path=_NODE + "/extensions/{extension_name}", status=200, query=_SELECT,
              metadata="extensions/@Element", since="2021-06-01.14.0"),
    Operation(name="create_node_user", method="POST", path=_NODE + "/users", status=201,
              takes=node.NodeUserCreate, headers=_DL),
    Operation(name="replace_node_user", method="PUT", path=_NODE + "/users/{user_name}",
              status=200, takes=node.NodeUserReplace, headers=_D),
    Operation(name="delete_node_user", method="DELETE", path=_NODE + "/users/{user_name}",
              status=200),
    Operation(name="get_node_remote_login_settings", method="GET",
              path=_NODE + "/remoteloginsettings", status=200, metadata=_REMOTE_LOGIN),
    Operation(name="upload_node_logs", method="POST", path=_NODE + "/uploadbatchservicelogs",
              status=200, takes=node.UploadBatchServiceLogs, metadata=_LOG_UPLOAD),
    Operation(name="list_node_files", method="GET", path=_NODE + "/files", status=200,
              query=_FILES, metadata="files"),
    Operation(name="download_node_file", method="GET", path=_NODE_FILE, status=200,
              conditions="modified"),
    Operation(name="get_node_file_properties", method="HEAD", path=_NODE_FILE, status=200,
              conditions="modified"),
    Operation(name="delete_node_file", method="DELETE", path=_NODE_FILE, status=200,
              query=_RECURSIVE),
)

_JOBS = (
    Operation(name="create_job", method="POST", path="/jobs", status=201,
              takes=job.JobCreate, headers=_EDL),
    Operation(name="list_jobs", method="GET", path="/jobs", status=200,
              query=_LIST, metadata="jobs"),
    Operation(name="get_job", method="GET", path=_JOB, status=200,
              query=_ONE, conditions="all", headers=_E, metadata="jobs/@Element"),
    Operation(name="update_job", method="PATCH", path=_JOB, status=200,
              takes=job.JobUpdate, conditions="all", headers=_ED),
    Operation(name="replace_job", method="PUT", path=_JOB, status=200,
              takes=job.JobReplace, conditions="all", headers=_ED),
    Operation(name="delete_job", method="DELETE", path=_JOB, status=202,
              query=_FORCE, conditions="all"),
    Operation(name="disable_job", method="POST", path=_JOB + "/disable", status=202,
              takes=job.JobDisable, conditions="all", headers=_ED),
    Operation(name="enable_job", method="POST", path=_JOB + "/enable", status=202,
              conditions="all", headers=_ED),
    Operation(name="terminate_job", method="POST", path=_JOB + "/terminate", status=202,
              takes=job.JobTerminate, takes_optional=True, query=_FORCE, conditions="all",
              headers=_ED),
    Operation(name="list_job_preparation_and_release_task_status", method="GET",
              path=_JOB + "/jobpreparationandreleasetaskstatus", status=200,
              query=_PAGE_FILTER_SELECT, metadata="jobpreparationandreleasetaskstatuslist"),
    Operation(name="get_job_task_counts", method="GET", path=_JOB + "/taskcounts", status=200,
              metadata="taskcountsresult/@Element"),
)

_SCHEDULES = (
    Operation(name="create_job_schedule", method="POST", path="/jobschedules", status=201,
              takes=job_schedule.JobScheduleCreate, headers=_EDL),
    Operation(name="list_job_schedules", method="GET", path="/jobschedules", status=200,
              query=_LIST, metadata="jobschedules"),
    Operation(name="get_job_schedule", method="GET", path=_SCHEDULE, status=200, query=_ONE,
              conditions="all", headers=_E, metadata="jobschedules/@Element"),
    Operation(name="job_schedule_exists", method="HEAD", path=_SCHEDULE, status=200,
              conditions="all", headers=_E),
    Operation(name="update_job_schedule", method="PATCH", path=_SCHEDULE, status=200,
              takes=job_schedule.JobScheduleUpdate, conditions="all", headers=_ED),
    Operation(name="replace_job_schedule", method="PUT", path=_SCHEDULE, status=200,
              takes=job_schedule.JobScheduleReplace, conditions="all", headers=_ED),
    Operation(name="delete_job_schedule", method="DELETE", path=_SCHEDULE, status=202,
              query=_FORCE, conditions="all"),
    Operation(name="disable_job_schedule", method="POST", path=_SCHEDULE + "/disable",
              status=204, conditions="all", headers=_ED),
    Operation(name="enable_job_schedule", method="POST", path=_SCHEDULE + "/enable",
              status=204, conditions="all", headers=_ED),
    Operation(name="terminate_job_schedule", method="POST", path=_SCHEDULE + "/terminate",
              status=202, query=_FORCE, conditions="all", headers=_ED),
    Operation(name="list_jobs_from_schedule", method="GET", path=_SCHEDULE + "/jobs", status=200,
              query=_LIST, metadata="jobs"),
)

_TASKS = (
    Operation(name="create_task", method="POST", path=_JOB + "/tasks", status=201,
              takes=task.TaskCreate, headers=_EDL),
    Operation(name="create_task_collection", method="POST", path=_JOB + "/addtaskcollection",
              status=200, takes=task.TaskGroup, metadata="taskaddresult", is_bulk=True),
    Operation(name="list_tasks", method="GET", path=_JOB + "/tasks", status=200,
              query=_LIST, metadata="tasks"),
    Operation(name="get_task", method="GET", path=_TASK, status=200, query=_ONE,
              conditions="all", headers=_E, metadata="tasks/@Element"),
    Operation(name="replace_task", method="PUT", path=_TASK, status=200,
              takes=task.TaskReplace, conditions="all", headers=_ED),
    Operation(name="delete_task", method="DELETE", path=_TASK, status=200, conditions="all"),
    Operation(name="terminate_task", method="POST", path=_TASK + "/terminate", status=204,
              conditions="all", headers=_ED),
    Operation(name="reactivate_task", method="POST", path=_TASK + "/reactivate", status=204,
              conditions="all", headers=_ED),
    Operation(name="list_subtasks", method="GET", path=_TASK + "/subtasksinfo", status=200,
              query=_SELECT, metadata="subtasks"),
    # Ours: the service does not say why a task waits.
    Operation(name="explain_task", method="GET", path=_TASK + "/waiting", status=200,
              metadata="waiting/@Element"),
    Operation(name="list_task_files", method="GET", path=_TASK + "/files", status=200,
              query=_FILES, metadata="files"),
    Operation(name="download_task_file", method="GET", path=_TASK_FILE, status=200,
              conditions="modified"),
    Operation(name="get_task_file_properties", method="HEAD", path=_TASK_FILE, status=200,
              conditions="modified"),
    Operation(name="delete_task_file", method="DELETE", path=_TASK_FILE, status=200,
              query=_RECURSIVE),
)

_ACCOUNT = (
    Operation(name="list_applications", method="GET", path="/applications", status=200,
              query=_PAGE, metadata="applications"),
    Operation(name="get_application", method="GET", path="/applications/{application_id}",
              status=200, metadata="applications/@Element"),
    Operation(name="list_supported_images", method="GET", path="/supportedimages", status=200,
              query=_PAGE_FILTER, metadata="supportedimages", since="2019-06-01.9.0"),
    Operation(name="list_pool_node_counts", method="GET", path="/nodecounts", status=200,
              query=_PAGE_FILTER, metadata="poolnodecounts"),
    Operation(name="list_pool_usage_metrics", method="GET", path="/poolusagemetrics", status=200,
              query=_USAGE, metadata="poolusagemetrics"),
)

_OLD = (
    Operation(name="get_remote_desktop", method="GET", path=_NODE + "/rdp", status=200,
              until="2024-02-01.19.0"),
    Operation(name="add_certificate", method="POST", path="/certificates", status=201,
              takes=legacy.CertificateCreate, headers=_EDL, until=_NO_CERTIFICATES_AFTER),
    Operation(name="list_certificates", method="GET", path="/certificates", status=200,
              query=_PAGE_FILTER_SELECT, metadata="certificates", until=_NO_CERTIFICATES_AFTER),
    Operation(name="get_certificate", method="GET", path=_CERTIFICATE, status=200, query=_SELECT,
              metadata="certificates/@Element", until=_NO_CERTIFICATES_AFTER),
    Operation(name="delete_certificate", method="DELETE", path=_CERTIFICATE, status=202,
              until=_NO_CERTIFICATES_AFTER),
    Operation(name="cancel_certificate_deletion", method="POST",
              path=_CERTIFICATE + "/canceldelete", status=204, until=_NO_CERTIFICATES_AFTER),
    Operation(name="get_lifetime_job_statistics", method="GET", path="/lifetimejobstats",
              status=200, metadata="jobstats/@Element", until="2022-10-01.16.0"),
    Operation(name="get_lifetime_pool_statistics", method="GET", path="/lifetimepoolstats",
              status=200, metadata="poolstats/@Element", until="2022-10-01.16.0"),
    Operation(name="list_node_agent_skus", method="GET", path="/nodeagentskus", status=200,
              query=_PAGE_FILTER, metadata="nodeagentskus", until="2018-12-01.8.0"),
    Operation(name="upgrade_pool_os", method="POST", path=_POOL + "/upgradeos", status=202,
              takes=legacy.PoolUpgradeOs, conditions="all", headers=_ED,
              until="2018-08-01.7.0"),
)
# fmt: on

OPERATIONS: list[Operation] = [
    *_POOLS,
    *_NODES,
    *_JOBS,
    *_SCHEDULES,
    *_TASKS,
    *_ACCOUNT,
    *_OLD,
]

_ROUTES = Routes(OPERATIONS)


def match(method: str, raw_path: str) -> tuple[Operation, dict[str, str]]:
    """The operation of ``method`` on ``raw_path`` (undecoded, no query) and its path parameters.

    Refuses: InvalidHttpVerb, InvalidUri, RequestUrlFailedToParse, UnsupportedHttpVerb.
    """
    return _ROUTES.match(method, raw_path)
