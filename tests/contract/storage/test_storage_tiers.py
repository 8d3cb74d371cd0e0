"""Access tiers."""

from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import StandardBlobTier


def refusal_of(ask):
    with pytest.raises(HttpResponseError) as refused:
        ask()
    return refused.value.status_code, refused.value.error_code


def test_a_tier_is_recorded_and_dated(box):
    client = box.get_blob_client("x")
    client.upload_blob(b"x", metadata={"who": "me"})
    before = client.get_blob_properties()
    assert (before.blob_tier, before.blob_tier_inferred) == ("Hot", True)
    assert before.blob_tier_change_time is None
    for tier in ("Cool", "Cold", "Hot"):
        client.set_standard_blob_tier(tier)
        found = client.get_blob_properties()
        assert (found.blob_tier, bool(found.blob_tier_inferred)) == (tier, False)
        assert found.blob_tier_change_time >= before.last_modified
        assert found.etag == before.etag
    listed = next(box.list_blobs())
    assert (listed.blob_tier, listed.blob_tier_inferred) == ("Hot", None)
    assert listed.blob_tier_change_time == found.blob_tier_change_time


def test_a_tier_at_upload(box):
    client = box.upload_blob("x", b"x", standard_blob_tier=StandardBlobTier.COOL)
    assert client.get_blob_properties().blob_tier == "Cool"
    client.set_http_headers()
    assert client.get_blob_properties().blob_tier == "Cool"
    client.upload_blob(b"y", overwrite=True)
    assert client.get_blob_properties().blob_tier_inferred is True
    client.stage_block("a", b"x")
    client.commit_block_list(["a"], standard_blob_tier=StandardBlobTier.COLD)
    assert client.get_blob_properties().blob_tier == "Cold"


def test_archived_blobs_can_only_be_described_tagged_rehydrated_and_deleted(box):
    archived = (409, "BlobArchived")
    client = box.get_blob_client("x")
    client.upload_blob(b"x", metadata={"who": "me"})
    client.set_standard_blob_tier("Archive")
    assert client.get_blob_properties().metadata == {"who": "me"}
    client.set_blob_tags({"a": "1"})
    assert client.get_blob_tags() == {"a": "1"}
    assert refusal_of(lambda: client.download_blob().readall()) == archived
    assert refusal_of(lambda: client.set_blob_metadata({})) == archived
    assert refusal_of(client.set_http_headers) == archived
    assert refusal_of(client.create_snapshot) == archived
    client.set_standard_blob_tier("Hot", rehydrate_priority="High")
    assert client.get_blob_properties().archive_status is None
    assert client.download_blob().readall() == b"x"
    client.set_standard_blob_tier("Archive")
    client.upload_blob(b"y", overwrite=True)
    assert client.download_blob().readall() == b"y"
    client.set_standard_blob_tier("Archive")
    client.delete_blob()


def test_tiers_that_there_are_none_of(box):
    client = box.upload_blob("x", b"x")
    assert refusal_of(lambda: client.set_standard_blob_tier("P10")) == (400, "InvalidHeaderValue")
    missing = box.get_blob_client("nothing")
    assert refusal_of(lambda: missing.set_standard_blob_tier("Cool")) == (404, "BlobNotFound")
