"""Leases and conditions, over the official client."""

from __future__ import annotations

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobLeaseClient

ID, OTHER = "11111111-2222-4333-8444-555555555555", "99999999-2222-4333-8444-555555555555"


def refusal_of(ask, *sent, **named):
    with pytest.raises(HttpResponseError) as refused:
        ask(*sent, **named)
    return refused.value.status_code, refused.value.error_code


@pytest.fixture(params=["blob", "container"])
def leased(request, box):
    """A client of what can be leased, and a lease of it."""
    client = box.upload_blob("x", b"1") if request.param == "blob" else box
    return client, BlobLeaseClient(client, lease_id=ID)


def shown(client):
    found = (
        client.get_blob_properties()
        if hasattr(client, "blob_name")
        else (client.get_container_properties())
    )
    return found.lease.duration, found.lease.state, found.lease.status


def test_a_lease_from_its_beginning_to_its_end(leased):
    client, lease = leased
    lease.acquire(15)
    assert lease.id == ID
    assert shown(client) == ("fixed", "leased", "locked")
    other = BlobLeaseClient(client, lease_id=OTHER)
    assert refusal_of(other.acquire, 15) == (409, "LeaseAlreadyPresent")
    assert refusal_of(other.renew) == (409, "LeaseIdMismatchWithLeaseOperation")
    lease.renew()
    lease.change(OTHER)
    assert lease.id == OTHER
    assert other.break_lease(0) == 0
    assert shown(client) == (None, "broken", "unlocked")
    assert refusal_of(lease.renew) == (409, "LeaseIsBrokenAndCannotBeRenewed")
    lease.acquire()
    assert shown(client) == ("infinite", "leased", "locked")
    assert other.break_lease(60) == 60
    assert shown(client) == (None, "breaking", "locked")
    assert refusal_of(lease.acquire) == (409, "LeaseIsBreakingAndCannotBeAcquired")
    lease.release()
    assert shown(client) == (None, "available", "unlocked")
    assert refusal_of(lease.break_lease) == (409, "LeaseNotPresentWithLeaseOperation")


def test_a_leased_blob_is_for_its_holder(box):
    blob = box.upload_blob("x", b"1")
    lease = blob.acquire_lease(60)
    assert refusal_of(blob.upload_blob, b"2", overwrite=True) == (412, "LeaseIdMissing")
    assert refusal_of(blob.delete_blob) == (412, "LeaseIdMissing")
    code = "LeaseIdMismatchWithBlobOperation"
    assert refusal_of(blob.set_blob_metadata, {}, lease=OTHER) == (412, code)
    assert refusal_of(blob.get_blob_properties, lease=OTHER) == (412, code)
    assert blob.download_blob(lease=lease).readall() == b"1"
    blob.upload_blob(b"2", overwrite=True, lease=lease)
    assert blob.download_blob().readall() == b"2"
    assert blob.get_blob_properties().lease.state == "leased"
    blob.delete_blob(lease=lease)
    assert not blob.exists()


def test_a_leased_container_is_deleted_by_its_holder(service, box):
    lease = box.acquire_lease()
    box.upload_blob("x", b"1")
    assert refusal_of(box.delete_container) == (412, "LeaseIdMissing")
    code = "LeaseIdMismatchWithContainerOperation"
    assert refusal_of(box.get_container_properties, lease=OTHER) == (412, code)
    box.set_container_metadata({"a": "b"}, lease=lease)
    (found,) = service.list_containers(box.container_name)
    assert (found.lease.state, found.lease.duration) == ("leased", "infinite")
    box.delete_container(lease=lease)
    assert not box.exists()


def test_a_list_shows_leases(box):
    box.upload_blob("free", b"1")
    box.upload_blob("held", b"1").acquire_lease()
    found = {one.name: (one.lease.state, one.lease.status) for one in box.list_blobs()}
    assert found == {"free": ("available", "unlocked"), "held": ("leased", "locked")}


def test_a_lease_under_conditions(box):
    blob = box.upload_blob("x", b"1")
    etag = blob.get_blob_properties().etag
    blob.set_blob_metadata({"a": "b"})
    stale = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
    assert refusal_of(blob.acquire_lease, **stale) == (412, "ConditionNotMet")
    etag = blob.get_blob_properties().etag
    lease = blob.acquire_lease(etag=etag, match_condition=MatchConditions.IfNotModified)
    assert blob.get_blob_properties().etag == etag
    assert refusal_of(lease.renew, **stale) == (412, "ConditionNotMet")


def test_conditions_of_reads_and_writes(box):
    blob = box.upload_blob("x", b"1")
    etag = blob.get_blob_properties().etag
    changed = {"etag": etag, "match_condition": MatchConditions.IfModified}
    assert refusal_of(blob.download_blob, **changed) == (304, "ConditionNotMet")
    assert refusal_of(blob.set_blob_metadata, {}, **changed) == (412, "ConditionNotMet")
    missing = box.get_blob_client("missing")
    same = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
    assert refusal_of(missing.upload_blob, b"1", overwrite=True, **same) == (412, "ConditionNotMet")
    for ask in (missing.download_blob, missing.delete_blob):
        assert refusal_of(ask, **same) == (412, "ConditionNotMet")
    tags = {"if_tags_match_condition": "a = '1'"}
    assert refusal_of(blob.get_blob_properties, **tags) == (412, "ConditionNotMet")
