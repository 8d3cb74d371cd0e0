"""Keys and shared access signatures, made by the official client's own functions."""

from __future__ import annotations

import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import (
    AccessPolicy,
    AccountSasPermissions,
    BlobClient,
    BlobSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)
from storage_process import ACCOUNT, new_key

HOUR = timedelta(hours=1)


def now():
    return datetime.now(UTC)


def refusal_of(ask):
    with pytest.raises(HttpResponseError) as refused:
        ask()
    return refused.value.status_code, refused.value.error_code


def account_client(storage, permissions, *, types="sco", key=None, **options):
    options = {"expiry": now() + HOUR} | options
    sas = generate_account_sas(
        ACCOUNT,
        key or storage.key1,
        ResourceTypes.from_string(types),
        AccountSasPermissions.from_string(permissions),
        **options,
    )
    return BlobServiceClient(storage.endpoint, credential=sas, retry_total=0)


def container_client(storage, box, permissions, *, key=None, **options):
    options = {"expiry": now() + HOUR} | options
    sas = generate_container_sas(
        ACCOUNT,
        box.container_name,
        key or storage.key1,
        permission=ContainerSasPermissions.from_string(permissions) if permissions else None,
        **options,
    )
    return ContainerClient(storage.endpoint, box.container_name, credential=sas, retry_total=0)


def blob_client(storage, box, name, permissions, *, key=None, **options):
    sas = generate_blob_sas(
        ACCOUNT,
        box.container_name,
        name,
        account_key=key or storage.key1,
        permission=BlobSasPermissions.from_string(permissions),
        **({"expiry": now() + HOUR} | options),
    )
    return BlobClient(storage.endpoint, box.container_name, name, credential=sas, retry_total=0)


def test_both_keys_are_good(storage, box):
    client = BlobServiceClient(storage.endpoint, credential=storage.key2)
    client.get_blob_client(box.container_name, "by-key2").upload_blob(b"2")
    assert box.download_blob("by-key2").readall() == b"2"


def test_another_key_is_refused(storage):
    client = BlobServiceClient(storage.endpoint, credential=new_key(), retry_total=0)
    with pytest.raises(ClientAuthenticationError) as refused:
        list(client.list_containers())
    assert refused.value.error_code == "AuthenticationFailed"
    assert storage.key1 not in str(refused.value)


def test_no_credentials_are_refused(storage, box):
    client = BlobClient(storage.endpoint, box.container_name, "x", retry_total=0)
    assert refusal_of(client.download_blob) == (401, "NoAuthenticationInformation")


@pytest.mark.parametrize("minutes", [-16, -14, 14, 16])
def test_a_wrong_clock(storage, monkeypatch, minutes):
    wrong = time.time() + minutes * 60
    monkeypatch.setattr("azure.storage.blob._shared.policies.time", lambda: wrong)
    client = BlobServiceClient(storage.endpoint, credential=storage.key1, retry_total=0)
    if abs(minutes) < 15:
        assert client.get_account_information()
        return
    with pytest.raises(ClientAuthenticationError, match="more than 15 minutes off"):
        client.get_account_information()


def test_account_signatures(storage, box):
    service = account_client(storage, "rwdlac")
    assert box.container_name in [one.name for one in service.list_containers()]
    blob = service.get_blob_client(box.container_name, "by-account")
    blob.upload_blob(b"x")
    assert blob.download_blob().readall() == b"x"
    blob.delete_blob()
    assert (
        account_client(storage, "l", key=storage.key2)
        .get_container_client(box.container_name)
        .list_blobs()
        .next
    )
    scoped = account_client(storage, "rl", encryption_scope="some-scope")
    assert list(scoped.list_containers("none")) == []


def test_insufficient_account_signatures(storage, box):
    box.upload_blob("x", b"")
    reader = account_client(storage, "r").get_blob_client(box.container_name, "x")
    assert refusal_of(lambda: reader.upload_blob(b"", overwrite=True)) == (
        403,
        "AuthorizationPermissionMismatch",
    )
    objects = account_client(storage, "rl", types="o")
    assert refusal_of(lambda: list(objects.list_containers())) == (
        403,
        "AuthorizationResourceTypeMismatch",
    )
    https = account_client(storage, "rl", protocol="https")
    assert refusal_of(lambda: list(https.list_containers())) == (
        403,
        "AuthorizationProtocolMismatch",
    )
    elsewhere = account_client(storage, "rl", ip="10.0.0.1-10.0.0.9")
    assert refusal_of(lambda: list(elsewhere.list_containers())) == (
        403,
        "AuthorizationSourceIPMismatch",
    )
    here = account_client(storage, "rl", ip="127.0.0.0-127.0.0.9")
    assert list(here.list_containers("none")) == []


def test_container_signatures(storage, box):
    client = container_client(storage, box, "rwdl")
    client.upload_blob("a/b", b"x", overwrite=True)
    assert [blob.name for blob in client.list_blobs()] == ["a/b"]
    assert client.download_blob("a/b").readall() == b"x"
    client.delete_blob("a/b")


@pytest.mark.parametrize(
    ("permissions", "ask"),
    [
        ("w", lambda client: client.download_blob("x")),
        ("r", lambda client: client.upload_blob("x", b"", overwrite=True)),
        ("rw", lambda client: list(client.list_blobs())),
        ("rwl", lambda client: client.delete_blob("x")),
        ("r", lambda client: client.get_blob_client("x").stage_block("a", b"1")),
        ("r", lambda client: client.get_blob_client("x").set_blob_metadata({})),
    ],
)
def test_insufficient_container_signatures(storage, box, permissions, ask):
    box.upload_blob("x", b"")
    client = container_client(storage, box, permissions)
    assert refusal_of(lambda: ask(client)) == (403, "AuthorizationPermissionMismatch")


def test_a_container_signature_is_not_for_the_container_itself(storage, box):
    client = container_client(storage, box, "racwdl")
    assert refusal_of(client.delete_container) == (403, "AuthorizationResourceTypeMismatch")


def test_a_signature_is_for_one_container(storage, box, service):
    other = service.create_container(f"{box.container_name}-other")
    sas = container_client(storage, box, "rl").url.partition("?")[2]
    client = ContainerClient(storage.endpoint, other.container_name, credential=sas, retry_total=0)
    assert refusal_of(lambda: list(client.list_blobs())) == (403, "AuthenticationFailed")


def test_create_is_not_overwrite(storage, box):
    creator = container_client(storage, box, "c")
    creator.upload_blob("new", b"1", overwrite=True)
    assert refusal_of(lambda: creator.upload_blob("new", b"2", overwrite=True)) == (
        403,
        "AuthorizationPermissionMismatch",
    )
    assert box.download_blob("new").readall() == b"1"


def test_blob_signatures(storage, box):
    box.upload_blob("ü /x", b"there")
    box.upload_blob("y", b"")
    client = blob_client(storage, box, "ü /x", "r", content_type="text/plain", key=storage.key2)
    got = client.download_blob()
    assert got.readall() == b"there"
    assert got.properties.content_settings.content_type == "text/plain"
    sas = client.url.partition("?")[2]
    other = BlobClient(storage.endpoint, box.container_name, "y", credential=sas, retry_total=0)
    assert refusal_of(other.download_blob) == (403, "AuthenticationFailed")


@pytest.mark.parametrize(
    "times",
    [
        {"expiry": datetime(2020, 1, 1, tzinfo=UTC)},
        {"expiry": datetime(2037, 1, 1, tzinfo=UTC), "start": datetime(2036, 1, 1, tzinfo=UTC)},
    ],
)
def test_signatures_have_their_time(storage, box, times):
    box.upload_blob("x", b"")
    assert refusal_of(blob_client(storage, box, "x", "r", **times).download_blob) == (
        403,
        "AuthenticationFailed",
    )


def test_signatures_by_another_key_are_refused(storage, box):
    box.upload_blob("x", b"")
    wrong = b64encode(b"wrong" * 10).decode()
    client = blob_client(storage, box, "x", "r", key=wrong)
    assert refusal_of(client.download_blob) == (403, "AuthenticationFailed")


def test_stored_access_policies(storage, box):
    box.upload_blob("x", b"1")
    policy = AccessPolicy(ContainerSasPermissions(read=True), expiry=now() + HOUR)
    box.set_container_access_policy({"p": policy})
    client = container_client(storage, box, None, expiry=None, policy_id="p")
    assert client.download_blob("x").readall() == b"1"
    assert refusal_of(lambda: list(client.list_blobs())) == (
        403,
        "AuthorizationPermissionMismatch",
    )
    box.set_container_access_policy({})  # takes the right back
    assert refusal_of(lambda: client.download_blob("x")) == (403, "AuthenticationFailed")


def test_copies_need_a_right_to_their_source(storage, service, box):
    """Their own signature, or to be within what the target's signature is for."""
    box.upload_blob("source", b"1")
    other = service.create_container(f"{box.container_name}-2")
    writer = container_client(storage, other, "w").get_blob_client("copy")
    bare = box.get_blob_client("source").url
    assert refusal_of(lambda: writer.start_copy_from_url(bare)) == (403, "CannotVerifyCopySource")
    lone = blob_client(storage, box, "lone", "cw")
    assert refusal_of(lambda: lone.start_copy_from_url(bare)) == (403, "CannotVerifyCopySource")
    writer = container_client(storage, box, "w").get_blob_client("copy")
    writer.start_copy_from_url(bare)
    signed = blob_client(storage, box, "source", "r").url
    writer.start_copy_from_url(signed)
    assert box.download_blob("copy").readall() == b"1"
    found = box.get_blob_client("copy").get_blob_properties()
    assert "sig=" not in found.copy.source
