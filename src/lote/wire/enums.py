"""Closed sets of words and the number range of the protocol, spelled as the wire spells them.

The spellings are those of api-version 2025-06-01; input in another case is put right on decoding.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

Int32 = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]  # REST: "int32" of every number member

AccessScope = Literal["job"]
AllTasksCompleteMode = Literal["noaction", "terminatejob"]
AllocationState = Literal["steady", "resizing", "stopping"]
AutoUserScope = Literal["task", "pool"]
CachingType = Literal["none", "readonly", "readwrite"]
CertificateFormat = Literal["pfx", "cer"]
CertificateState = Literal["active", "deleting", "deletefailed"]
CertificateStoreLocation = Literal["currentuser", "localmachine"]
CertificateVisibility = Literal["starttask", "task", "remoteuser"]
ContainerHostDataPath = Literal["Shared", "Startup", "VfsMounts", "Task", "JobPrep", "Applications"]
ContainerType = Literal["dockerCompatible", "criCompatible"]
ContainerWorkingDirectory = Literal["taskWorkingDirectory", "containerImageDefault"]
DependencyAction = Literal["satisfy", "block"]
DiffDiskPlacement = Literal["cachedisk"]
DisableBatchJobOption = Literal["requeue", "terminate", "wait"]
DiskEncryptionTarget = Literal["osdisk", "temporarydisk"]
DynamicVNetAssignmentScope = Literal["none", "job"]
ElevationLevel = Literal["nonadmin", "admin"]
ErrorSourceCategory = Literal["usererror", "servererror"]
HostEndpointSettingsModeTypes = Literal["Audit", "Enforce"]
IPFamily = Literal["IPv4", "IPv6"]
ImageVerificationType = Literal["verified", "unverified"]
InboundEndpointProtocol = Literal["tcp", "udp"]
IpAddressProvisioningType = Literal["batchmanaged", "usermanaged", "nopublicipaddresses"]
JobActionKind = Literal["none", "disable", "terminate"]
JobDefaultOrder = Literal["none", "creationtime"]
JobPreparationTaskState = Literal["running", "completed"]
JobReleaseTaskState = Literal["running", "completed"]
JobScheduleState = Literal["active", "completed", "disabled", "terminating", "deleting"]
JobState = Literal[
    "active", "disabling", "disabled", "enabling", "terminating", "completed", "deleting"
]
LoginMode = Literal["batch", "interactive"]
NetworkSecurityGroupRuleAccess = Literal["allow", "deny"]
NodeCommunicationMode = Literal["default", "classic", "simplified"]
NodeDeallocateOption = Literal["requeue", "terminate", "taskcompletion", "retaineddata"]
NodeDeallocationOption = Literal["requeue", "terminate", "taskcompletion", "retaineddata"]
NodeDisableSchedulingOption = Literal["requeue", "terminate", "taskcompletion"]
NodeFillType = Literal["spread", "pack"]
NodePlacementPolicyType = Literal["regional", "zonal"]
NodeRebootKind = Literal["requeue", "terminate", "taskcompletion", "retaineddata"]
NodeReimageOption = Literal["requeue", "terminate", "taskcompletion", "retaineddata"]
NodeState = Literal[
    "idle",
    "rebooting",
    "reimaging",
    "running",
    "unusable",
    "creating",
    "starting",
    "waitingforstarttask",
    "starttaskfailed",
    "unknown",
    "leavingpool",
    "offline",
    "preempted",
    "upgradingos",
    "deallocated",
    "deallocating",
]
OSType = Literal["linux", "windows"]
OutputFileUploadCondition = Literal["tasksuccess", "taskfailure", "taskcompletion"]
PoolIdentityType = Literal["UserAssigned", "None"]
PoolLifetimeOption = Literal["jobschedule", "job"]
PoolState = Literal["active", "deleting"]
SchedulingState = Literal["enabled", "disabled"]
SecurityEncryptionTypes = Literal["DiskWithVMGuestState", "NonPersistedTPM", "VMGuestStateOnly"]
SecurityTypes = Literal["trustedLaunch", "confidentialvm"]
StartTaskState = Literal["running", "completed"]
StatusLevelTypes = Literal["Error", "Info", "Warning"]
StorageAccountType = Literal["standard_lrs", "premium_lrs", "standardssd_lrs"]
SubtaskState = Literal["preparing", "running", "completed"]
TaskAddStatus = Literal["success", "clienterror", "servererror"]
TaskExecutionResult = Literal["success", "failure"]
TaskFailureMode = Literal["noaction", "performexitoptionsjobaction"]
TaskState = Literal["active", "preparing", "running", "completed"]
UpgradeMode = Literal["automatic", "manual", "rolling"]
