"""`lote storage` on real storage: the built-in endpoint, and Azurite for what any must do."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest
from azure.storage.blob import BlobServiceClient, ContentSettings
from click.testing import Result
from harness import WITHIN_S, until
from typer.testing import CliRunner

from conformance.blob_rigs import azurite, built_in
from lote.blobs.accounts import StorageAccount
from lote.main import app

LOTE = [sys.executable, "-m", "lote.main", "storage"]
BIG = 20 << 20  # several blocks and several ranges


class Terminal:
    """Types commands into one account's shell."""

    def __init__(self, account: StorageAccount, folder: Path) -> None:
        self.account = account
        self.folder = folder
        self.environment = {
            "AZURE_STORAGE_CONNECTION_STRING": account.connection_string,
            "LOTE_DATA": str(folder / "no-service"),
        }
        self.sdk = BlobServiceClient(
            account.blob_endpoint,
            credential={"account_name": account.name, "account_key": account.key},
        )

    def __call__(self, *words: str, code: int = 0, given: bytes | None = None) -> Result:
        done = CliRunner().invoke(app, ["storage", *words], env=self.environment, input=given)
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.stdout + done.stderr
        assert all(line.startswith("lote: ") for line in done.stderr.splitlines()), done.stderr
        return done

    def names(self, container: str = "box") -> list[str]:
        return [blob.name for blob in self.sdk.get_container_client(container).list_blobs()]

    def content(self, name: str) -> bytes:
        return self.sdk.get_blob_client("box", name).download_blob().readall()

    def put(self, *names: str, content: bytes = b"content") -> None:
        for name in names:
            self.sdk.get_blob_client("box", name).upload_blob(content, overwrite=True)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageAccount]:
    with built_in(tmp_path_factory.mktemp("built-in")) as account:
        yield account


@pytest.fixture
def lote(endpoint: StorageAccount, tmp_path: Path, monkeypatch) -> Iterator[Terminal]:
    yield from shell(endpoint, tmp_path, monkeypatch)


def shell(account: StorageAccount, folder: Path, monkeypatch) -> Iterator[Terminal]:
    """A terminal in an empty folder, on an account with the one container `box`."""
    monkeypatch.chdir(folder)
    terminal = Terminal(account, folder)
    with terminal.sdk:
        terminal.sdk.create_container("box")
        yield terminal
        for container in terminal.sdk.list_containers():
            terminal.sdk.delete_container(container.name)


def make_files(*names: str) -> None:
    for name in names:
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"this is {name}\n")


def test_a_folder_there_and_back(lote):
    make_files("in/a.txt", "in/sub/ä b#c?.json", "in/.hidden")
    done = lote("cp", "-r", "in/", "az://box/to")
    assert "3 copied" in done.stderr
    assert lote.names() == ["to/.hidden", "to/a.txt", "to/sub/ä b#c?.json"]
    lote("cp", "-r", "az://box/to/", "out/")
    for name in ("a.txt", "sub/ä b#c?.json", ".hidden"):
        assert Path("out", name).read_bytes() == Path("in", name).read_bytes()


def test_into_and_as(lote):
    make_files("in/a.txt")
    lote("cp", "-r", "in", "az://box/")
    lote("cp", "-r", "in", "az://box/as")
    lote("cp", "in/a.txt", "az://box/one")
    lote("cp", "in/a.txt", "az://box/x/")
    assert lote.names() == ["as/a.txt", "in/a.txt", "one", "x/a.txt"]
    lote("cp", "-r", "az://box/in", ".")
    lote("cp", "-r", "az://box/in", "new")
    assert Path("new/a.txt").read_text() == Path("in/a.txt").read_text()
    refused = lote("cp", "-r", "az://box/x", "new", code=2)
    assert "new/" in refused.stderr
    assert list(Path("new").iterdir()) == [Path("new/a.txt")]


def test_a_blob_and_a_folder_of_one_name_are_told_apart(lote):
    lote.put("logs", "logs/a")
    assert "logs/" in lote("cp", "-r", "az://box/logs", "here", code=2).stderr
    lote("cp", "az://box/logs", "blob")
    lote("cp", "-r", "az://box/logs/", "folder")
    assert Path("blob").is_file()
    assert Path("folder/a").is_file()


def test_patterns_keep_names_below_the_first_wildcard(lote):
    lote.put("a/1.txt", "a/b/2.txt", "a/3.bin", "c.txt")
    lote("cp", "az://box/a/*.txt", "one/")
    lote("cp", "az://box/**/*.txt", "all/")
    assert [path.name for path in Path("one").iterdir()] == ["1.txt"]
    found = sorted(str(path.relative_to("all")) for path in Path("all").rglob("*.txt"))
    assert found == ["a/1.txt", "a/b/2.txt", "c.txt"]
    assert "no blob matches" in lote("cp", "az://box/*.none", "x/", code=1).stderr
    assert "end it with /" in lote("cp", "az://box/a/*", "x", code=2).stderr


def test_large_content_is_whole_and_has_its_md5(lote):
    content = os.urandom(BIG)
    Path("big").write_bytes(content)
    lote("cp", "big", "az://box/")
    (blob,) = lote.sdk.get_container_client("box").list_blobs()
    assert bytes(blob.content_settings.content_md5) == hashlib.md5(content).digest()
    lote("cp", "az://box/big", "back")
    assert Path("back").read_bytes() == content


def test_pipes(lote):
    content = os.urandom(BIG)
    lote("cp", "-", "az://box/small.txt", given=b"piped\n")
    lote("cp", "-", "az://box/large", given=content)
    lote("cp", "-", "az://box/empty", given=b"")
    assert lote.content("large") == content
    assert lote.content("empty") == b""
    done = lote("cp", "-q", "az://box/large", "-")
    assert done.stdout_bytes == content
    assert lote("cp", "-q", "az://box/small.txt", "-").stdout == "piped\n"


def test_update_copies_what_differs(lote):
    make_files("in/a", "in/b")
    assert "2 copied" in lote("cp", "-ru", "in/", "az://box/").stderr
    assert "2 skipped" in lote("cp", "-ru", "in/", "az://box/").stderr
    Path("in/a").write_text("THIS IS in/a\n")  # the same length
    assert "1 copied" in lote("cp", "-ru", "in/", "az://box/").stderr
    assert "2 copied" in lote("cp", "-ru", "az://box/", "out/").stderr
    Path("out/b").write_text("THIS IS in/b\n")
    assert "1 copied" in lote("cp", "-ru", "az://box/", "out/").stderr
    assert Path("out/b").read_text() == "this is in/b\n"


def test_no_clobber_leaves_what_is_there(lote):
    make_files("f")
    lote.put("f", content=b"old")
    assert "1 skipped" in lote("cp", "-n", "f", "az://box/f").stderr
    assert lote.content("f") == b"old"
    assert "1 skipped" in lote("cp", "-n", "az://box/f", "f").stderr
    assert "1 skipped" in lote("cp", "-n", "-", "az://box/f", given=b"x").stderr
    lote.put("g")
    assert "1 skipped" in lote("cp", "-n", "az://box/g", "az://box/f").stderr
    assert lote.content("f") == b"old"
    assert Path("f").read_text() == "this is f\n"


def test_types_are_guessed_and_contents_left_alone(lote):
    make_files("a.html", "b.tar.gz", "c")
    lote("cp", "a.html", "b.tar.gz", "c", "az://box/")
    lote("cp", "c", "az://box/d", "--content-type", "text/x-special")
    lote.put("z", content=b"not gzip at all")
    lote.sdk.get_blob_client("box", "z").set_http_headers(ContentSettings(content_encoding="gzip"))
    found = json.loads(lote("ls", "-o", "json", "az://box").stdout)
    kinds = {one["name"]: one["contentType"] for one in found}
    assert kinds["a.html"] == "text/html"
    assert kinds["b.tar.gz"] == "application/gzip"
    assert kinds["c"] == "application/octet-stream"
    assert kinds["d"] == "text/x-special"
    lote("cp", "az://box/z", "z")
    assert Path("z").read_bytes() == b"not gzip at all"


def test_failures_are_told_one_by_one_and_the_rest_is_copied(lote):
    lote.put("fine", "odd//x", "odd/", "deep/x")
    Path("deep").write_text("in the way")
    done = lote("cp", "-r", "az://box/", ".", code=1)
    assert Path("fine").read_bytes() == b"content"
    lines = done.stderr.splitlines()
    assert len(lines) == 4
    assert lines[-1].startswith("lote: 1 copied (7 B), 0 skipped, 3 failed")


def test_a_summary_for_programs(lote):
    make_files("in/a")
    os.symlink("nowhere", "in/broken")
    os.mkfifo("in/pipe")
    os.symlink("..", "in/up")
    done = lote("cp", "-r", "in/", "az://box/", "-o", "json", code=1)
    summary = json.loads(done.stdout)
    assert (summary["copied"], summary["failed"]) == (1, 3)
    assert {one["what"] for one in summary["problems"]} == {"in/broken", "in/pipe", "in/up"}


def test_dry_runs_change_nothing(lote):
    make_files("in/a")
    done = lote("cp", "-r", "in/", "az://new/x/", "--create", "--dry-run")
    assert done.stdout == "in/a -> az://new/x/a\n"
    lote.put("a", "b")
    assert lote("rm", "az://box/*", "--dry-run").stdout == "az://box/a\naz://box/b\n"
    assert lote.names() == ["a", "b"]
    assert [one.name for one in lote.sdk.list_containers()] == ["box"]


def test_containers_are_made_only_when_asked(lote):
    make_files("f")
    assert "--create" in lote("cp", "f", "az://new/", code=1).stderr
    lote("cp", "f", "az://new/", "--create")
    assert lote.names("new") == ["f"]


def test_two_sources_for_one_target_are_refused(lote):
    make_files("a/f", "b/f")
    assert "both become" in lote("cp", "a/f", "b/f", "az://box/", code=2).stderr
    assert lote.names() == []


def test_copies_within_storage_keep_type_and_metadata(lote):
    blob = lote.sdk.get_blob_client("box", "in/a")
    kind = ContentSettings(content_type="text/x-special")
    blob.upload_blob(b"content", content_settings=kind, metadata={"who": "me"})
    lote("cp", "-r", "az://box/in", "az://box/out")
    signed = lote("sas", "az://box/in/a").stdout.strip()
    lote("cp", signed, "az://box/across")
    for name in ("out/a", "across"):
        found = lote.sdk.get_blob_client("box", name).get_blob_properties()
        assert found.content_settings.content_type == "text/x-special"
        assert found.metadata == {"who": "me"}
        assert lote.content(name) == b"content"


def test_lists(lote):
    lote.put("a", "logs/1", "logs/2", "logs-old")
    assert lote("ls").stdout == "az://box\n"
    assert lote("ls", "az://box").stdout == "az://box/a\naz://box/logs-old\naz://box/logs/\n"
    assert lote("ls", "-r", "az://box/logs").stdout == "az://box/logs/1\naz://box/logs/2\n"
    assert lote("ls", "az://box/logs*").stdout == "az://box/logs-old\n"
    assert " 14 B  2 blobs" in lote("ls", "-l", "az://box/logs/").stdout
    row = lote("ls", "-o", "tsv", "az://box/a").stdout.rstrip("\n").split("\t")
    assert (row[0], row[1], row[4]) == ("BlockBlob", "7", "az://box/a")
    assert json.loads(lote("ls", "-o", "json", "az://box/logs/").stdout)[1]["name"] == "logs/2"
    assert "nothing of that name" in lote("ls", "az://box/none", code=1).stderr
    assert "no such container" in lote("ls", "az://none", code=1).stderr


def test_a_list_of_nothing_is_a_list(lote):
    assert json.loads(lote("ls", "-o", "json", "az://box").stdout) == []
    assert lote("ls", "az://box").stdout == ""


def test_names_cannot_steer_the_terminal(lote):
    lote.put("bell\x1b[31mred")
    for form in ("table", "tsv"):
        shown = lote("ls", "-o", form, "az://box").stdout
        assert "\x1b" not in shown
        assert "\\x1b[31mred" in shown


def test_removing(lote):
    lote.put("a", "b", "logs/1", "logs/2")
    assert "no such blob" in lote("rm", "az://box/none", code=1).stderr
    lote("rm", "az://box/a")
    assert "-r" in lote("rm", "az://box/logs/", code=1).stderr
    lote("rm", "-r", "az://box/logs/", "az://box/b")
    assert lote.names() == []
    assert "-r" in lote("rm", "az://box", code=2).stderr
    lote("rm", "-r", "az://box")
    assert list(lote.sdk.list_containers()) == []
    lote.sdk.create_container("other")


@pytest.mark.parametrize(("answer", "left"), [("n", 2), ("", 2), ("y", 0)])
def test_on_a_terminal_it_asks_before_much_is_removed(lote, answer, left):
    lote.put("a", "b")
    ours, theirs = os.openpty()
    try:
        process = subprocess.Popen(
            [*LOTE, "rm", "az://box/*"],
            env={**os.environ, **lote.environment},
            stdin=theirs,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.write(ours, f"{answer}\n".encode())
        _, said = process.communicate(timeout=WITHIN_S)
    finally:
        os.close(ours)
        os.close(theirs)
    assert said.startswith("Remove 2 blobs (14 B)? [y/N]")
    assert (process.returncode, len(lote.names())) == (1 if left else 0, left)


def test_a_bar_is_for_terminals(lote):
    Path("big").write_bytes(os.urandom(BIG))
    ours, theirs = os.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        process = subprocess.Popen(
            [*LOTE, "cp", "big", "az://box/"],
            env={**os.environ, **lote.environment, "TERM": "xterm"},
            stderr=theirs,
        )
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how a terminal ends that nobody writes to any more
            while piece := screen.read(1 << 16):
                shown += piece
    assert process.wait(WITHIN_S) == 0
    assert b"/1 " in shown
    assert b"MiB" in shown


def test_signatures(lote):
    lote.put("in/a b?.txt")
    url = lote("sas", "az://box/in/a b?.txt", "-e", "2h").stdout.strip()
    with urlopen(url) as answer:
        assert answer.read() == b"content"
    assert "/" not in url.partition("?")[2]
    facts = json.loads(
        lote("sas", "az://box", "-p", "lr", "--ip", "127.0.0.1", "-o", "json").stdout
    )
    assert facts["permissions"] == "rl"
    assert lote("ls", "-r", facts["url"]).stdout.endswith("/box/in/a%20b%3F.txt\n")
    assert (
        "does not allow"
        in lote("rm", lote("sas", "az://box/in/a b?.txt").stdout.strip(), code=1).stderr
    )
    lote("cp", "-r", facts["url"], "out")
    assert Path("out/in/a b?.txt").read_bytes() == b"content"


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("az://box/a", "-e", "2001-01-01"), "over already"),
        (("az://box/a", "-e", "soon"), "2h"),
        (("az://box/a", "-p", "q"), "r read"),
        (("az://box/a", "-p", "l"), "containers"),
        (("az://box/a", "--ip", "here"), "IPv4"),
        (("az://box/a", "--https-only"), "https"),
        (("az://box/in/",), "whole container"),
        (("az://",), "az://CONTAINER"),
    ],
)
def test_what_cannot_be_signed(lote, words, hint):
    assert hint in lote("sas", *words, code=2).stderr


def test_no_account_and_no_answer_are_said(lote):
    lote.environment["AZURE_STORAGE_CONNECTION_STRING"] = ""
    assert "lote serve" in lote("ls", code=1).stderr
    lote.environment["AZURE_STORAGE_CONNECTION_STRING"] = "AccountName=x"
    assert "AccountKey" in lote("ls", code=1).stderr
    wrong = lote.account._replace(key="d3Jvbmc=").connection_string
    done = lote("ls", "--connection-string", wrong, code=1)
    assert "wrong key" in done.stderr
    assert "d3Jvbmc=" not in done.stderr
    two = lote("ls", "--connection-string", wrong, "--data", ".", code=1)
    assert "two accounts" in two.stderr


class Stalling(BaseHTTPRequestHandler):
    """A service that begins to answer a download and then says no more."""

    protocol_version = "HTTP/1.1"
    ended = threading.Event()

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(BIG))
        self.send_header("x-ms-blob-type", "BlockBlob")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(206)
        self.send_header("Content-Length", str(8 << 20))
        self.send_header("Content-Range", f"bytes 0-{(8 << 20) - 1}/{BIG}")
        self.end_headers()
        self.wfile.write(b"beginning")
        self.wfile.flush()
        self.ended.wait(WITHIN_S)

    def log_message(self, *words: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def stalling() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Stalling) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/stalling"
        Stalling.ended.set()
        server.shutdown()
        thread.join()


def test_an_interrupted_download_leaves_no_file(stalling, tmp_path):
    folder = tmp_path / "down"
    process = subprocess.Popen(
        [*LOTE, "cp", f"{stalling}/box/big?sig=x", f"{folder}/"], stderr=subprocess.PIPE, text=True
    )
    until(lambda: folder.exists() and list(folder.iterdir()), "an unfinished file")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=WITHIN_S)
    assert process.returncode == 130
    assert said.startswith("lote: interrupted: 0 copied")
    assert list(folder.iterdir()) == []


def test_a_reader_that_goes_away(lote):
    lote.put(*(f"blob-{number:04}" for number in range(50)))
    command = f"{' '.join(LOTE)} ls az://box | head -n 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command],
        env={**os.environ, **lote.environment},
        capture_output=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert done.stdout == b"az://box/blob-0000\n"
    assert done.returncode in (0, 141)  # a short list may have been written already
    assert done.stderr == b""


def test_any_account_will_do(tmp_path: Path, monkeypatch):
    folder = tmp_path / "azurite"
    folder.mkdir()
    with azurite(folder) as account:
        for lote in shell(account, tmp_path, monkeypatch):
            make_files("in/a", "in/b/c")
            lote("cp", "-r", "in", "az://box/")
            assert "2 skipped" in lote("cp", "-ru", "in", "az://box/").stderr
            lote("cp", "-n", "az://box/in/a", "az://box/in/b/c")
            lote("cp", "-r", "az://box/in/", "az://box/copy/")
            lote("cp", "-r", lote("sas", "az://box").stdout.strip(), "out")
            assert Path("out/copy/b/c").read_text() == "this is in/b/c\n"
            lote("rm", "-r", "az://box/in")
            assert lote.names() == ["copy/a", "copy/b/c"]
