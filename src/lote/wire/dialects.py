"""What api-versions differ in: which members a model has in which versions, and under which name.

The structs of this room have the members of all versions. ``spelling`` leaves out of an answer
what the client's version does not know and uses the names it had then; bodies of older versions
are read by ``fitting`` (names) and ``modern`` (meanings). Source: REST, and the release notes of
the official Python client.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import msgspec

from lote.wire.account import NodeCounts
from lote.wire.job import (
    Job,
    JobCreate,
    JobManagerTask,
    JobPreparationTask,
    JobReleaseTask,
)
from lote.wire.job_schedule import JobSpecification
from lote.wire.legacy import CloudServiceConfiguration
from lote.wire.network import (
    AzureBlobFileSystemConfiguration,
    NetworkConfiguration,
    NetworkSecurityGroupRule,
    PublicIpAddressConfiguration,
)
from lote.wire.node import Node, NodeRemoteLoginSettings, StartTaskInfo, VirtualMachineInfo
from lote.wire.pool import (
    Pool,
    PoolCreate,
    PoolResize,
    PoolSpecification,
    StartTask,
    TaskSchedulingPolicy,
    UserAccount,
)
from lote.wire.shared import ContainerRegistryReference, ResourceFile, TaskContainerSettings
from lote.wire.task import (
    ExitConditions,
    OutputFileBlobContainerDestination,
    Subtask,
    Task,
    TaskCreate,
    TaskExecutionInfo,
)
from lote.wire.versions import NEWEST, VERSIONS, at_least
from lote.wire.vm import (
    DataDisk,
    DiskEncryptionConfiguration,
    ManagedDisk,
    OsDisk,
    SecurityProfile,
    VirtualMachineConfiguration,
    VMExtension,
    VmImageReference,
)


class Rename(NamedTuple):
    """A member that had another name until a version, that one included."""

    structs: tuple[type[msgspec.Struct], ...]
    new: str
    old: str
    until: str


_POOLS = (Pool, PoolCreate, PoolSpecification)
_JOBS = (Job, JobCreate, JobSpecification)
_TASKS = (Task, TaskCreate)
_SPECIAL_TASKS = (StartTask, JobManagerTask, JobPreparationTask, JobReleaseTask)

RENAMES = (
    Rename(_POOLS, "taskSlotsPerNode", "maxTasksPerNode", "2020-03-01.11.0"),
    Rename((ResourceFile,), "httpUrl", "blobSource", "2018-08-01.7.0"),
    Rename((CloudServiceConfiguration,), "osVersion", "targetOSVersion", "2018-08-01.7.0"),
    Rename((*_POOLS, PoolResize), "targetDedicatedNodes", "targetDedicated", "2017-01-01.4.0"),
    Rename((Pool,), "currentDedicatedNodes", "currentDedicated", "2017-01-01.4.0"),
    Rename((ExitConditions,), "preProcessingError", "schedulingError", "2017-01-01.4.0"),
)

# What has a userIdentity today and had runElevated before 2017-01-01.4.0.
RUN_AS_A_USER = (*_TASKS, *_SPECIAL_TASKS)


class Span(NamedTuple):
    """Members that only some versions have: from ``since`` to ``until``, both included."""

    structs: tuple[type[msgspec.Struct], ...]
    names: str  # separated by blanks
    since: str = VERSIONS[0]
    until: str = NEWEST


# What is not named here is in every version.
# fmt: off
SPANS = (
    Span(_POOLS, "networkConfiguration", "2016-07-01.3.1"),
    Span(_JOBS, "onAllTasksComplete onTaskFailure", "2016-07-01.3.1"),
    Span(_TASKS, "applicationPackageReferences exitConditions", "2016-07-01.3.1"),
    Span(_POOLS, "userAccounts", "2017-01-01.4.0"),
    Span((*_TASKS, JobManagerTask), "authenticationTokenSettings",
         "2017-01-01.4.0", "2024-07-01.20.0"),
    Span(_POOLS, "targetLowPriorityNodes currentLowPriorityNodes", "2017-05-01.5.0"),
    Span(_POOLS, "applicationLicenses", "2017-05-01.5.0", "2024-02-01.19.0"),
    Span(_POOLS, "cloudServiceConfiguration", until="2024-02-01.19.0"),
    Span((*_POOLS, Node), "certificateReferences", until="2024-07-01.20.0"),
    Span((Node,), "isDedicated", "2017-05-01.5.0"),
    Span((UserAccount,), "linuxUserConfiguration", "2017-05-01.5.0"),
    Span((ExitConditions,), "fileUploadError", "2017-05-01.5.0"),
    Span((*_TASKS, JobManagerTask), "outputFiles", "2017-05-01.5.0"),
    Span((JobManagerTask,), "allowLowPriorityNode", "2017-05-01.5.0"),
    Span((TaskExecutionInfo, StartTaskInfo), "result", "2017-05-01.5.0"),
    Span((NetworkConfiguration, Node), "endpointConfiguration", "2017-06-01.5.1"),
    Span((VirtualMachineConfiguration,), "licenseType dataDisks containerConfiguration",
         "2017-09-01.6.0"),
    Span((VmImageReference,), "virtualMachineImageId", "2017-09-01.6.0"),
    Span((*_TASKS, *_SPECIAL_TASKS), "containerSettings", "2017-09-01.6.0"),
    Span((TaskExecutionInfo, StartTaskInfo, Subtask), "containerInfo", "2017-09-01.6.0"),
    Span((Node,), "nodeAgentInfo", "2018-08-01.7.0"),
    Span(_JOBS, "networkConfiguration", "2018-12-01.8.0"),
    Span((UserAccount,), "windowsUserConfiguration", "2018-12-01.8.0"),
    Span((ResourceFile,), "storageContainerUrl autoStorageContainerName blobPrefix",
         "2018-12-01.8.0"),
    Span((NetworkSecurityGroupRule,), "sourcePortRanges", "2019-06-01.9.0"),
    Span((TaskContainerSettings,), "workingDirectory", "2019-06-01.9.0"),
    Span(_POOLS, "mountConfiguration", "2019-08-01.10.0"),
    Span((VirtualMachineConfiguration,), "diskEncryptionConfiguration", "2020-03-01.11.0"),
    Span((NetworkConfiguration,), "publicIPAddressConfiguration", "2020-03-01.11.0"),
    Span((*_TASKS, JobManagerTask), "requiredSlots", "2020-09-01.12.0"),
    Span((Node,), "runningTaskSlotsCount", "2020-09-01.12.0"),
    Span(_JOBS, "maxParallelTasks", "2021-06-01.14.0"),
    Span(_POOLS, "identity", "2021-06-01.14.0"),
    Span((Node,), "virtualMachineInfo", "2021-06-01.14.0"),
    Span((VirtualMachineConfiguration,), "nodePlacementConfiguration extensions osDisk",
         "2021-06-01.14.0"),
    Span((ResourceFile, ContainerRegistryReference, OutputFileBlobContainerDestination,
          AzureBlobFileSystemConfiguration), "identityReference", "2021-06-01.14.0"),
    Span(_JOBS, "allowTaskPreemption", "2022-01-01.15.0"),
    Span((OutputFileBlobContainerDestination,), "uploadHeaders", "2022-01-01.15.0"),
    Span(_POOLS, "targetNodeCommunicationMode currentNodeCommunicationMode",
         "2022-10-01.16.0", "2024-07-01.20.0"),
    Span((NetworkConfiguration,), "enableAcceleratedNetworking", "2023-05-01.17.0"),
    Span((VMExtension,), "enableAutomaticUpgrade", "2023-05-01.17.0"),
    Span(_POOLS, "resourceTags", "2023-11-01.18.0", "2024-07-01.20.0"),
    Span((VirtualMachineConfiguration,), "securityProfile serviceArtifactReference",
         "2023-11-01.18.0"),
    Span((OsDisk,), "caching diskSizeGB managedDisk writeAcceleratorEnabled", "2023-11-01.18.0"),
    Span((VirtualMachineInfo,), "scaleSetVmResourceId", "2023-11-01.18.0"),
    Span(_POOLS, "upgradePolicy", "2024-02-01.19.0"),
    Span((NodeCounts,), "upgradingOS", "2024-02-01.19.0"),
    Span((NodeCounts,), "deallocated deallocating", "2024-07-01.20.0"),
    Span((VmImageReference,), "sharedGalleryImageId communityGalleryImageId",
         "2024-07-01.20.0"),
    Span((ManagedDisk,), "securityProfile", "2024-07-01.20.0"),
    Span((TaskContainerSettings,), "containerHostBatchBindMounts", "2024-07-01.20.0"),
    Span((TaskSchedulingPolicy,), "jobDefaultOrder", "2025-06-01"),
    Span((DataDisk,), "managedDisk", "2025-06-01"),
    Span((DataDisk,), "storageAccountType", until="2024-07-01.20.0"),
    Span((ManagedDisk,), "diskEncryptionSet", "2025-06-01"),
    Span((DiskEncryptionConfiguration,), "customerManagedKey", "2025-06-01"),
    Span((SecurityProfile,), "proxyAgentSettings", "2025-06-01"),
    Span((PublicIpAddressConfiguration,), "ipFamilies ipTags", "2025-06-01"),
    Span((Node,), "ipv6Address", "2025-06-01"),
    Span((NodeRemoteLoginSettings,), "ipv6RemoteLoginIPAddress ipv6RemoteLoginPort",
         "2025-06-01"),
)
# fmt: on


@cache
def hidden_members(struct: type[msgspec.Struct], version: str) -> frozenset[str]:
    """The newest JSON names of the members of a struct that ``version`` does not have."""
    hidden: set[str] = set()
    for span in SPANS:
        is_known = at_least(version, span.since) and at_least(span.until, version)
        if struct in span.structs and not is_known:
            hidden.update(span.names.split())
    return frozenset(hidden)


@cache
def older_names(struct: type[msgspec.Struct]) -> dict[str, str]:
    """The newest names of members by the older ones that some version has for them."""
    return {rename.old: rename.new for rename in RENAMES if struct in rename.structs}
