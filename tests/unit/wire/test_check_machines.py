"""Rules on machines and networks, and references to what cannot be here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lote.wire.check_certificates import check_certificate
from lote.wire.check_jobs import check_job, check_job_schedule, check_job_update
from lote.wire.check_pools import check_pool, check_pool_replace, check_pool_update
from lote.wire.decode import decode
from lote.wire.errors import Refused
from lote.wire.job import JobCreate, JobUpdate
from lote.wire.job_schedule import JobScheduleCreate
from lote.wire.legacy import CertificateCreate
from lote.wire.pool import PoolCreate, PoolReplace, PoolUpdate
from lote.wire.task import TaskCreate

MACHINE = {
    "nodeAgentSKUId": "batch.node.ubuntu 22.04",
    "imageReference": {"publisher": "canonical", "offer": "o", "sku": "s"},
}
SOME_ID = "/subscriptions/0/resourceGroups/g/providers/Microsoft.X/things/secret-name"
VM = "virtualMachineConfiguration"


def a_pool(**members: Any) -> PoolCreate:
    body = {"id": "p", "vmSize": "standard_d2_v2", VM: MACHINE} | members
    return decode(json.dumps(body).encode(), PoolCreate)


def with_machine(**members: Any) -> dict[str, Any]:
    return {VM: MACHINE | members}


def refusal_of(check: Any, value: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        check(value)
    return caught.value


IDENTITY = {"identityReference": {"resourceId": SOME_ID}}
BLOBFUSE = {"accountName": "a", "containerName": "c", "relativeMountPath": "m"}
REGISTRIES = [{"registryServer": "r"}, {"registryServer": "s"} | IDENTITY]
REFERENCES = [
    (
        {"mountConfiguration": [{"azureBlobFileSystemConfiguration": BLOBFUSE | IDENTITY}]},
        "mountConfiguration[0].azureBlobFileSystemConfiguration.identityReference",
    ),
    (
        with_machine(
            containerConfiguration={"type": "dockerCompatible", "containerRegistries": REGISTRIES}
        ),
        f"{VM}.containerConfiguration.containerRegistries[1].identityReference",
    ),
    ({"networkConfiguration": {"subnetId": SOME_ID}}, "networkConfiguration.subnetId"),
    (
        {
            "networkConfiguration": {
                "publicIPAddressConfiguration": {
                    "provision": "UserManaged",
                    "ipAddressIds": [SOME_ID],
                }
            }
        },
        "networkConfiguration.publicIPAddressConfiguration.ipAddressIds[0]",
    ),
    *(
        (with_machine(imageReference={name: SOME_ID}), f"{VM}.imageReference.{name}")
        for name in ("virtualMachineImageId", "sharedGalleryImageId", "communityGalleryImageId")
    ),
    (
        with_machine(osDisk={"managedDisk": {"diskEncryptionSet": {"id": SOME_ID}}}),
        f"{VM}.osDisk.managedDisk.diskEncryptionSet.id",
    ),
    (
        with_machine(
            dataDisks=[
                {
                    "lun": 0,
                    "diskSizeGB": 1,
                    "managedDisk": {"diskEncryptionSet": {"id": SOME_ID}},
                }
            ]
        ),
        f"{VM}.dataDisks[0].managedDisk.diskEncryptionSet.id",
    ),
    (
        with_machine(serviceArtifactReference={"id": SOME_ID}),
        f"{VM}.serviceArtifactReference.id",
    ),
    (
        with_machine(diskEncryptionConfiguration={"customerManagedKey": {"keyUrl": SOME_ID}}),
        f"{VM}.diskEncryptionConfiguration.customerManagedKey",
    ),
    (
        with_machine(
            securityProfile={
                "proxyAgentSettings": {"imds": {"inVMAccessControlProfileReferenceId": SOME_ID}}
            }
        ),
        f"{VM}.securityProfile.proxyAgentSettings.imds.inVMAccessControlProfileReferenceId",
    ),
]


@pytest.mark.parametrize(("members", "name"), REFERENCES)
def test_what_can_only_be_in_the_providers_cloud_is_refused(members, name):
    for check, body in (
        (check_pool, a_pool(**members)),
        (check_pool_update, decode(json.dumps(members).encode(), PoolUpdate)),
    ):
        refused = refusal_of(check, body)
        assert (refused.code, refused.status) == ("InvalidPropertyValue", 400)
        values = dict(refused.values)
        assert values["PropertyName"] == name
        assert "leave the property out" in values["Reason"]
        assert "secret-name" not in repr(refused.values)


def test_jobs_have_no_subnets():
    network = {"networkConfiguration": {"subnetId": SOME_ID}}
    job = {"id": "j", "poolInfo": {"poolId": "p"}} | network
    schedule = {
        "id": "s",
        "schedule": {},
        "jobSpecification": {"poolInfo": {"poolId": "p"}} | network,
    }
    for check, body, struct, prefix in (
        (check_job, job, JobCreate, ""),
        (check_job_update, network, JobUpdate, ""),
        (check_job_schedule, schedule, JobScheduleCreate, "jobSpecification."),
    ):
        refused = refusal_of(check, decode(json.dumps(body).encode(), struct))
        assert dict(refused.values)["PropertyName"] == prefix + "networkConfiguration.subnetId"


def nat_pool(*ports: str) -> dict[str, Any]:
    rule = {"priority": 150, "access": "Deny", "sourceAddressPrefix": "10.0.0.0/8"}
    one = {
        "name": "ssh", "protocol": "TCP", "backendPort": 22, "frontendPortRangeStart": 15000,
        "frontendPortRangeEnd": 15100,
        "networkSecurityGroupRules": [rule | {"sourcePortRanges": list(ports)}],
    }  # fmt: skip
    return {"networkConfiguration": {"endpointConfiguration": {"inboundNATPools": [one]}}}


def with_addresses(**members: Any) -> dict[str, Any]:
    return {"networkConfiguration": {"publicIPAddressConfiguration": members}}


def shares(*several: tuple[str, str]) -> dict[str, Any]:
    """NFS mounts by source and path."""
    return {
        "mountConfiguration": [
            {"nfsMountConfiguration": {"source": source, "relativeMountPath": path}}
            for source, path in several
        ]
    }


GOOD = [
    nat_pool("*"),
    nat_pool("22", "100-200", "0-65535", "7-7"),
    {
        "networkConfiguration": {
            "publicIPAddressConfiguration": {"provision": "noPublicIPAddresses"}
        }
    },
    {"networkConfiguration": {"publicIPAddressConfiguration": {"ipFamilies": ["ipv4", "IPV6"]}}},
    with_machine(
        nodeAgentSKUId="batch.node.windows amd64",
        windowsConfiguration={"enableAutomaticUpdates": False},
    ),
    with_machine(
        extensions=[
            {"name": "a", "publisher": "p", "type": "t", "provisionAfterExtensions": ["B"]},
            {"name": "b", "publisher": "p", "type": "t"},
        ]
    ),
    with_machine(containerConfiguration={"type": "DockerCompatible", "containerImageNames": ["a"]}),
    {"applicationLicenses": ["maya", "VRay"]},
    {VM: None, "cloudServiceConfiguration": {"osFamily": "7", "osVersion": "*"}},
    {"certificateReferences": [{"thumbprint": "a" * 40, "thumbprintAlgorithm": "SHA1"}]},
]


@pytest.mark.parametrize("members", GOOD)
def test_good_pools(members):
    check_pool(a_pool(**members))


RULES = "networkConfiguration.endpointConfiguration.inboundNATPools[0].networkSecurityGroupRules[0]"
CERTIFICATE = {"thumbprint": "a" * 40, "thumbprintAlgorithm": "sha1"}
BAD = [
    *((nat_pool(text), RULES + ".sourcePortRanges[0]") for text in
      ("", "a", "-1", "22-", "-", "200-100", "65536", "1-65536", "1-2-3", "**", " 22")),
    (
        with_addresses(ipAddressIds=["x"]),
        "networkConfiguration.publicIPAddressConfiguration.ipAddressIds",
    ),
    (
        with_addresses(provision="usermanaged"),
        "networkConfiguration.publicIPAddressConfiguration.ipAddressIds",
    ),
    (with_machine(windowsConfiguration={}), f"{VM}.windowsConfiguration"),
    (
        with_machine(extensions=[{"name": "a", "publisher": "p", "type": ""}]),
        f"{VM}.extensions[0].type",
    ),
    (
        with_machine(extensions=[{"name": n, "publisher": "p", "type": "t"} for n in "aA"]),
        f"{VM}.extensions[1].name",
    ),
    (
        with_machine(
            extensions=[
                {"name": "a", "publisher": "p", "type": "t", "provisionAfterExtensions": ["a"]}
            ]
        ),
        f"{VM}.extensions[0].provisionAfterExtensions[0]",
    ),
    (
        with_machine(containerConfiguration={"type": "criCompatible", "containerImageNames": [""]}),
        f"{VM}.containerConfiguration.containerImageNames[0]",
    ),
    ({"applicationLicenses": ["word"]}, "applicationLicenses[0]"),
    (
        {VM: None, "cloudServiceConfiguration": {"osFamily": "8"}},
        "cloudServiceConfiguration.osFamily",
    ),
    (
        {"certificateReferences": [CERTIFICATE | {"thumbprint": "xyz"}]},
        "certificateReferences[0].thumbprint",
    ),
    ({"certificateReferences": [CERTIFICATE] * 2}, "certificateReferences[1].thumbprint"),
    (
        shares(("s", "a"), ("s", "a/")),
        "mountConfiguration[1].nfsMountConfiguration.relativeMountPath",
    ),
    (
        shares((" ", "a")),
        "mountConfiguration[0].nfsMountConfiguration.source",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("members", "name"), BAD)
def test_bad_pools(members, name):
    assert dict(refusal_of(check_pool, a_pool(**members)).values)["PropertyName"] == name


def test_replaced_properties_name_certificates_too():
    body = {
        "metadata": [],
        "applicationPackageReferences": [],
        "certificateReferences": [{"thumbprint": "x", "thumbprintAlgorithm": "sha1"}],
    }
    refused = refusal_of(check_pool_replace, decode(json.dumps(body).encode(), PoolReplace))
    assert dict(refused.values)["PropertyName"] == "certificateReferences[0].thumbprint"


def test_a_certificate_without_a_key_has_no_password():
    body = CERTIFICATE | {"data": "AAAA", "certificateFormat": "Cer", "password": "hush"}
    refused = refusal_of(check_certificate, decode(json.dumps(body).encode(), CertificateCreate))
    assert dict(refused.values)["PropertyName"] == "password"
    assert "hush" not in repr(refused.values)
    check_certificate(
        decode(json.dumps(body | {"certificateFormat": "PFX"}).encode(), CertificateCreate)
    )


@pytest.mark.parametrize(
    ("name", "meant"), [("comandLine", "commandLine"), ("envSettings", "environmentSettings")]
)
def test_a_refusal_says_what_may_have_been_meant(name, meant):
    with pytest.raises(Refused) as caught:
        decode(json.dumps({"id": "t", "commandLine": "x", name: "y"}).encode(), TaskCreate)
    assert f"did you mean {meant}?" in dict(caught.value.values)["Reason"]
