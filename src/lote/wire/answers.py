"""What each operation shows: a list of these, or one of those."""

from __future__ import annotations

import msgspec

from lote.wire.account import (
    Application,
    NodeAgentSku,
    PoolNodeCounts,
    PoolUsageMetrics,
    SupportedImage,
)
from lote.wire.file import NodeFile
from lote.wire.job import (
    Job,
    JobPreparationAndReleaseTaskStatus,
    JobStatistics,
    TaskCountsResult,
)
from lote.wire.job_schedule import JobSchedule
from lote.wire.legacy import Certificate
from lote.wire.node import (
    Node,
    NodeRemoteLoginSettings,
    NodeVMExtension,
    UploadBatchServiceLogsResult,
)
from lote.wire.pool import AutoScaleRun, Pool, PoolEvaluation, PoolStatistics
from lote.wire.task import CreateTaskCollectionResult, Subtask, Task, TaskWaiting

LISTS: dict[str, type[msgspec.Struct]] = {
    "list_pools": Pool,
    "list_pool_evaluations": PoolEvaluation,
    "list_nodes": Node,
    "list_node_extensions": NodeVMExtension,
    "list_node_files": NodeFile,
    "list_jobs": Job,
    "list_job_preparation_and_release_task_status": JobPreparationAndReleaseTaskStatus,
    "list_job_schedules": JobSchedule,
    "list_jobs_from_schedule": Job,
    "list_tasks": Task,
    "list_subtasks": Subtask,
    "list_task_files": NodeFile,
    "list_applications": Application,
    "list_supported_images": SupportedImage,
    "list_pool_node_counts": PoolNodeCounts,
    "list_pool_usage_metrics": PoolUsageMetrics,
    "list_certificates": Certificate,
    "list_node_agent_skus": NodeAgentSku,
}
ENTITIES: dict[str, type[msgspec.Struct]] = {
    "get_pool": Pool,
    "evaluate_pool_auto_scale": AutoScaleRun,
    "get_node": Node,
    "get_node_extension": NodeVMExtension,
    "get_node_remote_login_settings": NodeRemoteLoginSettings,
    "upload_node_logs": UploadBatchServiceLogsResult,
    "get_job": Job,
    "get_job_task_counts": TaskCountsResult,
    "get_job_schedule": JobSchedule,
    "create_task_collection": CreateTaskCollectionResult,
    "get_task": Task,
    "explain_task": TaskWaiting,
    "get_application": Application,
    "get_certificate": Certificate,
    "get_lifetime_job_statistics": JobStatistics,
    "get_lifetime_pool_statistics": PoolStatistics,
}
