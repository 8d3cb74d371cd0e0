"""Which client calls which operation, in its own words: what docs/support.md shows, and what the
tests of each client are compared with.

A client's tests must call all that is in its column, and its column must have all that it offers.
"""

from __future__ import annotations

from typing import NamedTuple

CLIENTS = {
    "modern": "azure-batch 15.1 (Python, sync and async)",
    "older": "azure-batch 14.2 (Python)",
    "az": "az batch 2.91",
    "js": "@azure/batch 10.2 (Node.js)",
}


class Spelled(NamedTuple):
    """An operation as each client calls it; empty where a client has no word for it."""

    modern: str = ""
    older: str = ""
    az: str = ""
    js: str = ""


# Methods besides: other ways to what is in the table.
ALSO = {"modern": ("create_tasks", "send_request")}

# ruff: noqa: E501, a table
# fmt: off
COVERED = {
    "create_pool": Spelled("create_pool", "pool.add", "pool create", "pool.add"),
    "list_pools": Spelled("list_pools", "pool.list", "pool list", "pool.list"),
    "get_pool": Spelled("get_pool", "pool.get", "pool show", "pool.get"),
    "pool_exists": Spelled("pool_exists", "pool.exists", "", "pool.exists"),
    "update_pool": Spelled("update_pool", "pool.patch", "pool set", "pool.patch"),
    "replace_pool_properties": Spelled("replace_pool_properties", "pool.update_properties", "pool reset", "pool.updateProperties"),
    "delete_pool": Spelled("begin_delete_pool", "pool.delete", "pool delete", "pool.deleteMethod"),
    "resize_pool": Spelled("begin_resize_pool", "pool.resize", "pool resize", "pool.resize"),
    "stop_pool_resize": Spelled("begin_stop_pool_resize", "pool.stop_resize", "pool resize --abort", "pool.stopResize"),
    "enable_pool_auto_scale": Spelled("enable_pool_auto_scale", "pool.enable_auto_scale", "pool autoscale enable", "pool.enableAutoScale"),
    "disable_pool_auto_scale": Spelled("disable_pool_auto_scale", "pool.disable_auto_scale", "pool autoscale disable", "pool.disableAutoScale"),
    "evaluate_pool_auto_scale": Spelled("evaluate_pool_auto_scale", "pool.evaluate_auto_scale", "pool autoscale evaluate", "pool.evaluateAutoScale"),
    "remove_nodes": Spelled("begin_remove_nodes", "pool.remove_nodes", "node delete", "pool.removeNodes"),
    "list_nodes": Spelled("list_nodes", "compute_node.list", "node list", "computeNode.list"),
    "get_node": Spelled("get_node", "compute_node.get", "node show", "computeNode.get"),
    "reboot_node": Spelled("begin_reboot_node", "compute_node.reboot", "node reboot", "computeNode.reboot"),
    "reimage_node": Spelled("begin_reimage_node", "compute_node.reimage", "", "computeNode.reimage"),
    "start_node": Spelled("begin_start_node"),
    "deallocate_node": Spelled("begin_deallocate_node"),
    "disable_node_scheduling": Spelled("disable_node_scheduling", "compute_node.disable_scheduling", "node scheduling disable", "computeNode.disableScheduling"),
    "enable_node_scheduling": Spelled("enable_node_scheduling", "compute_node.enable_scheduling", "node scheduling enable", "computeNode.enableScheduling"),
    "list_node_extensions": Spelled("list_node_extensions", "compute_node_extension.list", "", "computeNodeExtension.list"),
    "get_node_extension": Spelled("get_node_extension", "compute_node_extension.get", "", "computeNodeExtension.get"),
    "create_node_user": Spelled("create_node_user", "compute_node.add_user", "node user create", "computeNode.addUser"),
    "replace_node_user": Spelled("replace_node_user", "compute_node.update_user", "node user reset", "computeNode.updateUser"),
    "delete_node_user": Spelled("delete_node_user", "compute_node.delete_user", "node user delete", "computeNode.deleteUser"),
    "get_node_remote_login_settings": Spelled("get_node_remote_login_settings", "compute_node.get_remote_login_settings", "node remote-login-settings show", "computeNode.getRemoteLoginSettings"),
    "upload_node_logs": Spelled("upload_node_logs", "compute_node.upload_batch_service_logs", "node service-logs upload", "computeNode.uploadBatchServiceLogs"),
    "get_remote_desktop": Spelled("", "compute_node.get_remote_desktop", "", "computeNode.getRemoteDesktop"),
    "create_job": Spelled("create_job", "job.add", "job create", "job.add"),
    "list_jobs": Spelled("list_jobs", "job.list", "job list", "job.list"),
    "get_job": Spelled("get_job", "job.get", "job show", "job.get"),
    "update_job": Spelled("update_job", "job.patch", "job set", "job.patch"),
    "replace_job": Spelled("replace_job", "job.update", "job reset", "job.update"),
    "delete_job": Spelled("begin_delete_job", "job.delete", "job delete", "job.deleteMethod"),
    "disable_job": Spelled("begin_disable_job", "job.disable", "job disable", "job.disable"),
    "enable_job": Spelled("begin_enable_job", "job.enable", "job enable", "job.enable"),
    "terminate_job": Spelled("begin_terminate_job", "job.terminate", "job stop", "job.terminate"),
    "list_job_preparation_and_release_task_status": Spelled("list_job_preparation_and_release_task_status", "job.list_preparation_and_release_task_status", "job prep-release-status list", "job.listPreparationAndReleaseTaskStatus"),
    "get_job_task_counts": Spelled("get_job_task_counts", "job.get_task_counts", "job task-counts show", "job.getTaskCounts"),
    "list_jobs_from_schedule": Spelled("list_jobs_from_schedule", "job.list_from_job_schedule", "job list --job-schedule-id", "job.listFromJobSchedule"),
    "create_task": Spelled("create_task", "task.add", "task create", "task.add"),
    "create_task_collection": Spelled("create_task_collection", "task.add_collection", "task create --json-file", "task.addCollection"),
    "list_tasks": Spelled("list_tasks", "task.list", "task list", "task.list"),
    "get_task": Spelled("get_task", "task.get", "task show", "task.get"),
    "replace_task": Spelled("replace_task", "task.update", "task reset", "task.update"),
    "delete_task": Spelled("delete_task", "task.delete", "task delete", "task.deleteMethod"),
    "terminate_task": Spelled("terminate_task", "task.terminate", "task stop", "task.terminate"),
    "reactivate_task": Spelled("reactivate_task", "task.reactivate", "task reactivate", "task.reactivate"),
    "list_subtasks": Spelled("list_subtasks", "task.list_subtasks", "task subtask list", "task.listSubtasks"),
    "list_node_files": Spelled("list_node_files", "file.list_from_compute_node", "node file list", "file.listFromComputeNode"),
    "download_node_file": Spelled("download_node_file", "file.get_from_compute_node", "node file download", "file.getFromComputeNode"),
    "get_node_file_properties": Spelled("get_node_file_properties", "file.get_properties_from_compute_node", "node file show", "file.getPropertiesFromComputeNode"),
    "delete_node_file": Spelled("delete_node_file", "file.delete_from_compute_node", "node file delete", "file.deleteFromComputeNode"),
    "list_task_files": Spelled("list_task_files", "file.list_from_task", "task file list", "file.listFromTask"),
    "download_task_file": Spelled("download_task_file", "file.get_from_task", "task file download", "file.getFromTask"),
    "get_task_file_properties": Spelled("get_task_file_properties", "file.get_properties_from_task", "task file show", "file.getPropertiesFromTask"),
    "delete_task_file": Spelled("delete_task_file", "file.delete_from_task", "task file delete", "file.deleteFromTask"),
    "create_job_schedule": Spelled("create_job_schedule", "job_schedule.add", "job-schedule create", "jobSchedule.add"),
    "list_job_schedules": Spelled("list_job_schedules", "job_schedule.list", "job-schedule list", "jobSchedule.list"),
    "get_job_schedule": Spelled("get_job_schedule", "job_schedule.get", "job-schedule show", "jobSchedule.get"),
    "job_schedule_exists": Spelled("job_schedule_exists", "job_schedule.exists", "", "jobSchedule.exists"),
    "update_job_schedule": Spelled("update_job_schedule", "job_schedule.patch", "job-schedule set", "jobSchedule.patch"),
    "replace_job_schedule": Spelled("replace_job_schedule", "job_schedule.update", "job-schedule reset", "jobSchedule.update"),
    "delete_job_schedule": Spelled("begin_delete_job_schedule", "job_schedule.delete", "job-schedule delete", "jobSchedule.deleteMethod"),
    "disable_job_schedule": Spelled("disable_job_schedule", "job_schedule.disable", "job-schedule disable", "jobSchedule.disable"),
    "enable_job_schedule": Spelled("enable_job_schedule", "job_schedule.enable", "job-schedule enable", "jobSchedule.enable"),
    "terminate_job_schedule": Spelled("begin_terminate_job_schedule", "job_schedule.terminate", "job-schedule stop", "jobSchedule.terminate"),
    "add_certificate": Spelled("", "certificate.add", "", "certificate.add"),
    "list_certificates": Spelled("", "certificate.list", "", "certificate.list"),
    "get_certificate": Spelled("", "certificate.get", "", "certificate.get"),
    "delete_certificate": Spelled("", "certificate.delete", "", "certificate.deleteMethod"),
    "cancel_certificate_deletion": Spelled("", "certificate.cancel_deletion", "", "certificate.cancelDeletion"),
    "list_applications": Spelled("list_applications", "application.list", "application summary list", "application.list"),
    "get_application": Spelled("get_application", "application.get", "application summary show", "application.get"),
    "list_supported_images": Spelled("list_supported_images", "account.list_supported_images", "pool supported-images list", "account.listSupportedImages"),
    "list_pool_node_counts": Spelled("list_pool_node_counts", "account.list_pool_node_counts", "pool node-counts list", "account.listPoolNodeCounts"),
    "list_pool_usage_metrics": Spelled("list_pool_usage_metrics", "pool.list_usage_metrics", "pool usage-metrics list", "pool.listUsageMetrics"),
    "get_lifetime_job_statistics": Spelled("", "", "", "job.getAllLifetimeStatistics"),
    "get_lifetime_pool_statistics": Spelled("", "", "", "pool.getAllLifetimeStatistics"),
}
# fmt: on


def column(client: str) -> list[str]:
    """What a client calls the operations it has."""
    return [word for row in COVERED.values() if (word := getattr(row, client))]
