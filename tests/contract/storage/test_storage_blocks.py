"""Blocks and large uploads, over the official client."""

from __future__ import annotations

import hashlib
import io
import os
from base64 import b64encode

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobServiceClient, BlobType, ContentSettings

MIB = 1024 * 1024


def test_large_uploads_go_in_blocks_and_come_back_in_ranges(storage, box):
    content = os.urandom(9 * MIB + 12345)
    with BlobServiceClient(
        storage.endpoint,
        credential=storage.key1,
        max_single_put_size=64 * 1024,
        max_block_size=1 * MIB,
        min_large_block_upload_threshold=1,
        max_single_get_size=2 * MIB,
        max_chunk_get_size=1 * MIB,
    ) as service:
        blob = service.get_blob_client(box.container_name, "large")
        blob.upload_blob(
            io.BytesIO(content),
            max_concurrency=4,
            metadata={"k": "v"},
            content_settings=ContentSettings("video/mp4"),
        )
        assert blob.download_blob(max_concurrency=4).readall() == content
        for offset, length in ((0, 10), (MIB - 1, 2), (5 * MIB - 7, 3 * MIB), (9 * MIB, None)):
            end = None if length is None else offset + length
            assert blob.download_blob(offset, length).readall() == content[offset:end]
        found = blob.get_blob_properties()
        assert (found.size, found.metadata) == (len(content), {"k": "v"})
        assert found.content_settings.content_type == "video/mp4"
        committed, uncommitted = blob.get_block_list("all")
        assert (len(committed), uncommitted) == (10, [])


def test_block_lists_choose_where_blocks_come_from(box):
    blob = box.get_blob_client("list")
    blob.stage_block("a", b"old-a")
    blob.stage_block("b", b"old-b")
    blob.commit_block_list([BlobBlock("a"), BlobBlock("b"), BlobBlock("a")])
    assert blob.download_blob().readall() == b"old-aold-bold-a"
    blob.stage_block("a", b"new-a")
    committed, uncommitted = blob.get_block_list("all")
    assert [one.id for one in committed] == ["a", "b", "a"]
    assert [(one.id, one.size) for one in uncommitted] == [("a", 5)]
    assert blob.download_blob().readall() == b"old-aold-bold-a"
    blob.commit_block_list([BlobBlock("b"), BlobBlock("a")])
    assert blob.download_blob().readall() == b"old-bnew-a"
    assert blob.get_block_list("uncommitted")[1] == []


def test_an_unknown_block_is_refused_and_the_blob_stays(box):
    blob = box.upload_blob("kept", b"content")
    blob.stage_block("known", b"1")
    with pytest.raises(HttpResponseError) as refused:
        blob.commit_block_list([BlobBlock("known"), BlobBlock("other")])
    assert (refused.value.status_code, refused.value.error_code) == (400, "InvalidBlockList")
    assert blob.download_blob().readall() == b"content"
    assert [one.id for one in blob.get_block_list("uncommitted")[1]] == ["known"]


def test_staged_blocks_are_no_blob_yet(box):
    blob = box.get_blob_client("soon")
    blob.stage_block("a", b"1")
    assert not blob.exists()
    with pytest.raises(ResourceNotFoundError):
        blob.download_blob()
    assert list(box.list_blobs()) == []
    assert [one.name for one in box.list_blobs(include=["uncommittedblobs"])] == ["soon"]
    blob.upload_blob(b"whole", blob_type=BlobType.BLOCKBLOB)
    assert blob.get_block_list("all") == ([], [])


def test_block_ids_are_checked(box):
    blob = box.get_blob_client("ids")
    blob.stage_block("same", b"1")
    with pytest.raises(HttpResponseError) as refused:
        blob.stage_block("much-longer", b"1")
    assert refused.value.error_code == "InvalidBlobOrBlock"
    with pytest.raises(HttpResponseError) as refused:
        blob.stage_block("samet", b"1")  # as long as "same" when both are in base64
    assert refused.value.error_code == "InvalidBlobOrBlock"
    with pytest.raises(HttpResponseError) as refused:
        blob.stage_block("x" * 65, b"1")
    assert refused.value.status_code == 400


def test_a_download_survives_the_replacement_of_its_blob(storage, box):
    """What was begun is finished with the old bytes, though all of them were replaced."""
    content = os.urandom(24 * MIB)
    blob = box.get_blob_client("moving")
    ids = []
    for number in range(24):
        ids.append(BlobBlock(f"{number:03}"))
        blob.stage_block(ids[-1].id, content[number * MIB : (number + 1) * MIB])
    blob.commit_block_list(ids)
    blob._config.max_single_get_size = len(content)
    response = blob._client.blob.download()
    first = next(response)
    blob.upload_blob(b"new", overwrite=True)
    assert first + b"".join(response) == content
    assert blob.download_blob().readall() == b"new"


def digest_headers(seen):
    """Keeps the digests of answers."""

    def keep(response):
        headers = response.http_response.headers
        seen.append({name: headers.get(name) for name in ("Content-MD5", "x-ms-content-crc64")})

    return keep


CRC64 = b64encode(0xAE8B14860A799888.to_bytes(8, "little")).decode()


def test_crc64_is_checked_and_told(box):
    content, seen = b"123456789", []
    blob = box.get_blob_client("crc")
    ask = {"raw_response_hook": digest_headers(seen)}
    blob.stage_block("a", content, **ask)
    blob.stage_block("a", content, headers={"x-ms-content-crc64": CRC64}, **ask)
    assert seen == [{"Content-MD5": None, "x-ms-content-crc64": CRC64}] * 2
    for send in (
        lambda sent: blob.stage_block("b", b"other", **sent),
        lambda sent: blob.upload_blob(b"other", overwrite=True, **sent),
        lambda sent: blob.commit_block_list([BlobBlock("a")], **sent),
    ):
        with pytest.raises(HttpResponseError) as refused:
            send({"headers": {"x-ms-content-crc64": CRC64}})
        assert refused.value.error_code == "Crc64Mismatch"
    assert [one.id for one in blob.get_block_list("uncommitted")[1]] == ["a"]
    blob.upload_blob(content, overwrite=True, headers={"x-ms-content-crc64": CRC64})
    large = os.urandom(200_000)
    blob.stage_block("c", large, validate_content=True)
    with pytest.raises(HttpResponseError) as refused:
        blob.stage_block("d", large, headers={"x-ms-content-crc64": CRC64})
    assert refused.value.error_code == "Crc64Mismatch"


def test_the_digest_of_a_range(box):
    blob, seen = box.upload_blob("range", b"xx123456789xx"), []
    blob.download_blob(
        2, 9, raw_response_hook=digest_headers(seen),
        headers={"x-ms-range-get-content-crc64": "true"},
    ).readall()  # fmt: skip
    assert seen == [{"Content-MD5": None, "x-ms-content-crc64": CRC64}]
    assert blob.download_blob(2, 9, validate_content=True).readall() == b"123456789"


def test_the_digest_of_a_whole_blob_outweighs_that_of_its_request(box):
    content = b"HelloWorld"
    right, wrong = (hashlib.md5(text).digest() for text in (content, b"other"))
    blob = box.get_blob_client("md5")

    def put(whole, body):
        blob.upload_blob(
            content,
            overwrite=True,
            content_settings=ContentSettings(content_md5=bytearray(whole)),
            headers={"Content-MD5": b64encode(body).decode()},
        )

    put(right, wrong)
    with pytest.raises(HttpResponseError) as refused:
        put(wrong, right)
    assert refused.value.error_code == "Md5Mismatch"
    with pytest.raises(HttpResponseError) as refused:
        put(right[:8], right)
    assert refused.value.error_code == "InvalidMd5"
