"""The small client against a server that misbehaves."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from scripted_server import break_off, reply, serving

from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobError, BlobStopped
from lote.blobs.listing import BlobItem
from lote.blobs.urls import blob_url

CONTENT = bytes(range(256)) * 8192  # 2 MiB


@pytest.fixture
def client():
    client = BlobClient(back_off_s=0.001, stall_timeout_s=5)
    yield client
    client.close()


def partial(handler, content=CONTENT, etag='"one"', cut=None):
    """Answers ranges as a blob server does; breaks off after ``cut`` bytes."""
    asked = handler.headers.get("Range")
    start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
    if asked and handler.headers.get("If-Match") != etag:
        return reply(handler, 412)
    handler.send_response(206 if asked else 200)
    if asked:
        total = len(content)
        handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    if etag:
        handler.send_header("ETag", etag)
    handler.send_header("Content-Length", str(len(content) - start))
    handler.end_headers()
    end = None if cut is None else start + cut
    handler.wfile.write(content[start:end])
    if cut is not None:
        break_off(handler)
    return None


def test_a_download_appears_whole(client, tmp_path):
    progress = []
    with serving(lambda h: reply(h, 200, CONTENT, ETag='"e1"', Content_Type="x/y")) as server:
        done = client.download(
            f"{server.url}/a?sig=s", tmp_path / "a", on_progress=lambda *p: progress.append(p)
        )
    assert done == ("e1", len(CONTENT), "x/y")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert progress[-1] == (len(CONTENT), len(CONTENT))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_broken_download_goes_on_where_it_was(client, tmp_path):
    with serving(lambda h: partial(h, cut=300_000)) as server:
        done = client.download(f"{server.url}/a", tmp_path / "a")
        ranges = [headers.get("Range") for _, _, headers, _ in server.requests]
    assert done.size == len(CONTENT)
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert ranges[:3] == [None, "bytes=300000-", "bytes=600000-"]
    assert len(ranges) > 5  # more than the attempts: each made progress


def test_content_that_changes_meanwhile_is_taken_anew(client, tmp_path):
    other = CONTENT[::-1]

    def answer(handler):
        if len(server.requests) == 1:
            return partial(handler, cut=300_000)
        return partial(handler, other, '"two"')

    with serving(answer) as server:
        done = client.download(f"{server.url}/a", tmp_path / "a")
    assert done.etag == "two"
    assert (tmp_path / "a").read_bytes() == other


def test_without_an_etag_a_broken_download_begins_again(client, tmp_path):
    def answer(handler):
        partial(handler, etag="", cut=300_000 if len(server.requests) < 3 else None)

    with serving(answer) as server:
        assert client.download(f"{server.url}/a", tmp_path / "a").size == len(CONTENT)
        assert all("Range" not in headers for _, _, headers, _ in server.requests)
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_server_without_ranges_that_always_breaks_is_given_up(tmp_path):
    """It sends something each time, and always the same: that is no progress."""

    def answer(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.send_header("ETag", '"one"')
        handler.end_headers()
        handler.wfile.write(CONTENT[:300_000])
        break_off(handler)

    client = BlobClient(back_off_s=0.001, attempts_max=3)
    with serving(answer) as server:
        with pytest.raises(BlobError) as caught:
            client.download(f"{server.url}/box/blob", tmp_path / "file")
        assert len(server.requests) < 10
    assert caught.value.kind == "misc"
    assert list(tmp_path.iterdir()) == []


def test_a_server_without_ranges(client, tmp_path):
    def answer(handler):
        if len(server.requests) == 1:
            return partial(handler, cut=1_000_000)
        return reply(handler, 200, CONTENT, ETag='"one"')

    with serving(answer) as server:
        client.download(f"{server.url}/a", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "kind", "requests"),
    [
        (404, "not_found", 1),
        (403, "access_denied", 1),
        (401, "access_denied", 1),
        (400, "misc", 1),
        (409, "misc", 1),
        (500, "misc", 5),
        (503, "misc", 5),
        (504, "timed_out", 5),
    ],
)
def test_refusals_have_a_kind(client, tmp_path, status, kind, requests):
    body = b"<?xml version='1.0'?><Error><Code>TheCode</Code><Message>Why.\nTime</Message></Error>"
    with serving(lambda h: reply(h, status, body)) as server:
        with pytest.raises(BlobError) as failed:
            client.download(f"{server.url}/a?sv=1&sig=TOPSECRET&x=2", tmp_path / "a")
        assert len(server.requests) == requests
    error = failed.value
    assert (error.kind, error.status, error.code) == (kind, status, "TheCode")
    assert "TOPSECRET" not in str(error) + repr(error) + error.url
    assert "Why." in str(error)
    assert list(tmp_path.iterdir()) == []


def test_transient_failures_are_overcome(client, tmp_path):
    def answer(handler):
        number = len(server.requests)
        if number == 1:
            return reply(handler, 503, Retry_After="0")
        if number == 2:
            return break_off(handler)
        return reply(handler, 200, b"there")

    with serving(answer) as server:
        assert client.download(f"{server.url}/a", tmp_path / "a").size == 5


def test_silence_is_a_time_out(tmp_path):
    client = BlobClient(back_off_s=0.001, stall_timeout_s=0.05, attempts_max=2)
    quiet = threading.Event()
    with serving(lambda h: quiet.wait(20)) as server:
        with pytest.raises(BlobError) as failed:
            client.download(f"{server.url}/a", tmp_path / "a")
        quiet.set()
    assert failed.value.kind == "timed_out"
    client.close()


def test_nobody_there(client, tmp_path):
    with pytest.raises(BlobError) as failed:
        client.download("http://127.0.0.1:1/a?sig=TOPSECRET", tmp_path / "a")
    assert failed.value.kind == "misc"
    assert failed.value.status is None
    assert "TOPSECRET" not in str(failed.value)


def test_a_stop_ends_a_download(client, tmp_path):
    stop = threading.Event()
    with serving(lambda h: partial(h)) as server, pytest.raises(BlobStopped):
        client.download(
            f"{server.url}/a", tmp_path / "a", on_progress=lambda *_: stop.set(), stop=stop
        )
    assert list(tmp_path.iterdir()) == []


def test_a_stop_ends_a_pause(tmp_path):
    client, stop = BlobClient(back_off_s=60), threading.Event()

    def answer(handler):
        reply(handler, 503)
        stop.set()

    with serving(answer) as server, pytest.raises(BlobStopped):
        client.download(f"{server.url}/a", tmp_path / "a", stop=stop)
    client.close()


def test_local_trouble_is_an_os_error_at_once(client, tmp_path):
    with serving(lambda h: reply(h, 200, b"x")) as server:
        with pytest.raises(FileNotFoundError):
            client.download(f"{server.url}/a", tmp_path / "no" / "a")
        (tmp_path / "folder").mkdir()
        with pytest.raises(IsADirectoryError):
            client.download(f"{server.url}/a", tmp_path / "folder")
        assert len(server.requests) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_redirects_are_followed_without_credentials(client, tmp_path):
    with serving(lambda h: reply(h, 200, b"moved")) as target:

        def away(handler):
            reply(handler, 302, Location=f"{target.url}/b")

        with serving(away) as server:
            headers = {"Authorization": "Bearer secret", "X-Other": "1"}
            client.download(f"{server.url}/a", tmp_path / "a", headers=headers)
        assert "Authorization" in server.requests[0][2]
        assert "Authorization" not in target.requests[0][2]
        assert target.requests[0][2]["X-Other"] == "1"
    assert (tmp_path / "a").read_bytes() == b"moved"


def test_redirects_have_an_end(client, tmp_path):
    with serving(lambda h: reply(h, 302, Location="/again")) as server:
        with pytest.raises(BlobError, match="redirects"):
            client.download(f"{server.url}/a", tmp_path / "a")
        assert len(server.requests) == 5


def test_known_content_does_not_come_again(client, tmp_path):
    def answer(handler):
        known = handler.headers.get("If-None-Match") == '"e1"'
        reply(handler, 304 if known else 200, b"" if known else b"new", ETag='"e1"')

    with serving(answer) as server:
        assert client.download_if_changed(f"{server.url}/a", tmp_path / "a", "e1") is None
        assert list(tmp_path.iterdir()) == []
        done = client.download_if_changed(f"{server.url}/a", tmp_path / "a", "e0")
    assert done.etag == "e1"


def test_connections_are_kept(client, tmp_path):
    with serving(lambda h: reply(h, 200, b"x")) as server:
        for _ in range(5):
            client.download(f"{server.url}/a", tmp_path / "a")
        assert len(server.connections) == 1


def test_a_connection_closed_while_idle_costs_no_attempt(tmp_path):
    client = BlobClient(attempts_max=1)

    def answer(handler):
        reply(handler, 200, b"x")
        handler.close_connection = True  # though it did not say so

    with serving(answer) as server:
        for _ in range(3):
            client.download(f"{server.url}/a", tmp_path / "a")
            deadline = time.monotonic() + 10
            idle = [one for kept in client._attempts.connections._idle.values() for one in kept]
            while idle and not is_closed(idle[0]):
                assert time.monotonic() < deadline
    client.close()


def is_closed(connection):
    from lote.blobs.connections import is_dropped

    return is_dropped(connection)


def test_threads_share_a_client(client, tmp_path):
    barrier = threading.Barrier(4)

    def answer(handler):
        barrier.wait(20)  # answers only when all four have asked
        reply(handler, 200, CONTENT)

    with serving(answer) as server:
        threads = [
            threading.Thread(target=client.download, args=(f"{server.url}/{n}", tmp_path / f"{n}"))
            for n in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert {p.read_bytes() == CONTENT for p in tmp_path.iterdir()} == {True}
    assert len(list(tmp_path.iterdir())) == 4


def test_small_uploads_go_in_one_request(client, tmp_path):
    (tmp_path / "f").write_bytes(b"content")
    with serving(lambda h: reply(h, 201, ETag='"new"')) as server:
        headers = {"x-ms-blob-content-type": "text/plain"}
        assert client.upload(tmp_path / "f", f"{server.url}/c/b?sig=s", headers) == "new"
        ((method, path, sent, body),) = server.requests
    assert (method, path, body) == ("PUT", "/c/b?sig=s", b"content")
    assert sent["x-ms-blob-type"] == "BlockBlob"
    assert sent["x-ms-blob-content-type"] == "text/plain"


def test_large_uploads_go_in_blocks_and_repeat_only_what_failed(tmp_path, monkeypatch):
    monkeypatch.setattr("lote.blobs.parts.BLOCK_BYTES", 1_000_000)
    client = BlobClient(back_off_s=0.001, single_put_max_bytes=1000)
    (tmp_path / "f").write_bytes(CONTENT)

    def answer(handler):
        if len(server.requests) == 2:
            return reply(handler, 500)
        return reply(handler, 201, ETag='"new"')

    with serving(answer) as server:
        assert client.upload(tmp_path / "f", f"{server.url}/c/b?sig=s") == "new"
        sent = [(path, body) for _, path, _, body in server.requests if "comp=block&" in path]
        assert server.requests[-1][1] == "/c/b?sig=s&comp=blocklist"
        assert server.requests[-1][3].count(b"<Latest>") == 3
    assert len(sent) == 4
    assert sent.count(sent[1]) == 2, "only the block that failed goes again"
    assert b"".join(dict(sorted(sent)).values()) == CONTENT
    client.close()


def test_an_upload_that_is_refused_says_why(client, tmp_path):
    (tmp_path / "f").write_bytes(CONTENT)
    refuse = {"x_ms_error_code": "AuthorizationPermissionMismatch"}
    with serving(lambda h: reply(h, 403, **refuse)) as s, pytest.raises(BlobError) as failed:
        client.upload(tmp_path / "f", f"{s.url}/c/b?sig=TOPSECRET")
    assert failed.value.code == "AuthorizationPermissionMismatch"
    assert failed.value.kind == "access_denied"


def test_lists_come_page_by_page(client):
    def page(names, marker):
        rows = "".join(
            f"<Blob><Name>{name}</Name><Properties><Content-Length>{len(name)}</Content-Length>"
            f'<Etag>"{name}"</Etag></Properties></Blob>'
            for name in names
        )
        return (
            f"<EnumerationResults><Blobs>{rows}</Blobs><NextMarker>{marker}</NextMarker>"
            "</EnumerationResults>"
        ).encode()

    def answer(handler):
        second = "marker=n%2B1" in handler.path
        reply(handler, 200, page(["c"], "") if second else page(["a", "b&amp;"], "n+1"))

    with serving(answer) as server:
        found = list(client.list_blobs(f"{server.url}/box?sig=s", "p/&"))
        assert "prefix=p%2F%26" in server.requests[0][1]
    assert found == [BlobItem("a", 1, "a"), BlobItem("b&", 6, "b&"), BlobItem("c", 1, "c")]


def test_names_are_encoded_in_urls():
    url = blob_url("https://a.blob.core.windows.net/box?sv=1&sig=x%2B", "dir/ü ?#%.txt")
    expected = "https://a.blob.core.windows.net/box/dir/%C3%BC%20%3F%23%25.txt?sv=1&sig=x%2B"
    assert url == expected


def test_importing_it_is_cheap():
    """Agents run on every node: no SDK, no requests, no TLS before it is needed."""
    code = "import sys, lote.blobs.client; print(*sorted(m.partition('.')[0] for m in sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(found.stdout.split())
    assert not loaded & {"azure", "requests", "urllib3", "cryptography", "asyncio", "inspect"}
