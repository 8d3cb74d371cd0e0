"""AzCopy, unmodified: files up and down, between containers, kept alike, removed, changed.

Its ``make`` is not here: it takes only addresses whose host names the service.
"""

from __future__ import annotations

import filecmp
import json
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    ContainerSasPermissions,
    ResourceTypes,
    generate_account_sas,
    generate_container_sas,
)

from installed_clients import PROGRAMS, demand

MIB = 1 << 20
WITHIN_S = 100.0
LONG_AGO_S = 1_600_000_000
EVERY_RIGHT = "racwdxltfi"


class AzCopy:
    """The program with folders of its own."""

    def __init__(self, folder: Path) -> None:
        self._program = demand(PROGRAMS / "azcopy")
        self._environment = {
            **os.environ,
            "HOME": str(folder),
            "AZCOPY_LOG_LOCATION": str(folder / "logs"),
            "AZCOPY_JOB_PLAN_LOCATION": str(folder / "plans"),
            "AZCOPY_DISABLE_SYSLOG": "true",
        }

    def run(self, *words: str | Path, given: bytes = b"") -> bytes:
        """What it writes; it must end well."""
        done = subprocess.run(
            [self._program, *words],
            env=self._environment,
            input=given,
            capture_output=True,
            check=False,
            timeout=WITHIN_S,
        )
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        return done.stdout

    def job(self, *words: str | Path) -> dict[str, str]:
        """The summary of a job whose transfers all went well."""
        lines = self.run(*words, "--output-type=json").splitlines()
        ends = [one for one in map(json.loads, lines) if one["MessageType"] == "EndOfJob"]
        summary = json.loads(ends[0]["MessageContent"])
        assert (summary["JobStatus"], summary["TransfersFailed"]) == ("Completed", "0"), summary
        return summary


@pytest.fixture(scope="module")
def azcopy(tmp_path_factory):
    return AzCopy(tmp_path_factory.mktemp("azcopy"))


@pytest.fixture
def files(tmp_path):
    """A folder of some files: empty ones, small ones, one of several blocks."""
    root = tmp_path / "in"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").touch()
    (root / "deep" / "ü & x.bin").write_bytes(os.urandom(10_000))
    (root / "deep" / "er" / "one").write_bytes(b"1")
    (root / "large").write_bytes(os.urandom(20 * MIB + 3))
    return root


def account_sas(storage, service):
    return generate_account_sas(
        service.account_name,
        storage.key1,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions.from_string(EVERY_RIGHT),
        datetime.now(UTC) + timedelta(hours=1),
    )


@pytest.fixture
def signed(storage, service):
    """The URL of a container, or of what is in it, with a SAS of the account."""
    sas = account_sas(storage, service)
    return lambda box, name="": f"{box.url}{'/' if name else ''}{name}?{sas}"


def is_same(first: Path, second: Path) -> bool:
    """Whether two folders hold the same files."""
    found = filecmp.dircmp(first, second)
    if found.left_only or found.right_only or found.funny_files:
        return False
    equal, *_ = filecmp.cmpfiles(first, second, found.common_files, shallow=False)
    nested = all(is_same(first / name, second / name) for name in found.common_dirs)
    return nested and len(equal) == len(found.common_files)


def names(box):
    return sorted(box.list_blob_names())


def test_a_folder_up_and_down(azcopy, files, box, signed, tmp_path):
    up = ("copy", files, signed(box), "--from-to=LocalBlob", "--recursive", "--put-md5")
    summary = azcopy.job(*up, "--block-size-mb=8", "--metadata=team=red")
    assert summary["TotalBytesTransferred"] == str(
        sum(one.stat().st_size for one in files.rglob("*") if one.is_file())
    )
    assert names(box) == ["in/deep/er/one", "in/deep/ü & x.bin", "in/empty", "in/large"]
    assert box.get_blob_client("in/large").get_blob_properties().metadata == {"team": "red"}
    down = ("copy", signed(box, "in"), tmp_path / "out", "--from-to=BlobLocal", "--recursive")
    azcopy.job(*down, "--check-md5=FailIfDifferentOrMissing")
    assert is_same(files, tmp_path / "out" / "in")


def test_a_container_sas_is_enough(azcopy, storage, service, files, box, tmp_path):
    sas = generate_container_sas(
        service.account_name,
        box.container_name,
        account_key=storage.key1,
        permission=ContainerSasPermissions.from_string("racwdl"),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    azcopy.job("copy", files / "large", f"{box.url}/one?{sas}", "--from-to=LocalBlob")
    azcopy.job("copy", f"{box.url}/one?{sas}", tmp_path / "back", "--from-to=BlobLocal")
    assert filecmp.cmp(files / "large", tmp_path / "back", shallow=False)


def test_a_list(azcopy, box, signed):
    box.upload_blob("a/one", b"12345")
    box.upload_blob("two", b"")
    lines = azcopy.run("list", signed(box), "--location=Blob", "--machine-readable").decode()
    found = sorted(line for line in lines.splitlines() if "Content Length" in line)
    assert found == ["a/one; Content Length: 5", "two; Content Length: 0"]


def test_between_containers(azcopy, files, service, box, signed):
    with service.create_container(f"{box.container_name}-copy") as target:
        azcopy.job("copy", files, signed(box), "--from-to=LocalBlob", "--recursive")
        azcopy.job("copy", signed(box), signed(target), "--from-to=BlobBlob", "--recursive")
        assert names(target) == names(box)
        found = target.download_blob("in/large").readall()
    assert found == (files / "large").read_bytes()


def test_sync(azcopy, files, box, signed):
    for file in files.rglob("*"):
        os.utime(file, (LONG_AGO_S, LONG_AGO_S))  # times of blobs are whole seconds
    words = ("sync", files, signed(box), "--from-to=LocalBlob", "--delete-destination=true")
    azcopy.job(*words)
    assert names(box) == ["deep/er/one", "deep/ü & x.bin", "empty", "large"]
    (files / "empty").unlink()
    (files / "new").write_bytes(b"new")
    summary = azcopy.job(*words)
    assert summary["TransfersCompleted"] == "1"
    assert names(box) == ["deep/er/one", "deep/ü & x.bin", "large", "new"]


def test_remove(azcopy, box, signed):
    for name in ("keep", "old/1", "old/2"):
        box.upload_blob(name, name)
    azcopy.job("remove", signed(box, "old"), "--from-to=BlobTrash", "--recursive")
    assert names(box) == ["keep"]


def test_properties(azcopy, box, signed):
    box.upload_blob("one", b"1")
    words = ("set-properties", signed(box, "one"), "--from-to=BlobNone")
    azcopy.job(*words, "--block-blob-tier=cool", "--metadata=a=b", "--blob-tags=kind=x")
    client = box.get_blob_client("one")
    found = client.get_blob_properties()
    assert (found.blob_tier, found.metadata, client.get_blob_tags()) == (
        "Cool",
        {"a": "b"},
        {"kind": "x"},
    )


def test_pipes(azcopy, box, signed):
    content = os.urandom(3 * MIB)
    azcopy.run("copy", signed(box, "piped"), "--from-to=PipeBlob", given=content)
    assert azcopy.run("copy", signed(box, "piped"), "--from-to=BlobPipe") == content


def test_append_blobs(azcopy, files, box, signed):
    url = signed(box, "log")
    azcopy.job("copy", files / "large", url, "--from-to=LocalBlob", "--blob-type=AppendBlob")
    found = box.get_blob_client("log")
    assert found.get_blob_properties().blob_type == "AppendBlob"
    assert found.download_blob().readall() == (files / "large").read_bytes()
