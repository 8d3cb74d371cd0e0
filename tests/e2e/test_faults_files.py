"""Inputs and outputs that are not there, not allowed or out of bounds, and storage that dies."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from harness import Container, Json, Lote, Reply, lote_service, sh, until

from lote.engines.process import read_stat

OUTSIDE = "not for anybody's eyes"
MAY_FAIL_WITH = {"BlobDownloadMiscError", "BlobDownloadTimedOut", "FileUploadMiscError"}


@pytest.fixture(scope="module")
def lote() -> Iterator[Lote]:
    with lote_service() as lote:
        lote.add_pool(nodes=1, slots=4)
        lote.add_job()
        yield lote


@pytest.fixture(scope="module")
def box(lote: Lote) -> Container:
    """A container with one blob, `there`."""
    container = lote.add_container("box")
    assert lote.fetch("PUT", container.blob("there"), b"here\n").status == 201
    return container


@pytest.fixture(scope="module")
def secret(lote: Lote) -> Path:
    """A file that everybody on the machine may read, but that is no task's."""
    path = lote.folder / "outside" / "secret"
    path.parent.mkdir()
    path.write_text(OUTSIDE)
    return path


def run(lote: Lote, task_id: str, command: str, **more: Any) -> Json:
    """A task's executionInfo after its end."""
    lote.add_tasks({task_id: {"commandLine": command} | more})
    return lote.wait_for_end(task_id)


def output(container: str, pattern: str, path: str | None = None) -> Json:
    where = {"containerUrl": container} | ({"path": path} if path else {})
    return {
        "filePattern": pattern,
        "destination": {"container": where},
        "uploadOptions": {"uploadCondition": "taskcompletion"},
    }


def blobs(lote: Lote, container: Container) -> str:
    """The XML list of a container's blobs."""
    reply = lote.fetch("GET", f"{container.url}?restype=container&comp=list&{container.signature}")
    assert reply.status == 200
    return reply.body.decode()


def wrong(signature: str) -> str:
    """The same signature, off by a bit."""
    name, _, value = signature.rpartition("sig=")
    return f"{name}sig={'B' if value[0] == 'A' else 'A'}{value[1:]}"


def bad_inputs(lote: Lote, box: Container) -> dict[str, tuple[Json, str]]:
    """Resource files that can't be had, and the codes that say so."""
    none = lote.container("none")
    forged = wrong(box.signature)
    return {
        "no-blob": ({"httpUrl": box.blob("none"), "filePath": "a"}, "BlobNotFound"),
        "no-container": ({"httpUrl": none.blob("none"), "filePath": "a"}, "BlobNotFound"),
        "forged": ({"httpUrl": f"{box.url}/there?{forged}", "filePath": "a"}, "BlobAccessDenied"),
        "unsigned": ({"httpUrl": f"{box.url}/there", "filePath": "a"}, "BlobAccessDenied"),
        "no-list": ({"storageContainerUrl": none.signed}, "ResourceContainerNotFound"),
        "forged-list": (
            {"storageContainerUrl": f"{box.url}?{forged}"},
            "ResourceContainerAccessDenied",
        ),
        "no-auto": ({"autoStorageContainerName": "none"}, "ResourceContainerNotFound"),
        "nobody": (
            {"httpUrl": "http://127.0.0.1:1/a?sig=c2VjcmV0", "filePath": "a"},
            "BlobDownloadMiscError",
        ),
    }


CASES = [
    "no-blob",
    "no-container",
    "forged",
    "unsigned",
    "no-list",
    "forged-list",
    "no-auto",
    "nobody",
]


@pytest.mark.parametrize("case", CASES)
def test_an_input_that_cannot_be_had_fails_the_task(lote: Lote, box: Container, case: str) -> None:
    resource, code = bad_inputs(lote, box)[case]
    ended = run(lote, case, "/bin/true", resourceFiles=[resource])
    assert ended["result"] == "failure"
    assert ended["failureInfo"]["code"] == code
    assert "exitCode" not in ended
    text = msgspec.json.encode(lote.task(case)).decode()
    shown = set(re.findall(r"sig=([^&\"]*)", text))
    assert shown <= {"REDACTED"}


def test_a_program_that_is_not_there_or_no_program(lote: Lote) -> None:
    ended = run(lote, "nothing", "no-such-program --at-all")
    assert ended["failureInfo"]["code"] == "CommandProgramNotFound"
    assert "exitCode" not in ended
    text = lote.folder / "text"
    text.write_text("words\n")
    text.chmod(0o644)
    ended = run(lote, "text", str(text))
    assert ended["failureInfo"]["code"] == "CommandLaunchFailed"
    assert "exitCode" not in ended


def test_an_output_that_cannot_be_put_fails_the_task(lote: Lote, box: Container) -> None:
    none = lote.container("none").signed
    ended = run(lote, "o1", sh("echo 1 > a"), outputFiles=[output(none, "a")])
    assert (ended["result"], ended["exitCode"]) == ("failure", 0)
    assert ended["failureInfo"]["code"] == "FileUploadContainerNotFound"
    read_only = lote.container("box", "rl").signed
    ended = run(lote, "o2", sh("echo 1 > a; exit 0"), outputFiles=[output(read_only, "a")])
    assert (ended["result"], ended["exitCode"]) == ("failure", 0)
    assert ended["failureInfo"]["code"] == "FileUploadAccessDenied"
    # A failure of the program itself is what people want to hear of first.
    ended = run(lote, "o3", sh("echo 1 > a; exit 4"), outputFiles=[output(read_only, "a")])
    assert (ended["failureInfo"]["code"], ended["exitCode"]) == ("FailureExitCode", 4)


def test_outputs_never_come_from_outside_the_task(lote: Lote, secret: Path) -> None:
    out = lote.add_container("escapes")
    script = (
        f"ln -s {secret} link; ln -s {secret.parent} folder; mkdir sub;"
        f" ln -s ../../../../../../../../../..{secret} sub/far; ln {secret} hard; echo mine > mine"
    )
    patterns = (
        "**/*",
        "link",
        "folder/*",
        "folder/secret",
        "sub/far",
        f"../../../../../../../../..{secret}",
        "../../../../**/*",
        str(secret),
        f"{secret.parent}/*",
    )
    entries = [output(out.signed, pattern, f"p{n}") for n, pattern in enumerate(patterns)]
    refused = 0
    for number, entry in enumerate(entries):
        reply = lote.ask(
            "POST",
            "/jobs/j/tasks",
            {"id": f"e{number}", "commandLine": sh(script), "outputFiles": [entry]},
        )
        assert reply.status in (201, 400), reply
        refused += reply.status == 400
        if reply.status == 201:
            lote.wait_for_end(f"e{number}")
    assert refused < len(patterns)
    listed = blobs(lote, out)
    assert "p0/mine" in listed
    for name in [part.split("</Name>")[0] for part in listed.split("<Name>")[1:]]:
        reply = lote.fetch("GET", out.blob(name))
        assert reply.status == 200
        assert OUTSIDE.encode() not in reply.body, name


def test_files_never_come_from_outside_the_task(lote: Lote, secret: Path) -> None:
    script = f"ln -s {secret} link; ln -s {secret.parent} folder; echo mine > mine"
    assert run(lote, "files", sh(script))["exitCode"] == 0
    assert lote.file("wd/mine", "files").body == b"mine\n"
    up = "/".join([".."] * 12)
    names = (
        "wd/link",
        "wd/folder/secret",
        f"wd/{up}{secret}",
        f"{up}{secret}",
        f"wd/..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..{secret}",
        str(secret),
        "wd/../../files/../../../../agent.json",
    )
    for name in names:
        for path in (f"/jobs/j/tasks/files/files/{name}", _node_path(lote, name)):
            reply = lote.ask("GET", path)
            assert reply.status in (400, 403, 404), (path, reply)
            assert OUTSIDE.encode() not in reply.body
    reply = lote.ask("GET", "/jobs/j/tasks/files/files?recursive=true")
    listed = [one["name"] for one in msgspec.json.decode(reply.body)["value"]]
    assert "wd/mine" in listed
    assert "wd/folder/secret" not in listed


def _node_path(lote: Lote, name: str) -> str:
    info = lote.task("files")["nodeInfo"]
    root = info["taskRootDirectory"]
    return f"/pools/p/nodes/{info['nodeId']}/files/{root}/{name}"


@pytest.mark.parametrize("path", ["../a", "a/../../b", "/etc/a"])
def test_inputs_stay_in_the_task(lote: Lote, box: Container, path: str) -> None:
    resource = {"httpUrl": box.blob("there"), "filePath": path}
    task = {"id": "in", "commandLine": "/bin/true", "resourceFiles": [resource]}
    reply = lote.ask("POST", "/jobs/j/tasks", task)
    assert (reply.status, reply.code) == (400, "InvalidPropertyValue")


def test_storage_that_is_killed_comes_back_where_it_was(lote: Lote, box: Container) -> None:
    before = lote.storage_process()
    assert before is not None
    lote.add_job("storing")
    resource = {"httpUrl": box.blob("there"), "filePath": "in"}
    tasks: dict[str, str | Json] = {
        f"s{n}": {
            "commandLine": sh("cat in > out; sleep 0.1"),
            "resourceFiles": [resource | {"httpUrl": box.blob(f"there-{n}")}],
            "outputFiles": [output(box.signed, "out", f"out-{n}")],
        }
        for n in range(40)
    }
    for n in range(40):
        assert lote.fetch("PUT", box.blob(f"there-{n}"), b"in %d" % n).status == 201
    lote.add_tasks(tasks, "storing")
    until(lambda: lote.counts("storing")["completed"] >= 6, "storage in use")
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: lote.counts("storing")["completed"] == 40, "all ended")
    after = until(lambda: lote.storage_process(), "storage again")
    assert after.pid != before.pid
    for task in lote.client.each("list_tasks", {"job_id": "storing"}):
        ended = task["executionInfo"]
        if ended["result"] == "success":
            number = task["id"][1:]
            assert _get(lote, box, f"out-{number}").body == b"in %s" % number.encode()
        else:
            assert ended["failureInfo"]["code"] in MAY_FAIL_WITH, ended
    counts = lote.counts("storing")
    assert counts["succeeded"] > 6
    ended = run(
        lote,
        "afterwards",
        "cat in",
        resourceFiles=[resource],
        outputFiles=[output(box.signed, "in")],
    )
    assert ended["result"] == "success"
    assert read_stat(lote.pid) is not None


def _get(lote: Lote, box: Container, name: str) -> Reply:
    return lote.fetch("GET", box.blob(name))
