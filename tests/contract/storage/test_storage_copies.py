"""Copies: within the server, from another one, and from URLs that misbehave."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerSasPermissions,
    ContentSettings,
    StandardBlobTier,
    generate_container_sas,
)
from source_server import SourceServer
from storage_process import ACCOUNT, StorageProcess

CONTENT = bytes(range(256)) * 16_384  # 4 MiB
TEXT = ContentSettings(content_type="text/plain", cache_control="no-cache")
DEADLINE_S = 60
MATCH = MatchConditions.IfNotModified


def refusal_of(ask):
    with pytest.raises(HttpResponseError) as refused:
        ask()
    return refused.value.status_code, refused.value.error_code


def ended(client):
    """The properties of a blob when its copy is no longer pending."""
    tick, waited_s = threading.Event(), 0.0
    while (found := client.get_blob_properties()).copy.status == "pending":
        assert waited_s < DEADLINE_S
        tick.wait(0.05)
        waited_s += 0.05
    return found


def signed(box, key, name):
    sas = generate_container_sas(
        ACCOUNT,
        box.container_name,
        account_key=key,
        permission=ContainerSasPermissions(read=True, tag=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    return f"{box.get_blob_client(name).url}?{sas}"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """A container of another server, and its key."""
    process = StorageProcess(tmp_path_factory.mktemp("elsewhere"))
    with BlobServiceClient(process.endpoint, credential=process.key1) as service:
        box = service.create_container("there")
        box.upload_blob(
            "x", CONTENT, metadata={"Who": "me"}, tags={"a": "1"}, content_settings=TEXT
        )
        yield box, process.key1
    assert process.stop() == 0


@pytest.fixture(scope="module")
def web():
    with SourceServer(CONTENT, step=1_500_000) as server:
        yield server


def test_a_copy_from_another_server(box, elsewhere):
    there, key = elsewhere
    client = box.get_blob_client("x")
    begun = client.start_copy_from_url(signed(there, key, "x"))
    assert begun["copy_status"] == "pending"
    found = ended(client)
    assert found.copy.status == "success"
    assert found.copy.progress == f"{len(CONTENT)}/{len(CONTENT)}"
    assert found.copy.id == begun["copy_id"]
    assert found.copy.source == there.get_blob_client("x").url
    assert found.etag != begun["etag"]
    assert found.metadata == {"Who": "me"}
    assert found.content_settings.content_type == "text/plain"
    assert found.content_settings.content_md5 == hashlib.md5(CONTENT).digest()
    assert client.download_blob().readall() == CONTENT
    assert client.get_blob_tags() == {}


def test_a_copy_from_another_server_while_the_client_waits(box, elsewhere):
    there, key = elsewhere
    client = box.get_blob_client("x")
    md5 = hashlib.md5(CONTENT).digest()
    done = client.start_copy_from_url(
        signed(there, key, "x"), requires_sync=True, tags="COPY", metadata={"who": "you"}
    )
    assert done["copy_status"] == "success"
    assert client.download_blob().readall() == CONTENT
    assert client.get_blob_tags() == {"a": "1"}
    assert client.get_blob_properties().metadata == {"who": "you"}
    client.upload_blob_from_url(
        signed(there, key, "x"), overwrite=True, source_content_md5=md5, tags={"b": "2"}
    )
    found = client.get_blob_properties()
    assert (found.copy.status, found.metadata) == (None, {})
    assert found.content_settings.cache_control == "no-cache"
    assert client.get_blob_tags() == {"b": "2"}
    client.upload_blob_from_url(
        signed(there, key, "x"), overwrite=True, include_source_blob_properties=False
    )
    assert client.get_blob_properties().content_settings.cache_control is None


def test_blocks_from_urls(box, elsewhere):
    there, key = elsewhere
    box.upload_blob("mine", b"0123456789")
    client = box.get_blob_client("x")
    client.stage_block_from_url("a", signed(there, key, "x"), source_offset=256, source_length=256)
    client.stage_block_from_url("b", box.get_blob_client("mine").url, 2, 3)
    md5 = hashlib.md5(b"0123456789").digest()
    client.stage_block_from_url(
        "c", box.get_blob_client("mine").url, source_content_md5=bytearray(md5)
    )
    client.commit_block_list(["a", "b", "c"])
    assert client.download_blob().readall() == bytes(range(256)) + b"234" + b"0123456789"
    wrong = bytearray(16)
    assert refusal_of(
        lambda: client.stage_block_from_url(
            "d", box.get_blob_client("mine").url, source_content_md5=wrong
        )
    ) == (400, "Md5Mismatch")


def test_within_the_server_everything_is_shared_at_once(storage, box):
    source = box.get_blob_client("source")
    source.upload_blob(CONTENT, metadata={"who": "me"}, tags={"a": "1"}, content_settings=TEXT)
    for options in ({}, {"requires_sync": True}):
        client = box.get_blob_client("x")
        done = client.start_copy_from_url(source.url, **options)
        assert done["copy_status"] == "success"
        assert client.download_blob().readall() == CONTENT
        assert client.get_blob_properties().content_settings.content_type == "text/plain"
        assert client.get_blob_tags() == {}
    client.start_copy_from_url(source.url, requires_sync=True, tags="COPY")
    assert client.get_blob_tags() == {"a": "1"}
    client.start_copy_from_url(source.url, tags={"b": "2"})
    assert client.get_blob_tags() == {"b": "2"}
    md5 = bytearray(hashlib.md5(CONTENT).digest())
    client.upload_blob_from_url(source.url, overwrite=True, source_content_md5=md5)
    assert client.download_blob().readall() == CONTENT
    client.upload_blob_from_url(source.url, overwrite=True)
    assert client.download_blob().readall() == CONTENT
    source.start_copy_from_url(source.url, metadata={"who": "you"}, tags={"c": "3"})
    assert source.get_blob_properties().metadata == {"who": "you"}
    assert source.get_blob_tags() == {"c": "3"}


def test_another_account_of_the_server_needs_a_signature(tmp_path, storage):
    first, second = storage.key1, storage.key2
    accounts = {"one" + ACCOUNT: [first, second], ACCOUNT: [second, first]}
    process = StorageProcess(tmp_path / "two", key1=second, key2=first, tls={"accounts": accounts})
    try:
        url = f"http://127.0.0.1:{process.port}"
        with (
            BlobServiceClient(f"{url}/{ACCOUNT}", credential=second) as theirs,
            BlobServiceClient(f"{url}/one{ACCOUNT}", credential=first, retry_total=0) as ours,
        ):
            there, here = theirs.create_container("box"), ours.create_container("box")
            there.upload_blob("x", b"x" * 100_000)
            client = here.get_blob_client("x")
            bare = there.get_blob_client("x").url
            assert refusal_of(lambda: client.start_copy_from_url(bare)) == (
                403,
                "CannotVerifyCopySource",
            )
            done = client.start_copy_from_url(signed(there, second, "x"))
            assert done["copy_status"] == "success"
            assert client.download_blob().readall() == b"x" * 100_000
    finally:
        assert process.stop() == 0


def test_a_broken_connection_is_taken_up_again(box, web):
    client = box.get_blob_client("x")
    client.start_copy_from_url(web.url("/broken"))
    found = ended(client)
    assert found.copy.status == "success"
    assert client.download_blob().readall() == CONTENT
    assert found.metadata == {"Who": "me"}
    assert web.asked[-1]["range"] == f"bytes={2 * web.step}-{len(CONTENT) - 1}"


def test_a_source_that_changes_is_not_mixed(box, web):
    client = box.get_blob_client("x")
    client.upload_blob(b"before", metadata={"who": "was"})
    client.start_copy_from_url(web.url("/changing"))
    found = ended(client)
    assert found.copy.status == "failed"
    assert found.copy.status_description.startswith("500 CannotVerifyCopySource")
    assert (found.size, found.metadata) == (0, {"Who": "me"})
    assert refusal_of(lambda: client.start_copy_from_url(web.url("/changing"), requires_sync=True))
    assert client.get_blob_properties().size == 0


@pytest.mark.parametrize(
    ("path", "status"),
    [("/status/404", 404), ("/status/403", 403), ("/to", 404), ("/plain", 404)],
)
def test_sources_that_cannot_be_read(box, web, path, status):
    client = box.get_blob_client("x")
    expected = (status, "CannotVerifyCopySource")
    assert refusal_of(lambda: client.start_copy_from_url(web.url(path))) == expected
    assert refusal_of(lambda: client.upload_blob_from_url(web.url(path))) == expected
    assert not client.exists()


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "/account/box/x",
        "http://user:password@127.0.0.1/x",
        "http:///x",
        "http://127.0.0.1:99999/x",
    ],
)
def test_what_is_no_source(box, url):
    client = box.get_blob_client("x")
    with pytest.raises(HttpResponseError) as refused:
        client.start_copy_from_url(url)
    assert (refused.value.status_code, refused.value.error_code) == (400, "InvalidHeaderValue")
    assert "password@" not in refused.value.message


def test_who_asks_and_what_is_demanded_goes_to_the_source(box, web):
    client = box.get_blob_client("x")
    client.upload_blob_from_url(
        web.url("/whole"), source_authorization="Bearer token", source_etag='"one"',
        source_match_condition=MATCH,
    )  # fmt: skip
    assert web.asked[-1]["authorization"] == "Bearer token"
    assert web.asked[-1]["if-match"] == '"one"'
    assert refusal_of(
        lambda: client.start_copy_from_url(
            web.url("/whole"), source_etag='"two"', source_match_condition=MATCH
        )
    ) == (412, "SourceConditionNotMet")
    box.upload_blob("mine", b"x")
    mine = box.get_blob_client("mine").url
    assert refusal_of(
        lambda: client.start_copy_from_url(mine, source_etag='"0x1"', source_match_condition=MATCH)
    ) == (412, "SourceConditionNotMet")


def test_a_pending_copy_is_aborted(box):
    with SourceServer(CONTENT, step=1000) as held:
        client = box.get_blob_client("x")
        begun = client.start_copy_from_url(held.url("/held"))
        assert begun["copy_status"] == "pending"
        found = client.get_blob_properties()
        assert (found.copy.status, found.size) == ("pending", 0)
        assert found.copy.progress == f"0/{len(CONTENT)}"
        assert next(box.list_blobs(include=["copy"])).copy.status == "pending"
        assert refusal_of(lambda: client.abort_copy("other")) == (409, "CopyIdMismatch")
        client.abort_copy(begun["copy_id"])
        found = client.get_blob_properties()
        assert (found.copy.status, found.size, found.metadata) == ("aborted", 0, {"Who": "me"})
        assert refusal_of(lambda: client.abort_copy(begun["copy_id"])) == (
            409,
            "NoPendingCopyOperation",
        )
        held.let_go.set()
        client.upload_blob(b"after", overwrite=True)
    assert client.download_blob().readall() == b"after"


def test_a_blob_waits_for_its_copy(box):
    with SourceServer(CONTENT, step=1000) as held:
        client = box.get_blob_client("x")
        client.start_copy_from_url(held.url("/held"))
        pending = (409, "PendingCopyOperation")
        assert refusal_of(lambda: client.upload_blob(b"x", overwrite=True)) == pending
        assert refusal_of(lambda: client.set_blob_metadata({})) == pending
        assert refusal_of(client.delete_blob) == pending
        held.let_go.set()
        assert ended(client).copy.status == "success"
    client.delete_blob()


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_restart_ends_copies(tmp_path, end):
    with SourceServer(CONTENT, step=1000) as held:
        process = StorageProcess(tmp_path / "s")
        with BlobServiceClient(process.endpoint, credential=process.key1) as service:
            service.create_container("box").get_blob_client("x").start_copy_from_url(
                held.url("/held")
            )
        getattr(process, end)()
        process.start()
        try:
            with BlobClient(process.endpoint, "box", "x", credential=process.key1) as client:
                found = client.get_blob_properties()
                assert (found.copy.status, found.size) == ("failed", 0)
                assert "InternalError" in found.copy.status_description
                client.upload_blob(b"x", overwrite=True)
        finally:
            assert process.stop() == 0


def test_archived_sources(box):
    source = box.upload_blob("source", b"x", standard_blob_tier=StandardBlobTier.COOL)
    client = box.get_blob_client("x")
    client.start_copy_from_url(source.url)
    assert client.get_blob_properties().blob_tier == "Hot"
    source.set_standard_blob_tier("Archive")
    archived = (409, "BlobArchived")
    assert refusal_of(lambda: client.start_copy_from_url(source.url)) == archived
    assert (
        refusal_of(lambda: client.start_copy_from_url(source.url, requires_sync=True)) == archived
    )
    assert refusal_of(lambda: client.stage_block_from_url("a", source.url)) == archived
    client.start_copy_from_url(source.url, standard_blob_tier=StandardBlobTier.COLD)
    assert client.get_blob_properties().blob_tier == "Cold"
    assert client.download_blob().readall() == b"x"


@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_append_blobs_stay_append_blobs(box, elsewhere, where):
    there, key = elsewhere
    source = (box if where == "here" else there).get_blob_client("log")
    source.create_append_blob()
    source.append_block(b"one ")
    source.append_block(b"two ")
    url = source.url if where == "here" else signed(there, key, "log")
    client = box.get_blob_client("copy")
    client.start_copy_from_url(url)
    assert ended(client).blob_type == "AppendBlob"
    client.append_block_from_url(url, source_offset=4, source_length=3)
    assert client.download_blob().readall() == b"one two two"
    client.delete_blob()
    client.start_copy_from_url(url, seal_destination_blob=True)
    assert ended(client).copy.status == "success"
    assert refusal_of(lambda: client.append_block(b"x")) == (409, "BlobIsSealed")
    client.delete_blob()
    if where == "here":
        client.start_copy_from_url(url, requires_sync=True)
        assert client.get_blob_properties().blob_type == "AppendBlob"
    else:
        kind = (409, "InvalidSourceBlobType")
        assert refusal_of(lambda: client.start_copy_from_url(url, requires_sync=True)) == kind
    block = box.upload_blob("block", b"x", overwrite=True)
    assert refusal_of(lambda: block.start_copy_from_url(url)) == (409, "InvalidBlobType")
