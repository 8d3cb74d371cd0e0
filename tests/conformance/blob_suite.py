"""What the service and its agents need of any storage account, as behaviour.

A class that inherits ``BlobSuite`` and has a fixture ``account`` runs it over that endpoint.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lote.blobs.accounts import StorageAccount
from lote.blobs.client import BlobClient
from lote.blobs.external import BlobAccount, SdkAccount
from lote.blobs.failure import BlobError
from lote.blobs.urls import blob_url
from lote.world import World

HOUR_US = 3600 * 1_000_000
MIB = 1024 * 1024
NAMES = ["plain", "a/b/c.txt", "with space", "ünï-✓", "a+b&c=d", "50%", "x'(y)!~"]
numbers = itertools.count()


def soon_us() -> int:
    return World().now_us() + HOUR_US


class BlobSuite:
    """Both clients over one account: the SDK as the service has it, the small one of agents."""

    @pytest.fixture
    def blobs(self, account: StorageAccount) -> Iterator[BlobAccount]:
        client = SdkAccount(account)
        yield client
        client.close()

    @pytest.fixture
    def agent(self) -> Iterator[BlobClient]:
        client = BlobClient(back_off_s=0.01, single_put_max_bytes=1 * MIB)
        yield client
        client.close()

    @pytest.fixture
    def box(self, blobs: BlobAccount) -> str:
        name = f"suite-{next(numbers)}"
        assert blobs.ensure_container(name)
        return name

    @pytest.fixture
    def box_url(self, account: StorageAccount, box: str) -> str:
        return account.sas_url(box, "racwdl", soon_us())

    def test_containers_come_and_go(self, blobs: BlobAccount, box: str) -> None:
        assert not blobs.ensure_container(box)
        blobs.put(box, "x", b"1")
        blobs.delete_container(box)
        with pytest.raises(BlobError) as failed:
            blobs.put(box, "x", b"1")
        assert failed.value.kind == "not_found"
        blobs.delete_container(box)

    def test_bytes_come_back(self, blobs: BlobAccount, box: str) -> None:
        for size in (0, 1, 100_000, 3 * MIB):
            content = os.urandom(size)
            etag = blobs.put(box, "some", content)
            assert blobs.get(box, "some") == content
            assert b"".join(blobs.read(box, "some")) == content
            (item,) = blobs.list(box)
            assert item == ("some", size, etag)

    def test_missing_blobs(self, blobs: BlobAccount, box: str) -> None:
        with pytest.raises(BlobError) as failed:
            blobs.get(box, "nothing")
        assert (failed.value.kind, failed.value.code) == ("not_found", "BlobNotFound")
        assert blobs.delete(box, "nothing") is False
        blobs.put(box, "there", b"")
        assert blobs.delete(box, "there") is True
        assert list(blobs.list(box)) == []

    def test_a_wrong_key(self, account: StorageAccount, box: str) -> None:
        stranger = SdkAccount(account._replace(key="d3Jvbmc="))
        with pytest.raises(BlobError) as failed:
            list(stranger.list(box))
        assert failed.value.kind == "access_denied"
        stranger.close()

    def test_lists_have_every_name_once(self, blobs: BlobAccount, box: str) -> None:
        for name in NAMES:
            blobs.put(box, name, name.encode())
        assert [item.name for item in blobs.list(box)] == sorted(NAMES)
        assert [item.name for item in blobs.list(box, "a")] == ["a+b&c=d", "a/b/c.txt"]

    def test_agents_read_what_the_service_wrote(
        self, blobs: BlobAccount, agent: BlobClient, box: str, box_url: str, tmp_path: Path
    ) -> None:
        for name in NAMES:
            content = name.encode() * 10_000
            etag = blobs.put(box, name, content, content_type="text/x")
            done = agent.download(blob_url(box_url, name), tmp_path / "got")
            assert done == (etag, len(content), "text/x")
            assert (tmp_path / "got").read_bytes() == content

    def test_the_service_reads_what_agents_wrote(
        self, blobs: BlobAccount, agent: BlobClient, box: str, box_url: str, tmp_path: Path
    ) -> None:
        for size in (0, 1000, 1 * MIB, 19 * MIB + 1):  # the last goes up in blocks
            content = os.urandom(size)
            (tmp_path / "file").write_bytes(content)
            headers = {"x-ms-blob-content-type": "text/y", "x-ms-meta-maker": "agent"}
            etag = agent.upload(tmp_path / "file", blob_url(box_url, "out/ü"), headers)
            assert blobs.get(box, "out/ü") == content
            assert list(blobs.list(box)) == [("out/ü", size, etag)]
            done = agent.download(blob_url(box_url, "out/ü"), tmp_path / "back")
            assert (done.size, done.content_type) == (size, "text/y")
            assert (tmp_path / "back").read_bytes() == content

    def test_agents_list(
        self, blobs: BlobAccount, agent: BlobClient, box: str, box_url: str
    ) -> None:
        for name in NAMES:
            agent.upload_bytes(name.encode(), blob_url(box_url, name))
        assert sorted(agent.list_blobs(box_url)) == sorted(blobs.list(box))
        assert [item.name for item in agent.list_blobs(box_url, "a/")] == ["a/b/c.txt"]
        assert list(agent.list_blobs(box_url, "none")) == []

    def test_content_that_is_known_does_not_come_again(
        self, blobs: BlobAccount, agent: BlobClient, box: str, box_url: str, tmp_path: Path
    ) -> None:
        old = blobs.put(box, "x", b"1")
        url = blob_url(box_url, "x")
        assert agent.download_if_changed(url, tmp_path / "x", old) is None
        new = blobs.put(box, "x", b"2")
        done = agent.download_if_changed(url, tmp_path / "x", old)
        assert done is not None
        assert done.etag == new
        assert (tmp_path / "x").read_bytes() == b"2"

    def test_rights_end(
        self, account: StorageAccount, agent: BlobClient, box: str, tmp_path: Path
    ) -> None:
        past = account.sas_url(box, "rwl", World().now_us() - HOUR_US)
        reader = account.sas_url(box, "r", soon_us())
        agent.upload_bytes(b"1", account.blob_sas_url(box, "x", "cw", soon_us()))
        for attempt in (
            lambda: agent.download(blob_url(past, "x"), tmp_path / "x"),
            lambda: agent.upload_bytes(b"2", blob_url(reader, "x")),
            lambda: list(agent.list_blobs(reader)),
            lambda: agent.download(account.blob_url(box, "x"), tmp_path / "x"),
        ):
            with pytest.raises(BlobError) as failed:
                attempt()
            # Without credentials some endpoints do not admit that there is anything.
            assert failed.value.kind in ("access_denied", "not_found", "misc")
            assert failed.value.status in (401, 403, 404, 409)
            assert "sig=REDACTED" in str(failed.value) or "sig=" not in str(failed.value)
        assert not (tmp_path / "x").exists()

    def test_a_missing_input_has_its_kind(
        self, agent: BlobClient, box_url: str, tmp_path: Path
    ) -> None:
        with pytest.raises(BlobError) as failed:
            agent.download(blob_url(box_url, "nothing"), tmp_path / "x")
        assert (failed.value.kind, failed.value.code) == ("not_found", "BlobNotFound")

    def test_many_threads_share_the_small_client(
        self, blobs: BlobAccount, agent: BlobClient, box: str, box_url: str, tmp_path: Path
    ) -> None:
        contents = {f"t{number}": os.urandom(100_000 + number) for number in range(8)}

        def carry(name: str) -> None:
            agent.upload_bytes(contents[name], blob_url(box_url, name))
            agent.download(blob_url(box_url, name), tmp_path / name)

        threads = [threading.Thread(target=carry, args=(name,)) for name in contents]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == contents
        assert {item.name: item.size for item in blobs.list(box)} == {
            name: len(content) for name, content in contents.items()
        }
