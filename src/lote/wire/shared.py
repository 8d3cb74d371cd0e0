"""Pieces that jobs, tasks, pools and nodes share: metadata, files, users, containers, failures."""

from __future__ import annotations

from lote.wire.base import Given, Shown
from lote.wire.enums import (
    AutoUserScope,
    ContainerHostDataPath,
    ContainerWorkingDirectory,
    ElevationLevel,
    ErrorSourceCategory,
)


class ApplicationPackageReference(Given, kw_only=True):
    application_id: str
    version: str | None = None


class NodeIdentityReference(Given, kw_only=True):
    resource_id: str | None = None


class ContainerRegistryReference(Given, kw_only=True):
    username: str | None = None
    password: str | None = None
    registry_server: str | None = None
    identity_reference: NodeIdentityReference | None = None


class NameValuePair(Shown, kw_only=True):
    name: str | None = None
    value: str | None = None


class TaskFailureInfo(Shown, kw_only=True):
    category: ErrorSourceCategory
    code: str | None = None
    message: str | None = None
    details: list[NameValuePair] | None = None


class TaskContainerExecutionInfo(Shown, kw_only=True):
    container_id: str | None = None
    state: str | None = None
    error: str | None = None


class ContainerHostBatchBindMountEntry(Given, kw_only=True):
    source: ContainerHostDataPath | None = None
    is_read_only: bool | None = None


class TaskContainerSettings(Given, kw_only=True):
    container_run_options: str | None = None
    image_name: str
    registry: ContainerRegistryReference | None = None
    working_directory: ContainerWorkingDirectory | None = None
    container_host_batch_bind_mounts: list[ContainerHostBatchBindMountEntry] | None = None


class AutoUserSpecification(Given, kw_only=True):
    scope: AutoUserScope | None = None
    elevation_level: ElevationLevel | None = None


class UserIdentity(Given, kw_only=True):
    username: str | None = None
    auto_user: AutoUserSpecification | None = None


class ResourceFile(Given, kw_only=True):
    auto_storage_container_name: str | None = None
    storage_container_url: str | None = None
    http_url: str | None = None
    blob_prefix: str | None = None
    file_path: str | None = None
    file_mode: str | None = None
    identity_reference: NodeIdentityReference | None = None


class EnvironmentSetting(Given, kw_only=True):
    name: str
    value: str | None = None


class MetadataItem(Given, kw_only=True):
    name: str
    value: str


class BatchErrorMessage(Shown, kw_only=True):
    lang: str | None = None
    value: str | None = None


class BatchErrorDetail(Shown, kw_only=True):
    key: str | None = None
    value: str | None = None


class BatchError(Shown, kw_only=True):
    code: str | None = None
    message: BatchErrorMessage | None = None
    values: list[BatchErrorDetail] | None = None
