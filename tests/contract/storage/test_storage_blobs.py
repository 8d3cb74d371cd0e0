"""Whole blobs, over the official client."""

from __future__ import annotations

import hashlib
import os

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import ContentSettings

SIZES = [0, 1, 10_240, 64 * 1024, 64 * 1024 + 1, 1024 * 1024, 3 * 1024 * 1024 + 4097]


@pytest.mark.parametrize("size", SIZES)
def test_bytes_come_back_as_they_went(box, size):
    content = os.urandom(size)
    box.upload_blob("some", content)
    blob = box.get_blob_client("some")
    assert blob.download_blob().readall() == content
    assert blob.download_blob().readall() == content  # the second read takes another way
    found = blob.get_blob_properties()
    assert found.size == size
    assert found.content_settings.content_md5 == hashlib.md5(content).digest()
    assert found.server_encrypted is True
    assert found.blob_type == "BlockBlob"


@pytest.mark.parametrize(
    "name",
    ["a/b/c", "with space", "ünïcode-✓", "per%cent", "a+b&c=d?e#f", "x" * 1024, "%2e%2e/%2F"],
)
def test_names_are_only_names(box, name):
    box.upload_blob(name, b"here")
    assert box.get_blob_client(name).download_blob().readall() == b"here"
    assert [blob.name for blob in box.list_blobs()] == [name]
    box.delete_blob(name)
    assert list(box.list_blobs()) == []


def test_a_blob_is_replaced_only_when_asked(box):
    first = box.upload_blob("one", b"1").get_blob_properties()
    with pytest.raises(ResourceExistsError) as refused:
        box.upload_blob("one", b"2")
    assert refused.value.error_code == "BlobAlreadyExists"
    second = box.upload_blob("one", b"3", overwrite=True).get_blob_properties()
    assert box.download_blob("one").readall() == b"3"
    assert second.etag != first.etag
    assert second.creation_time == first.creation_time


def test_missing_things_are_named(service, box):
    with pytest.raises(ResourceNotFoundError) as refused:
        box.download_blob("nothing")
    assert refused.value.error_code == "BlobNotFound"
    with pytest.raises(ResourceNotFoundError) as refused:
        service.get_container_client("no-such-box").upload_blob("x", b"")
    assert refused.value.error_code == "ContainerNotFound"
    with pytest.raises(ResourceNotFoundError):
        box.get_blob_client("nothing").get_blob_properties()
    assert not box.get_blob_client("nothing").exists()


@pytest.mark.parametrize("size", [1000, 300_000])
@pytest.mark.parametrize(
    ("offset", "length"), [(0, 1), (1, 10), (999, 1), (500, None), (990, 4000)]
)
def test_ranges(box, size, offset, length):
    content = os.urandom(size)
    blob = box.upload_blob("ranged", content)
    got = blob.download_blob(offset, length)
    end = None if length is None else offset + length
    assert got.readall() == content[offset:end]


def test_a_range_behind_the_end_is_refused(box):
    blob = box.upload_blob("short", b"12345")
    with pytest.raises(HttpResponseError) as refused:
        blob.download_blob(5, 1)
    assert (refused.value.status_code, refused.value.error_code) == (416, "InvalidRange")
    assert refused.value.response.headers["Content-Range"] == "bytes */5"


def test_validated_downloads(box):
    content = os.urandom(200_000)
    blob = box.upload_blob("checked", content, validate_content=True)
    assert blob.download_blob(10, 100_000, validate_content=True).readall() == content[10:100_010]


def test_a_wrong_digest_is_refused_and_nothing_written(box):
    for size in (100, 100_000):
        with pytest.raises(HttpResponseError) as refused:
            box.get_blob_client("bad").upload_blob(
                os.urandom(size), headers={"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}
            )
        assert (refused.value.status_code, refused.value.error_code) == (400, "Md5Mismatch")
    assert list(box.list_blobs()) == []


def test_properties_and_metadata(box):
    settings = ContentSettings("text/plain", "identity", "de", "attachment", "no-store")
    blob = box.upload_blob("p", b"x", metadata={"Case": "Kept"}, content_settings=settings)
    found = blob.get_blob_properties()
    assert found.metadata == {"Case": "Kept"}
    assert found.content_settings.content_type == "text/plain"
    assert found.content_settings.content_disposition == "attachment"
    assert found.content_settings.cache_control == "no-store"
    blob.set_http_headers(ContentSettings("image/png"))
    after = blob.get_blob_properties()
    assert after.content_settings.content_type == "image/png"
    assert after.content_settings.content_disposition is None
    assert after.metadata == {"Case": "Kept"}
    blob.set_blob_metadata({"other": "1"})
    assert blob.get_blob_properties().metadata == {"other": "1"}
    assert blob.get_blob_properties().content_settings.content_type == "image/png"


def test_conditions_on_blobs(box):
    blob = box.upload_blob("c", b"1")
    etag = blob.get_blob_properties().etag
    with pytest.raises(HttpResponseError) as refused:
        blob.download_blob(etag=etag, match_condition=MatchConditions.IfModified)
    assert refused.value.status_code == 304
    with pytest.raises(ResourceModifiedError) as refused:
        blob.upload_blob(
            b"2", overwrite=True, etag='"0x1"', match_condition=MatchConditions.IfNotModified
        )
    assert refused.value.error_code == "ConditionNotMet"
    blob.upload_blob(b"2", overwrite=True, etag=etag, match_condition=MatchConditions.IfNotModified)
    with pytest.raises(ResourceModifiedError):
        blob.delete_blob(etag=etag, match_condition=MatchConditions.IfNotModified)
    modified = blob.get_blob_properties().last_modified
    with pytest.raises(HttpResponseError) as refused:
        blob.get_blob_properties(if_modified_since=modified)
    assert refused.value.status_code == 304
    blob.delete_blob(if_unmodified_since=modified)


def test_copies_share_and_outlive_their_source(box):
    big = os.urandom(5 * 1024 * 1024)
    for name, content, options in (
        ("small", b"tiny", {}),
        ("large", big[: 1024 * 1024], {}),
        ("parts", big, {"max_single_put_size": 1}),
    ):
        client = box.get_blob_client(name)
        client._config.max_single_put_size = options.get("max_single_put_size", 2**30)
        client._config.max_block_size = 1024 * 1024
        client.upload_blob(content, metadata={"from": name})
        copy = box.get_blob_client(f"{name}-copy")
        done = copy.start_copy_from_url(client.url)
        assert done["copy_status"] == "success"
        client.delete_blob()
        assert copy.download_blob().readall() == content
        found = copy.get_blob_properties()
        assert found.copy.status == "success"
        assert found.metadata == {"from": name}


def test_there_are_no_page_blobs(box):
    with pytest.raises(HttpResponseError) as refused:
        box.get_blob_client("page").create_page_blob(512)
    assert (refused.value.status_code, refused.value.error_code) == (501, "NotImplemented")


def test_a_lease_that_does_not_exist(box):
    blob = box.upload_blob("free", b"")
    with pytest.raises(HttpResponseError) as refused:
        blob.delete_blob(lease="00000000-0000-0000-0000-000000000000")
    assert refused.value.error_code == "LeaseNotPresentWithBlobOperation"
