"""The command `lote` as a process, against a real service and its nodes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest

from lote.cli.client import BatchClient
from lote.cli.ready import Ready, account_of, exports
from lote.cli.service import temporary_service
from lote.world import World

LOTE = [sys.executable, "-m", "lote.main"]


def lote(shell: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*LOTE, *words], env=shell, capture_output=True, check=False, timeout=60)


def jobs(service: Ready) -> list[str]:
    with closing(BatchClient(account_of(service), World())) as client:
        return [job["id"] for job in client.each("list_jobs") if job["state"] != "deleting"]


def test_version_and_help_are_quick_to_read(shell):
    assert lote(shell, "version").stdout.decode().strip().count(".") == 2
    text = lote(shell, "serve", "--help").stdout.decode()
    assert "--ready-file" in text
    assert "--node-grace-s" in text


def test_serve_does_not_import_the_storage_sdk(shell):
    code = "import sys, lote.main; sys.exit(any(n.startswith('azure') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], env=shell, check=False).returncode == 0


def test_output_and_exit_code(shell):
    done = lote(shell, "run", "--", "sh", "-c", "echo out; echo err >&2; exit 7")
    assert (done.stdout, done.returncode) == (b"out\n", 7)
    assert done.stderr.endswith(b"err\n")


def test_bytes_come_through_as_they_are(shell):
    done = lote(shell, "run", "--", "sh", "-c", r"printf '\000\377\303\244'")
    assert done.stdout == b"\x00\xff\xc3\xa4"


def test_long_output_is_whole(shell):
    done = lote(shell, "run", "--", "seq", "400000")
    assert done.stdout == "".join(f"{n}\n" for n in range(1, 400001)).encode()


def test_killed_by_a_signal(shell):
    assert lote(shell, "run", "--", "sh", "-c", "kill -9 $$").returncode == 137


def test_program_that_does_not_exist(shell):
    done = lote(shell, "run", "--", "no-such-program")
    assert done.returncode == 125
    assert b"CommandProgramNotFound" in done.stderr


def test_files_and_environment_are_given(shell, tmp_path):
    file = tmp_path / "words and spaces.txt"
    file.write_bytes(b"from here")
    words = ["--resource", str(file), "--env", "NAME=Ada", "--"]
    done = lote(shell, "run", *words, "sh", "-c", 'cat "words and spaces.txt"; echo " $NAME"')
    assert (done.stdout, done.returncode) == (b"from here Ada\n", 0)


def test_missing_file_is_said(shell, tmp_path):
    done = lote(shell, "run", "--resource", str(tmp_path / "none"), "--", "true")
    assert done.returncode == 125
    assert b"none" in done.stderr


def test_job_is_removed_unless_kept(shell, service):
    before = set(jobs(service))
    lote(shell, "run", "--", "true")
    assert set(jobs(service)) == before
    lote(shell, "run", "--job", "kept", "--keep", "--", "true")
    assert set(jobs(service)) == before | {"kept"}


def test_output_comes_while_the_command_runs_and_interrupt_ends_it(shell, service):
    words = ["sh", "-c", "echo started; exec sleep 600"]
    process = subprocess.Popen(
        [*LOTE, "run", "--job", "interrupted", "--", *words],
        env=shell,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert b"terminated" in said
    assert "interrupted" not in jobs(service)


def test_reader_that_goes_away_ends_the_task(shell):
    command = f"{' '.join(LOTE)} run -- yes | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=shell, capture_output=True, check=False, timeout=60
    )
    assert (done.stdout, done.returncode) == (b"y\n", 141)
    assert b"Traceback" not in done.stderr


def test_signed_urls_over_https_only(shell, service, tmp_path):
    (tmp_path / "f").write_bytes(b"from here")
    lote(shell, "storage", "cp", "--create", str(tmp_path / "f"), "az://signed/")
    exported = {**shell, **exports(service)}
    untrusting = {**exported, "REQUESTS_CA_BUNDLE": "", "LOTE_DATA": str(tmp_path)}
    for one in (shell, exported):
        signed = (
            lote(one, "storage", "sas", "az://signed/f", "--https-only").stdout.decode().strip()
        )
        assert signed.startswith(f"{service.storage.tls_blob_endpoint}/signed/f?")
        assert lote(one, "storage", "cp", signed, "-").stdout == b"from here"
    refused = lote(untrusting, "storage", "cp", signed, "-")
    assert refused.returncode == 1
    assert b"certificate" in refused.stderr
    lote(shell, "storage", "rm", "-r", "-y", "az://signed")


def test_env_as_json(shell, service):
    values = json.loads(lote(shell, "env", "-o", "json").stdout)
    assert values["AZURE_BATCH_ENDPOINT"] == service.batch.endpoint


def test_no_service_is_said_in_words(shell, tmp_path):
    for words in (["env", "--data", str(tmp_path)], ["run", "--data", str(tmp_path), "--", "true"]):
        done = lote(shell, *words)
        assert done.returncode in (1, 125)
        assert b"lote serve --data" in done.stderr
        assert b"Traceback" not in done.stderr


def test_folder_has_one_service(shell, service, service_folder):
    done = lote(shell, "serve", "--data", str(service_folder), "--port", "0")
    assert done.returncode == 1
    assert str(service_folder).encode() in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--account-key", "no key!"),
        ("--storage-key", "no key!"),
        ("--storage-connection-string", "AccountName=no key!"),
    ],
)
def test_wrong_keys_are_said_and_not_repeated(shell, tmp_path, flag, value):
    done = lote(shell, "serve", "--data", str(tmp_path / "new"), "--port", "0", flag, value)
    assert done.returncode == 1
    assert flag.encode() in done.stderr
    assert b"no key!" not in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "new").exists()


def test_variable_of_the_wrong_kind_is_said(shell, tmp_path):
    done = lote({**shell, "LOTE_NODE_GRACE_S": "soon"}, "serve", "--data", str(tmp_path))
    assert done.returncode == 2
    assert b"node_grace_s" in done.stderr
    assert b"Traceback" not in done.stderr


def first_words(log: Path) -> str:
    """What the service says once it is ready; it says it just after the ready file appears."""
    deadline, pause = World().monotonic() + 10, Event()
    while "Ctrl-C" not in log.read_text() and World().monotonic() < deadline:
        pause.wait(0.02)
    return log.read_text()


@pytest.fixture
def twice(tmp_path: Path) -> tuple[str, str]:
    """What two starts on one folder print."""
    texts = []
    for _ in range(2):
        (tmp_path / "service.log").unlink(missing_ok=True)
        with temporary_service(tmp_path):
            texts.append(first_words(tmp_path / "service.log"))
    return texts[0], texts[1]


def test_keys_are_printed_at_the_first_start_only(twice, tmp_path):
    ready = json.loads((tmp_path / "started.json").read_text())
    key = ready["batch"]["key"]
    assert key in twice[0]
    assert key not in twice[1]
    assert ready["batch"]["endpoint"] in twice[1]
