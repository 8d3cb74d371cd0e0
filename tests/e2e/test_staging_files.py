"""A task's files on their way in and out, with the built-in account linked and with Azurite."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient, ContentSettings
from harness import HOUR_US, Json, Lote, lote_service, sh

from conformance.blob_rigs import azurite
from lote.blobs.accounts import StorageAccount
from lote.world import World

MANY = 300


class Rig:
    """A service with one node, and its linked account by the official SDK."""

    def __init__(self, lote: Lote, account: StorageAccount, sdk: BlobServiceClient) -> None:
        self.lote = lote
        self.account = account
        self.sdk = sdk
        self._tasks = 0

    def container(self, name: str, blobs: Mapping[str, bytes] | None = None) -> ContainerClient:
        made = self.sdk.create_container(name)
        for blob, content in (blobs or {}).items():
            made.upload_blob(blob, content)
        return made

    def url(self, container: str, letters: str = "rwl") -> str:
        return self.account.sas_url(container, letters, World().now_us() + HOUR_US)

    def blob_url(self, container: str, blob: str) -> str:
        return self.account.blob_sas_url(container, blob, "r", World().now_us() + HOUR_US)

    def run(self, script: str = "true", **more: Any) -> tuple[str, Json]:
        """A task's id and its executionInfo after its end."""
        self._tasks += 1
        task_id = f"t{self._tasks}"
        self.lote.add_tasks({task_id: {"commandLine": sh(script)} | more})
        return task_id, self.lote.wait_for_end(task_id)

    def output(self, script: str, **more: Any) -> list[str]:
        """The lines that a task which does well prints."""
        task_id, info = self.run(script, **more)
        assert (info.get("exitCode"), info["result"]) == (0, "success"), info
        return self.lote.file("stdout.txt", task_id).body.decode().splitlines()


@pytest.fixture(scope="module", params=["built-in", "azurite"])
def rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with ExitStack() as stack:
        flags: list[str] = []
        if request.param == "azurite":
            account = stack.enter_context(azurite(tmp_path_factory.mktemp("azurite")))
            flags = ["--storage-connection-string", account.connection_string]
        lote = stack.enter_context(lote_service(*flags))
        assert lote.ready is not None
        assert lote.ready.storage is not None
        connection = lote.ready.storage.connection_string
        sdk = stack.enter_context(BlobServiceClient.from_connection_string(connection))
        lote.add_pool(nodes=1, slots=4)
        lote.add_job(usesTaskDependencies=True)
        yield Rig(lote, StorageAccount.from_connection_string(connection), sdk)


def destination(
    pattern: str, url: str, path: str | None = None, condition: str = "taskcompletion", **more: Any
) -> Json:
    container = {"containerUrl": url} | ({"path": path} if path is not None else {}) | more
    return {
        "filePattern": pattern,
        "destination": {"container": container},
        "uploadOptions": {"uploadCondition": condition},
    }


def contents(container: ContainerClient) -> dict[str, bytes]:
    return {
        blob.name: container.download_blob(blob.name).readall() for blob in container.list_blobs()
    }


# -- in -----------------------------------------------------------------------------------------


def test_a_container_of_many_small_files(rig: Rig) -> None:
    """With all their names, contents and folders; and again for the next task."""
    blobs = {f"d{n % 7}/e/f {n}.ü": os.urandom(n) for n in range(MANY)}
    rig.container("many", blobs)
    sums = {f"in/{name}": hashlib.md5(content).hexdigest() for name, content in blobs.items()}
    for _ in range(2):
        lines = rig.output(
            "find in -type f -exec md5sum {} +",
            resourceFiles=[{"autoStorageContainerName": "many", "filePath": "in"}],
        )
        assert {line[34:]: line[:32] for line in lines} == sums


def test_a_large_file_comes_whole(rig: Rig) -> None:
    """Over several connections: it is longer than what one brings alone."""
    content = os.urandom(1 << 20) * 70 + b"end"
    rig.container("large").upload_blob("big", content, max_concurrency=2)
    digest = hashlib.md5(content).hexdigest()
    file = {"httpUrl": rig.blob_url("large", "big"), "filePath": "big"}
    assert rig.output("md5sum big", resourceFiles=[file]) == [f"{digest}  big"]
    rig.sdk.delete_container("large")


def test_each_form_of_a_resource_file(rig: Rig) -> None:
    rig.container("forms", {"a": b"a", "p/b": b"b", "p/c/d": b"d", "q": b"q"})
    files = [
        {"httpUrl": rig.blob_url("forms", "a"), "filePath": "x/y/one", "fileMode": "0640"},
        {"storageContainerUrl": rig.url("forms", "rl"), "blobPrefix": "p/", "filePath": "u/"},
        {"autoStorageContainerName": "forms", "blobPrefix": "q", "fileMode": "0555"},
        {"autoStorageContainerName": "forms", "blobPrefix": "p/c", "filePath": "v"},
    ]
    lines = rig.output("find . -type f -printf '%P %m %s\n' | sort", resourceFiles=files)
    assert lines == ["q 555 1", "u/p/b 770 1", "u/p/c/d 770 1", "v/p/c/d 770 1", "x/y/one 640 1"]


def test_no_task_changes_anothers_input(rig: Rig) -> None:
    """Whatever a task may do to its file, the next one has what is in the account."""
    for name, size in (("small", 100), ("large", 200_000)):
        rig.container(f"own-{name}", {"f": b"x" * size})
        for mode in ("0770", "0444", "0555"):
            file = {"httpUrl": rig.blob_url(f"own-{name}", "f"), "filePath": "f", "fileMode": mode}
            for _ in range(2):
                rig.output(
                    "grep -q '[^x]' f && exit 1; chmod u+w f; echo y >> f; truncate -s 3 f;"
                    f" rm -f f; echo z > f; test $(stat -c %s f) = 2; test {size} -gt 0",
                    resourceFiles=[file],
                )


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ({"httpUrl": "{blob}"}, "BlobNotFound"),
        ({"httpUrl": "{forged}"}, "BlobAccessDenied"),
        ({"httpUrl": "{nobody}"}, "BlobAccessDenied"),
        ({"storageContainerUrl": "{container}"}, "ResourceContainerNotFound"),
        ({"storageContainerUrl": "{plain}"}, "ResourceContainerAccessDenied"),
        ({"autoStorageContainerName": "not-there"}, "ResourceContainerNotFound"),
    ],
)
def test_what_cannot_be_had_is_named_without_its_signature(rig: Rig, file: Json, code: str) -> None:
    identity = {"identityReference": {"resourceId": "/subscriptions/s/identities/i"}}
    known = {
        "blob": rig.blob_url("forms", "missing"),
        "forged": rig.blob_url("forms", "a").replace("sig=", "sig=AAAA"),
        "nobody": rig.account.blob_url("forms", "a"),
        "container": rig.url("not-there"),
        "plain": rig.account.container_url("forms"),
    }
    asked = {name: value.format(**known) for name, value in file.items()}
    if "{nobody}" in file.values() or "{plain}" in file.values():
        asked |= identity
    _, info = rig.run(resourceFiles=[asked | {"filePath": "wanted"}])
    failure = info["failureInfo"]
    assert (failure["code"], failure["category"]) == (code, "usererror")
    assert "exitCode" not in info
    details = {one["name"]: one["value"] for one in failure["details"]}
    assert details["FilePath"] == "wanted"
    assert details["Message"]
    told = str(info)
    assert "sig=" not in told.replace("sig=REDACTED", "")


# -- out ----------------------------------------------------------------------------------------


def test_many_outputs(rig: Rig) -> None:
    box = rig.container("out-many")
    script = f"for i in $(seq {MANY}); do mkdir -p d$((i % 7))/e; echo $i > d$((i % 7))/e/o$i; done"
    rig.output(script, outputFiles=[destination("**/o*", rig.url("out-many", "w"), "run")])
    assert contents(box) == {f"run/d{n % 7}/e/o{n}": b"%d\n" % n for n in range(1, MANY + 1)}


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("*.txt", None, {"a.txt", "b.txt"}),
        ("*.txt", "p/", {"p/a.txt", "p/b.txt"}),
        ("**/*.txt", "p", {"p/a.txt", "p/b.txt", "p/d/c.txt", "p/d/e/f.txt"}),
        ("**/?.txt", None, {"a.txt", "b.txt", "d/c.txt", "d/e/f.txt"}),
        ("[!a].txt", None, {"b.txt"}),
        ("[a-b].txt", None, {"a.txt", "b.txt"}),
        ("d/**/*", "p", {"p/c.txt", "p/e/f.txt"}),
        ("d/c.txt", None, {"c.txt"}),
        ("d/c.txt", "p/q", {"p/q"}),
        ("../std*.txt", "logs", {"logs/stdout.txt", "logs/stderr.txt"}),
        ("$AZ_BATCH_TASK_DIR/std[o]ut.txt", None, {"stdout.txt"}),
        (".h*", None, {".hidden"}),
        ("nothing*", None, set()),
    ],
)
def test_patterns(rig: Rig, pattern: str, path: str | None, expected: set[str]) -> None:
    name = f"pat-{hashlib.md5(f'{pattern}{path}'.encode()).hexdigest()[:12]}"
    box = rig.container(name)
    rig.output(
        "mkdir -p d/e; for f in a.txt b.txt d/c.txt d/e/f.txt .hidden x.dat; do echo $f > $f; done",
        outputFiles=[destination(pattern, rig.url(name, "w"), path)],
    )
    assert {blob.name for blob in box.list_blobs()} == expected


@pytest.mark.parametrize(
    ("exit_code", "expected"), [(0, {"completion", "success"}), (3, {"completion", "failure"})]
)
def test_conditions(rig: Rig, exit_code: int, expected: set[str]) -> None:
    box = rig.container(f"cond-{exit_code}")
    url = rig.url(f"cond-{exit_code}", "w")
    _, info = rig.run(
        f"echo x > f; exit {exit_code}",
        outputFiles=[
            destination("f", url, one, f"task{one}") for one in ("completion", "success", "failure")
        ],
    )
    assert info["exitCode"] == exit_code
    assert {blob.name for blob in box.list_blobs()} == expected


@pytest.mark.parametrize("size", [10, 20 << 20])  # at once, and in blocks
def test_upload_headers(rig: Rig, size: int) -> None:
    box = rig.container(f"headers-{size}")
    headers = {
        "x-ms-blob-content-type": "text/x-mine",
        "Content-Language": "eo",
        "x-ms-blob-cache-control": "no-store",
        "x-ms-meta-maker": "a task",
        "Authorization": "SharedKey is not for tasks",
        "x-ms-blob-type": "PageBlob",
        "Content-Length": "1",
    }
    listed = [{"name": name, "value": value} for name, value in headers.items()]
    rig.output(
        f"head -c {size} /dev/zero > f",
        outputFiles=[destination("f", rig.url(f"headers-{size}", "w"), uploadHeaders=listed)],
    )
    found = box.get_blob_client("f").get_blob_properties()
    expected = ContentSettings(
        content_type="text/x-mine", content_language="eo", cache_control="no-store"
    )
    settings = found.content_settings
    for name in ("content_type", "content_language", "cache_control"):
        assert settings[name] == expected[name]
    assert found.metadata == {"maker": "a task"}
    assert found.size == size
    assert box.download_blob("f").readall() == bytes(size)


def test_an_upload_that_fails_and_what_depends_on_it(rig: Rig) -> None:
    """The process did well, the task did not; its exit conditions say what that means."""
    url = rig.url("nowhere", "w")
    outputs = [destination("f", url)]
    for task_id, action in (("blocks", "block"), ("satisfies", "satisfy")):
        conditions = {"fileUploadError": {"dependencyAction": action}}
        rig.lote.add_tasks(
            {
                task_id: {
                    "commandLine": sh("echo x > f"),
                    "outputFiles": outputs,
                    "exitConditions": conditions,
                },
                f"after-{task_id}": {
                    "commandLine": sh("true"),
                    "dependsOn": {"taskIds": [task_id]},
                },
            }
        )
        info = rig.lote.wait_for_end(task_id)
        assert (info["exitCode"], info["result"]) == (0, "failure")
        failure = info["failureInfo"]
        assert (failure["category"], failure["code"]) == (
            "usererror",
            "FileUploadContainerNotFound",
        )
        details = {one["name"]: one["value"] for one in failure["details"]}
        assert details["FilePath"] == "wd/f"
        assert "sig=" not in str(info).replace("sig=REDACTED", "")
        log = rig.lote.file("fileuploaderr.txt", task_id).body.decode()
        assert "wd/f" in log
        assert "sig=" not in log.replace("sig=REDACTED", "")
    rig.lote.wait_for_end("after-satisfies")
    assert rig.lote.task("after-blocks")["state"] == "active"


def test_an_upload_that_fails_after_the_process_did(rig: Rig) -> None:
    """Its own condition comes before the default, and behind a listed exit code."""
    outputs = [destination("f", rig.url("nowhere", "w"))]
    satisfies, blocks = {"dependencyAction": "satisfy"}, {"dependencyAction": "block"}
    cases = {
        "upload": {"fileUploadError": satisfies, "default": blocks},
        "listed": {
            "exitCodes": [{"code": 7, "exitOptions": blocks}],
            "fileUploadError": satisfies,
        },
        "default": {"default": satisfies},
    }
    for name, conditions in cases.items():
        parent, child = f"both-{name}", f"after-both-{name}"
        members = {"outputFiles": outputs, "exitConditions": conditions}
        rig.lote.add_tasks(
            {
                parent: {"commandLine": sh("echo x > f; exit 7")} | members,
                child: {"commandLine": sh("true"), "dependsOn": {"taskIds": [parent]}},
            }
        )
        info = rig.lote.wait_for_end(parent)
        assert (info["exitCode"], info["failureInfo"]["code"]) == (7, "FailureExitCode")
        details = {one["name"]: one["value"] for one in info["failureInfo"]["details"]}
        assert details["FileUploadError"] == "FileUploadContainerNotFound"
        assert details["FilePath"] == "wd/f"
    rig.lote.wait_for_end("after-both-upload")
    rig.lote.wait_for_end("after-both-default")
    assert rig.lote.task("after-both-listed")["state"] == "active"


def test_the_rest_of_the_outputs_goes_all_the_same(rig: Rig) -> None:
    box = rig.container("rest")
    _, info = rig.run(
        "echo x > f; exit 2",
        outputFiles=[
            destination("f", rig.url("nowhere", "w")),
            destination("f", rig.url("rest", "w"), "kept"),
        ],
    )
    assert info["exitCode"] == 2
    assert info["failureInfo"]["code"] == "FailureExitCode"
    assert contents(box) == {"kept": b"x\n"}


def test_a_damaged_blob_is_not_given_to_a_task(rig: Rig) -> None:
    """Its recorded digest says that these are not the bytes somebody meant to store."""
    box = rig.container("damaged")
    wrong = ContentSettings(content_md5=bytearray(hashlib.md5(b"other").digest()))
    for name, size in (("small", 10), ("large", 300_000)):
        box.upload_blob(name, b"x" * size)
        box.get_blob_client(name).set_http_headers(wrong)
    file = {"httpUrl": rig.blob_url("damaged", "small"), "filePath": "f"}
    _, info = rig.run(resourceFiles=[file])
    failure = info["failureInfo"]
    assert failure["code"] == "BlobDownloadMiscError"
    assert "Content-MD5" in str(failure["details"])
    good = ContentSettings(content_md5=bytearray(hashlib.md5(b"x" * 300_000).digest()))
    box.get_blob_client("large").set_http_headers(good)
    file = {"httpUrl": rig.blob_url("damaged", "large"), "filePath": "f"}
    assert rig.output("md5sum < f", resourceFiles=[file]) == [
        hashlib.md5(b"x" * 300_000).hexdigest() + "  -"
    ]
