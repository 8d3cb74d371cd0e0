"""Downloads in pieces, checked, and answers in all their forms."""

from __future__ import annotations

import hashlib
import os
import re
import threading
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import break_off, reply, serving

from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobError, BlobStopped
from lote.blobs.pieces import Pieces

CONTENT = os.urandom(3_000_000)
RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@pytest.fixture
def client():
    client = BlobClient(back_off_s=0.001, stall_timeout_s=10)
    yield client
    client.close()


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr("lote.blobs.fetch.PARALLEL_MIN_BYTES", 100_000)
    monkeypatch.setattr("lote.blobs.crew.PIECE_BYTES", 100_000)
    monkeypatch.setattr("lote.blobs.crew.LEFT_BYTES", 200_000)


def ranged(handler, content=CONTENT, etag='"one"', cut=None, headers=()):
    """Answers a range of a content, as far as ``cut`` bytes."""
    asked = RANGE.fullmatch(handler.headers.get("Range", ""))
    if asked and handler.headers.get("If-Match") != etag:
        return reply(handler, 412)
    start = int(asked[1]) if asked else 0
    end = int(asked[2]) + 1 if asked and asked[2] else len(content)
    handler.send_response(206 if asked else 200)
    if asked:
        handler.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(content)}")
    for name, value in [("ETag", etag), ("Content-Length", str(end - start)), *headers]:
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(content[start:end][:cut])
    if cut is not None:
        break_off(handler)
    return None


def test_a_large_file_comes_over_several_connections(client, tmp_path, small_pieces):
    others = threading.Event()

    def answer(handler):
        if "Range" not in handler.headers:
            handler.send_response(200)
            handler.send_header("ETag", '"one"')
            handler.send_header("Content-Length", str(len(CONTENT)))
            handler.end_headers()
            handler.wfile.write(CONTENT[:1000])
            handler.wfile.flush()
            others.wait(20)  # the front stands still until the others have brought the rest
            handler.wfile.write(CONTENT[1000:])
            return
        ranged(handler)
        if len(server.requests) >= 25:
            others.set()

    with serving(answer) as server:
        progress = []
        done = client.download(
            f"{server.url}/a", tmp_path / "a", on_progress=lambda *one: progress.append(one)
        )
        asked = [headers.get("Range") for _, _, headers, _ in server.requests]
    assert done == ("one", len(CONTENT), "")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert asked[0] is None
    assert "bytes=2900000-" in asked, "the others begin at the end"
    assert len(asked) >= 25


@pytest.mark.parametrize("cut", [0, 1, 70_000])
def test_pieces_that_break_are_brought_all_the_same(client, tmp_path, small_pieces, cut):
    def answer(handler):
        ranged(handler, cut=cut if len(server.requests) % 3 == 2 else None)

    with serving(answer) as server:
        client.download(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_pieces_are_never_of_two_contents(client, tmp_path, small_pieces):
    """The content is replaced while some pieces are there and others are not."""
    other = CONTENT[::-1]
    lock, replaced = threading.Lock(), threading.Event()

    def answer(handler):
        with lock:
            if len(server.requests) > 4:
                replaced.set()
        if replaced.is_set():
            return ranged(handler, other, '"two"')
        return ranged(handler, cut=150_000)

    with serving(answer) as server:
        done = client.download(f"{server.url}/a", tmp_path / "a")
    assert done.etag == "two"
    assert (tmp_path / "a").read_bytes() == other


def test_a_stop_ends_all_connections(client, tmp_path, small_pieces):
    stop, gate = threading.Event(), threading.Event()

    def answer(handler):
        if "Range" not in handler.headers:
            return ranged(handler)
        gate.wait(20)
        return break_off(handler)

    with serving(answer) as server:
        before = threading.active_count()
        threading.Timer(0, gate.set).start()
        with pytest.raises(BlobStopped):
            client.download(
                f"{server.url}/a", tmp_path / "a", on_progress=lambda *_: stop.set(), stop=stop
            )
        names = [thread.name for thread in threading.enumerate()]
    assert "range" not in names, (before, names)
    assert list(tmp_path.iterdir()) == []


def test_bytes_that_are_not_what_the_server_says_come_again(client, tmp_path):
    right = b64encode(hashlib.md5(CONTENT).digest()).decode()

    def answer(handler):
        sent = bytes(10) + CONTENT[10:] if len(server.requests) == 1 else CONTENT
        ranged(handler, sent, headers=[("Content-MD5", right)])

    with serving(answer) as server:
        client.download(f"{server.url}/a", tmp_path / "a")
        assert len(server.requests) == 2
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("small_bytes", [-1, 100])
def test_bytes_that_never_are_what_the_server_says(client, small_bytes, tmp_path):
    md5 = b64encode(hashlib.md5(b"other").digest()).decode()
    made = []

    def open_file():
        made.append(os.open(tmp_path / "part", os.O_RDWR | os.O_CREAT))
        return made[-1]

    with (
        serving(lambda h: ranged(h, b"these", headers=[("Content-MD5", md5)])) as server,
        pytest.raises(BlobError, match="Content-MD5"),
    ):
        client.fetch(f"{server.url}/a", open_file, small_bytes=small_bytes)
    assert len(server.requests) == 2
    assert len(made) == (1 if small_bytes < 0 else 0)
    for descriptor in made:
        os.close(descriptor)


def test_small_contents_need_no_file(client):
    def no_file():
        raise AssertionError("a file for a small content")

    with serving(lambda h: reply(h, 200, b"small", ETag='"e"')) as server:
        fetched = client.fetch(f"{server.url}/a", no_file, small_bytes=5)
    assert fetched is not None
    assert fetched.content == b"small"
    assert fetched.downloaded == ("e", 5, "")


def test_answers_without_a_length(client, tmp_path):
    def chunked(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for start in range(0, len(CONTENT), 700_000):
            piece = CONTENT[start : start + 700_000]
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        if len(server.requests) == 1:
            return break_off(handler)
        handler.wfile.write(b"0\r\n\r\n")
        return None

    with serving(chunked) as server:
        assert client.download(f"{server.url}/a", tmp_path / "a").size == len(CONTENT)
        assert client.download(f"{server.url}/a", tmp_path / "b").size == len(CONTENT)
        assert len(server.requests) == 3, "a torn one is taken again"
        assert len(server.connections) == 2, "whole ones leave their connection"
    assert (tmp_path / "a").read_bytes() == CONTENT == (tmp_path / "b").read_bytes()

    def until_closed(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT)
        handler.close_connection = True

    with serving(until_closed) as server:
        assert client.download(f"{server.url}/a", tmp_path / "c").size == len(CONTENT)
    assert (tmp_path / "c").read_bytes() == CONTENT


def test_an_answer_before_the_answer_is_passed_over(client, tmp_path):
    def answer(handler):
        handler.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        reply(handler, 200, b"there")

    with serving(answer) as server:
        assert client.download(f"{server.url}/a", tmp_path / "a").size == 5
        assert client.download(f"{server.url}/a", tmp_path / "a").size == 5
        assert len(server.connections) == 1


@pytest.mark.parametrize("answer", [b"SMTP ready\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le", b""])
def test_what_is_no_answer(tmp_path, answer):
    client = BlobClient(back_off_s=0.001, attempts_max=2)

    def say(handler):
        handler.wfile.write(answer)
        break_off(handler)

    with serving(say) as server, pytest.raises(BlobError) as failed:
        client.download(f"{server.url}/a", tmp_path / "a")
    assert failed.value.kind == "misc"
    client.close()


def test_addresses_with_odd_characters_reach_the_server(client, tmp_path):
    with serving(lambda h: reply(h, 200, b"x")) as server:
        client.download(f"{server.url}/a b/ü?q=c d&sig=a%2Bb", tmp_path / "a")
        assert server.requests[0][1] == "/a%20b/%C3%BC?q=c%20d&sig=a%2Bb"


@pytest.mark.parametrize(
    "url", ["ftp://host/a", "http:///a", "http://host:port/a", "http://[/a", "nothing"]
)
def test_what_is_no_address(client, tmp_path, url):
    with pytest.raises(BlobError) as failed:
        client.download(url + "?sig=TOPSECRET", tmp_path / "a")
    assert failed.value.kind == "misc"
    assert "TOPSECRET" not in str(failed.value)


def test_a_server_that_sends_us_nowhere(client, tmp_path):
    with serving(lambda h: reply(h, 302, Location="http://[")) as server:
        with pytest.raises(BlobError, match="no address"):
            client.download(f"{server.url}/a", tmp_path / "a")
        assert len(server.requests) == 1


def test_a_header_cannot_bring_another(client):
    with serving(lambda h: reply(h, 201)) as server:
        with pytest.raises(BlobError):
            client.upload_bytes(b"x", f"{server.url}/a", {"x-ms-meta-a": "1\r\nx-ms-meta-b: 2"})
        assert server.requests == []


@given(st.integers(1, 5000), st.lists(st.tuples(st.booleans(), st.integers(1, 900)), max_size=60))
def test_every_byte_is_brought_once(total, steps):
    """Whatever the front and the others take, and whatever of it comes back."""
    pieces, brought = Pieces(total), []
    for is_front, size in steps:
        wanted = pieces.front()
        if is_front and wanted is not None:
            claimed = pieces.claim(wanted[0], size)
            taken = (wanted[0], wanted[0] + claimed)
        else:
            last = pieces.take_last(size, 100)
            if last is None:
                continue
            taken = last
        middle = taken[0] + (taken[1] - taken[0]) * (size % 4) // 3 if size % 4 < 3 else taken[1]
        brought.append((taken[0], middle))
        pieces.put_back(middle, taken[1])
    while (wanted := pieces.front()) is not None:
        claimed = pieces.claim(wanted[0], 777)
        brought.append((wanted[0], wanted[0] + claimed))
    covered = [offset for start, end in sorted(brought) for offset in range(start, end)]
    assert covered == list(range(total))


def test_pieces_off_the_end_begin_where_blocks_do():
    pieces = Pieces(1050)
    assert [pieces.take_last(100, 200) for _ in range(4)] == [
        (1000, 1050), (900, 1000), (800, 900), (700, 800),
    ]  # fmt: skip
