"""Snapshots of blobs."""

from __future__ import annotations

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import ContentSettings

MATCH = MatchConditions.IfNotModified
PLAIN = ContentSettings(content_type="text/plain")


def snapshot_of(client):
    return client.create_snapshot()["snapshot"]


def test_a_snapshot_keeps_what_the_blob_was(box):
    client = box.get_blob_client("x")
    client.upload_blob(b"first", metadata={"who": "me"}, tags={"a": "1"})
    before = client.get_blob_properties()
    made = client.create_snapshot()
    assert (made["etag"], made["last_modified"]) == (before.etag, before.last_modified)
    client.upload_blob(b"second", overwrite=True)
    old = box.get_blob_client("x", snapshot=made["snapshot"])
    assert old.download_blob().readall() == b"first"
    assert old.download_blob(offset=1, length=2).readall() == b"ir"
    assert old.get_blob_properties().metadata == {"who": "me"}
    assert old.get_blob_tags() == {"a": "1"}
    assert client.download_blob().readall() == b"second"


def test_a_snapshot_of_blocks(box):
    client = box.get_blob_client("x")
    for name in "ab":
        client.stage_block(name, name * 100_000)
    client.commit_block_list(["a", "b"])
    old = box.get_blob_client("x", snapshot=snapshot_of(client))
    client.commit_block_list(["b"])
    assert old.download_blob().readall() == b"a" * 100_000 + b"b" * 100_000
    assert [block.id for block in old.get_block_list()[0]] == ["a", "b"]


def test_metadata_of_its_own(box):
    client = box.get_blob_client("x")
    client.upload_blob(b"x", metadata={"who": "me"})
    made = client.create_snapshot(metadata={"who": "you"})
    old = box.get_blob_client("x", snapshot=made["snapshot"])
    assert old.get_blob_properties().metadata == {"who": "you"}
    assert client.get_blob_properties().metadata == {"who": "me"}
    assert made["etag"] != client.get_blob_properties().etag


def test_snapshots_have_conditions(box):
    client = box.get_blob_client("x")
    client.upload_blob(b"x")
    with pytest.raises(HttpResponseError) as refused:
        client.create_snapshot(etag='"0x1"', match_condition=MATCH)
    assert (refused.value.status_code, refused.value.error_code) == (412, "ConditionNotMet")
    with pytest.raises(ResourceNotFoundError):
        box.get_blob_client("nothing").create_snapshot()


def test_snapshots_are_listed_before_their_blob_and_paged(box):
    for name in "abc":
        client = box.get_blob_client(name)
        client.upload_blob(b"x")
    times = [snapshot_of(box.get_blob_client("b")) for _ in range(3)]
    expected = [("a", None), *(("b", time) for time in times), ("b", None), ("c", None)]
    assert times == sorted(set(times))
    for page in (1, 2, 3, 5000):
        pages = box.list_blobs(include=["snapshots"], results_per_page=page)
        assert [(one.name, one.snapshot) for one in pages] == expected
    assert [one.name for one in box.list_blobs()] == ["a", "b", "c"]
    names = [one.name for one in box.walk_blobs(delimiter="/", include=["snapshots"])]
    assert names == ["a", "b", "b", "b", "b", "c"]


def test_a_blob_with_snapshots_is_deleted_knowingly(box):
    client = box.get_blob_client("x")
    client.upload_blob(b"x")
    times = [snapshot_of(client) for _ in range(2)]
    with pytest.raises(HttpResponseError) as refused:
        client.delete_blob()
    assert (refused.value.status_code, refused.value.error_code) == (409, "SnapshotsPresent")
    box.get_blob_client("x", snapshot=times[0]).delete_blob()
    assert [one.snapshot for one in box.list_blobs(include=["snapshots"])] == [times[1], None]
    client.delete_blob(delete_snapshots="only")
    assert [one.snapshot for one in box.list_blobs(include=["snapshots"])] == [None]
    snapshot_of(client)
    client.delete_blob(delete_snapshots="include")
    assert list(box.list_blobs(include=["snapshots"])) == []


def test_snapshots_cannot_be_written(box):
    client = box.get_blob_client("x")
    client.upload_blob(b"x")
    old = box.get_blob_client("x", snapshot=snapshot_of(client))
    with pytest.raises(ResourceNotFoundError):
        box.get_blob_client("x", snapshot="2020-01-01T00:00:00.0000000Z").download_blob()
    old.set_blob_tags({"a": "1"})
    assert client.get_blob_tags() == {}
    old.set_standard_blob_tier("Cool")
    assert old.get_blob_properties().blob_tier == "Cool"
    assert client.get_blob_properties().blob_tier == "Hot"


def test_a_snapshot_is_restored_by_copying_it_over_its_blob(box):
    client = box.get_blob_client("x")
    client.upload_blob(b"first", content_settings=PLAIN)
    time = snapshot_of(client)
    client.upload_blob(b"second", overwrite=True)
    client.start_copy_from_url(f"{client.url}?snapshot={time}")
    assert client.download_blob().readall() == b"first"
    assert client.get_blob_properties().content_settings.content_type == "text/plain"
    assert box.get_blob_client("x", snapshot=time).download_blob().readall() == b"first"


def test_a_container_goes_with_its_snapshots(service, box):
    client = box.get_blob_client("x")
    client.upload_blob(b"x" * 100_000)
    snapshot_of(client)
    box.delete_container()
    service.create_container(box.container_name)
    assert list(box.list_blobs(include=["snapshots"])) == []
