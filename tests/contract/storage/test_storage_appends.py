"""Append blobs, over the official client."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, BlobType, ContentSettings
from storage_process import StorageProcess


def refusal_of(ask, *sent, **named):
    with pytest.raises(HttpResponseError) as refused:
        ask(*sent, **named)
    return refused.value.status_code, refused.value.error_code


@pytest.fixture
def log(box):
    """A fresh append blob."""
    blob = box.get_blob_client("log")
    blob.create_append_blob()
    return blob


def test_blocks_go_behind_each_other(log):
    first = log.append_block(b"abc")
    assert (first["blob_append_offset"], first["blob_committed_block_count"]) == ("0", 1)
    second = log.append_block(b"defgh")
    assert (second["blob_append_offset"], second["blob_committed_block_count"]) == ("3", 2)
    found = log.get_blob_properties()
    assert (found.blob_type, found.size, found.etag) == (BlobType.APPENDBLOB, 8, second["etag"])
    assert (found.append_blob_committed_block_count, found.is_append_blob_sealed) == (2, False)
    assert found.blob_tier is None
    assert log.download_blob().readall() == b"abcdefgh"
    assert log.download_blob(2, 3).readall() == b"cde"


def test_created_with_a_description(box):
    blob = box.get_blob_client("log")
    blob.create_append_blob(
        content_settings=ContentSettings("text/plain"), metadata={"a": "b"}, tags={"t": "1"}
    )
    blob.append_block(b"x")
    blob.set_http_headers(ContentSettings("text/csv"))
    blob.append_block(b"y")
    found = blob.get_blob_properties()
    assert (found.content_settings.content_type, found.metadata) == ("text/csv", {"a": "b"})
    assert (found.append_blob_committed_block_count, found.tag_count) == (2, 1)
    (listed,) = box.list_blobs()
    assert (listed.blob_type, listed.size, listed.blob_tier) == (BlobType.APPENDBLOB, 2, None)


def test_an_upload_in_blocks(box):
    content = os.urandom(300_000)
    blob = box.get_blob_client("log")
    blob._config.max_block_size = 64 * 1024
    blob.upload_blob(content, blob_type=BlobType.APPENDBLOB)
    blob.upload_blob(content[:10], blob_type=BlobType.APPENDBLOB)  # without overwrite: goes on
    assert blob.download_blob().readall() == content + content[:10]
    blob.upload_blob(b"new", blob_type=BlobType.APPENDBLOB, overwrite=True)
    assert blob.download_blob().readall() == b"new"


def test_conditions_on_position_and_size(log):
    log.append_block(b"abc", appendpos_condition=0, maxsize_condition=3)
    code = "AppendPositionConditionNotMet"
    assert refusal_of(log.append_block, b"d", appendpos_condition=0) == (412, code)
    code = "MaxBlobSizeConditionNotMet"
    assert refusal_of(log.append_block, b"d", maxsize_condition=3) == (412, code)
    stale = {"etag": '"0x1"', "match_condition": MatchConditions.IfNotModified}
    assert refusal_of(log.append_block, b"d", **stale) == (412, "ConditionNotMet")
    assert log.get_blob_properties().size == 3


def test_a_sealed_blob_takes_no_more(box, log):
    log.append_block(b"abc")
    assert log.seal_append_blob()["blob_sealed"] is True
    etag = log.get_blob_properties().etag
    log.seal_append_blob()
    found = log.get_blob_properties()
    assert (found.etag, found.is_append_blob_sealed) == (etag, True)
    assert refusal_of(log.append_block, b"d") == (409, "BlobIsSealed")
    log.set_blob_metadata({"a": "b"})
    log.set_http_headers(ContentSettings("text/csv"))
    assert log.get_blob_properties().is_append_blob_sealed is True
    log.delete_blob()
    log.create_append_blob()
    assert log.append_block(b"d")["blob_committed_block_count"] == 1


def test_kinds_do_not_mix(box, log):
    whole = box.upload_blob("whole", b"1")
    wrong = (409, "InvalidBlobType")
    assert refusal_of(whole.append_block, b"1") == wrong
    assert refusal_of(whole.seal_append_blob) == wrong
    assert refusal_of(log.stage_block, "a", b"1") == wrong
    assert refusal_of(log.commit_block_list, []) == wrong
    assert refusal_of(log.get_block_list) == wrong
    missing = box.get_blob_client("missing")
    for ask in (lambda: missing.append_block(b"1"), missing.seal_append_blob):
        assert refusal_of(ask) == (404, "BlobNotFound")
    log.upload_blob(b"whole", overwrite=True)
    assert log.get_blob_properties().blob_type == BlobType.BLOCKBLOB
    log.create_append_blob()
    assert (log.get_blob_properties().size, log.download_blob().readall()) == (0, b"")
    assert refusal_of(log.create_append_blob, match_condition=MatchConditions.IfMissing) == (
        409,
        "BlobAlreadyExists",
    )


def test_a_copy_and_a_snapshot_keep_what_was_there(box, log):
    log.append_block(b"abc")
    snapshot = box.get_blob_client("log", snapshot=log.create_snapshot()["snapshot"])
    copy = box.get_blob_client("copy")
    copy.start_copy_from_url(log.url)
    log.append_block(b"d")
    copy.append_block(b"e")
    contents = [one.download_blob().readall() for one in (log, snapshot, copy)]
    assert contents == [b"abcd", b"abc", b"abce"]
    assert copy.get_blob_properties().append_blob_committed_block_count == 2


def test_appends_at_once_all_arrive(log):
    lines = [f"{number:04}\n".encode() for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        offsets = list(
            pool.map(lambda line: int(log.append_block(line)["blob_append_offset"]), lines)
        )
    content = log.download_blob().readall()
    assert [content[at : at + 5] for at in offsets] == lines
    assert len(content) == 1000


def test_a_lease_keeps_others_from_appending(log):
    lease = log.acquire_lease(60)
    assert refusal_of(log.append_block, b"1") == (412, "LeaseIdMissing")
    assert refusal_of(log.seal_append_blob) == (412, "LeaseIdMissing")
    log.append_block(b"1", lease=lease)
    log.seal_append_blob(lease=lease)


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    process = StorageProcess(tmp_path)
    with BlobServiceClient(process.endpoint, credential=process.key1, retry_total=0) as service:
        log = service.create_container("box").get_blob_client("log")
        log.create_append_blob()
        for number in range(50):
            log.append_block(b"%04d" % number)
    process.kill()
    process.start()
    with BlobServiceClient(process.endpoint, credential=process.key1, retry_total=0) as service:
        log = service.get_blob_client("box", "log")
        assert log.download_blob().readall() == b"".join(b"%04d" % number for number in range(50))
        assert log.append_block(b"x")["blob_committed_block_count"] == 51
    assert process.stop() == 0
