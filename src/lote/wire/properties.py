"""What becomes of each property that a client can send: carried out, recorded only, refused.

An engine's nodes are not the provider's virtual machines. Properties that describe such a machine
are checked, recorded and shown again, and mean nothing more; those that refer to what only the
provider's cloud can have are refused. ``docs/support.md`` is written from these rows; a test sees
to it that no property is without one.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from lote.wire.job import (
    JobConstraints,
    JobCreate,
    JobDisable,
    JobManagerTask,
    JobNetworkConfiguration,
    JobPreparationTask,
    JobReleaseTask,
    JobReplace,
    JobTerminate,
    JobUpdate,
)
from lote.wire.job_schedule import (
    JobScheduleConfiguration,
    JobScheduleCreate,
    JobScheduleReplace,
    JobScheduleUpdate,
    JobSpecification,
)
from lote.wire.legacy import (
    AuthenticationTokenSettings,
    CertificateCreate,
    CertificateReference,
    CloudServiceConfiguration,
    PoolUpgradeOs,
)
from lote.wire.network import (
    AzureBlobFileSystemConfiguration,
    AzureFileShareConfiguration,
    CifsMountConfiguration,
    InboundNatPool,
    IPTag,
    MountConfiguration,
    NetworkConfiguration,
    NetworkSecurityGroupRule,
    NfsMountConfiguration,
    PoolEndpointConfiguration,
    PublicIpAddressConfiguration,
)
from lote.wire.node import (
    NodeDeallocate,
    NodeDisableScheduling,
    NodeReboot,
    NodeReimage,
    NodeRemove,
    NodeUserCreate,
    NodeUserReplace,
    UploadBatchServiceLogs,
)
from lote.wire.pool import (
    AutomaticOsUpgradePolicy,
    AutoPoolSpecification,
    LinuxUserConfiguration,
    PoolCreate,
    PoolEnableAutoScale,
    PoolEvaluateAutoScale,
    PoolInfo,
    PoolReplace,
    PoolResize,
    PoolSpecification,
    PoolUpdate,
    RollingUpgradePolicy,
    StartTask,
    TaskSchedulingPolicy,
    UpgradePolicy,
    UserAccount,
    WindowsUserConfiguration,
)
from lote.wire.shared import (
    ApplicationPackageReference,
    AutoUserSpecification,
    ContainerHostBatchBindMountEntry,
    ContainerRegistryReference,
    EnvironmentSetting,
    MetadataItem,
    NodeIdentityReference,
    ResourceFile,
    TaskContainerSettings,
    UserIdentity,
)
from lote.wire.task import (
    AffinityInfo,
    ExitCodeMapping,
    ExitCodeRangeMapping,
    ExitConditions,
    ExitOptions,
    MultiInstanceSettings,
    OutputFile,
    OutputFileBlobContainerDestination,
    OutputFileDestination,
    OutputFileUploadConfiguration,
    OutputFileUploadHeader,
    TaskConstraints,
    TaskCreate,
    TaskDependencies,
    TaskGroup,
    TaskIdRange,
    TaskReplace,
)
from lote.wire.vm import (
    ContainerConfiguration,
    DataDisk,
    DiffDiskSettings,
    DiskCustomerManagedKey,
    DiskEncryptionConfiguration,
    DiskEncryptionSetParameters,
    HostEndpointSettings,
    ManagedDisk,
    NodePlacementConfiguration,
    OsDisk,
    PoolIdentityReference,
    ProxyAgentSettings,
    SecurityProfile,
    ServiceArtifactReference,
    UefiSettings,
    VirtualMachineConfiguration,
    VmDiskSecurityProfile,
    VMExtension,
    VmImageReference,
    WindowsConfiguration,
)

Fate = Literal["carried out", "recorded only", "refused", "not yet"]

DONE: Fate = "carried out"
RECORDED: Fate = "recorded only"  # checked and shown again
REFUSED: Fate = "refused"  # it can only be in the provider's cloud
LATER: Fate = "not yet"  # refused by this release, or the task that names it fails


class Row(NamedTuple):
    """One struct: what becomes of most of its properties, and of the others."""

    struct: type[msgspec.Struct]
    most: Fate = DONE
    others: tuple[tuple[Fate, str], ...] = ()  # names separated by blanks


_MACHINE = (
    RECORDED,
    "virtualMachineConfiguration networkConfiguration mountConfiguration upgradePolicy "
    "certificateReferences targetNodeCommunicationMode resourceTags",
)
_OLD_MACHINE = (RECORDED, "cloudServiceConfiguration applicationLicenses")
_PACKAGES = (LATER, "applicationPackageReferences")
_JOB_OTHERS = ((REFUSED, "networkConfiguration"),)

# fmt: off
GROUPS: dict[str, tuple[Row, ...]] = {
    "Pools": (
        Row(PoolCreate, DONE, (_PACKAGES, _MACHINE, _OLD_MACHINE)),
        Row(PoolUpdate, DONE, (_PACKAGES, _MACHINE)),
        Row(PoolReplace, DONE, (
            _PACKAGES, (RECORDED, "certificateReferences targetNodeCommunicationMode"),
        )),
        Row(PoolResize),
        Row(PoolEnableAutoScale),
        Row(PoolEvaluateAutoScale),
        Row(PoolUpgradeOs, REFUSED),
        Row(TaskSchedulingPolicy),
        Row(UserAccount, DONE, ((RECORDED, "password windowsUserConfiguration"),)),
        Row(LinuxUserConfiguration, DONE, ((RECORDED, "sshPrivateKey"),)),
        Row(WindowsUserConfiguration, RECORDED),
        Row(UpgradePolicy, RECORDED),
        Row(AutomaticOsUpgradePolicy, RECORDED),
        Row(RollingUpgradePolicy, RECORDED),
        Row(CloudServiceConfiguration, RECORDED),
        Row(CertificateReference, RECORDED),
    ),
    "Machines": (
        Row(VirtualMachineConfiguration, RECORDED, (
            (REFUSED, "serviceArtifactReference"), (DONE, "containerConfiguration"),
        )),
        Row(VmImageReference, RECORDED, (
            (REFUSED, "virtualMachineImageId sharedGalleryImageId communityGalleryImageId"),
        )),
        Row(WindowsConfiguration, RECORDED),
        Row(DataDisk, RECORDED),
        Row(OsDisk, RECORDED),
        Row(DiffDiskSettings, RECORDED),
        Row(ManagedDisk, RECORDED, ((REFUSED, "diskEncryptionSet"),)),
        Row(DiskEncryptionSetParameters, REFUSED),
        Row(VmDiskSecurityProfile, RECORDED),
        Row(DiskEncryptionConfiguration, RECORDED, ((REFUSED, "customerManagedKey"),)),
        Row(DiskCustomerManagedKey, REFUSED),
        Row(PoolIdentityReference, REFUSED),
        Row(NodePlacementConfiguration, RECORDED),
        Row(VMExtension, RECORDED),
        Row(SecurityProfile, RECORDED),
        Row(UefiSettings, RECORDED),
        Row(ProxyAgentSettings, RECORDED),
        Row(HostEndpointSettings, RECORDED, (
            (REFUSED, "inVMAccessControlProfileReferenceId"),
        )),
        Row(ServiceArtifactReference, REFUSED),
        Row(ContainerConfiguration, DONE, ((RECORDED, "type"),)),
    ),
    "Networks and mounts": (
        Row(NetworkConfiguration, RECORDED, ((REFUSED, "subnetId"),)),
        Row(PoolEndpointConfiguration, RECORDED),
        Row(InboundNatPool, RECORDED),
        Row(NetworkSecurityGroupRule, RECORDED),
        Row(PublicIpAddressConfiguration, RECORDED, ((REFUSED, "ipAddressIds"),)),
        Row(IPTag, RECORDED),
        Row(MountConfiguration, RECORDED),
        Row(AzureBlobFileSystemConfiguration, RECORDED, ((REFUSED, "identityReference"),)),
        Row(NfsMountConfiguration, RECORDED),
        Row(CifsMountConfiguration, RECORDED),
        Row(AzureFileShareConfiguration, RECORDED),
    ),
    "Nodes": (
        Row(NodeRemove),
        Row(NodeReboot),
        Row(NodeReimage),
        Row(NodeDeallocate),
        Row(NodeDisableScheduling),
        Row(NodeUserCreate, RECORDED),
        Row(NodeUserReplace, RECORDED),
        Row(UploadBatchServiceLogs, DONE, ((RECORDED, "identityReference"),)),
    ),
    "Jobs": (
        Row(JobCreate, DONE, _JOB_OTHERS),
        Row(JobUpdate, DONE, _JOB_OTHERS),
        Row(JobReplace),
        Row(JobConstraints),
        Row(JobNetworkConfiguration, REFUSED),
        Row(JobManagerTask, DONE, (_PACKAGES,)),
        Row(JobPreparationTask),
        Row(JobReleaseTask),
        Row(JobDisable),
        Row(JobTerminate),
        Row(PoolInfo),
        Row(AutoPoolSpecification),
        Row(PoolSpecification, DONE, (_PACKAGES, _MACHINE, _OLD_MACHINE)),
    ),
    "Job schedules": (
        Row(JobScheduleCreate),
        Row(JobScheduleUpdate),
        Row(JobScheduleReplace),
        Row(JobScheduleConfiguration),
        Row(JobSpecification, DONE, _JOB_OTHERS),
    ),
    "Tasks": (
        Row(TaskCreate, DONE, (
            (LATER, "applicationPackageReferences"),
        )),
        Row(TaskGroup),
        Row(TaskReplace),
        Row(TaskConstraints),
        Row(TaskDependencies),
        Row(TaskIdRange),
        Row(AffinityInfo),
        Row(ExitConditions),
        Row(ExitCodeMapping),
        Row(ExitCodeRangeMapping),
        Row(ExitOptions),
        Row(OutputFile),
        Row(OutputFileDestination),
        Row(OutputFileBlobContainerDestination, DONE, ((RECORDED, "identityReference"),)),
        Row(OutputFileUploadHeader),
        Row(OutputFileUploadConfiguration),
        Row(MultiInstanceSettings),
        Row(AuthenticationTokenSettings),
    ),
    "Shared by several": (
        Row(StartTask),
        Row(ResourceFile, DONE, ((RECORDED, "identityReference"),)),
        Row(EnvironmentSetting),
        Row(MetadataItem),
        Row(UserIdentity),
        Row(AutoUserSpecification),
        Row(NodeIdentityReference, RECORDED),
        Row(ApplicationPackageReference, LATER),
        Row(TaskContainerSettings),
        Row(ContainerHostBatchBindMountEntry),
        Row(ContainerRegistryReference, DONE, ((REFUSED, "identityReference"),)),
    ),
    "Certificates": (
        Row(CertificateCreate, RECORDED),
    ),
}
# fmt: on


def fates(row: Row) -> dict[str, Fate]:
    """What becomes of each property of a row's struct, by its JSON name."""
    found = {field.encode_name: row.most for field in msgspec.structs.fields(row.struct)}
    for fate, names in row.others:
        for name in names.split():
            if name not in found:
                raise KeyError(f"{row.struct.__name__} has no {name}")
            found[name] = fate
    return found
