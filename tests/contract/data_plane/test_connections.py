"""Connections that are kept: whatever was answered before, the next request is understood."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

import pytest

from .conftest import add_task, fresh, shell, wait_task
from .raw_http import API_VERSION, JSON, Raw, encoded, http_date, talk


class Kept:
    """One connection, used again and again; never opened anew."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self.line = http.client.HTTPConnection(raw.endpoint.removeprefix("http://"), timeout=20)
        self.line.auto_open = 0
        self.line.connect()

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        key: str | None = None,
    ) -> tuple[int, bytes]:
        target = f"{path}?api-version={API_VERSION}"
        content = encoded(body) if body is not None else b""
        sent = {"ocp-date": http_date(), **(headers or {})}
        if content or method not in ("GET", "HEAD"):
            sent["content-length"] = str(len(content))
            sent["content-type"] = JSON
        signer = self.raw.but(key=key) if key else self.raw
        sent["authorization"] = signer.authorization(method, target, sent)
        self.line.request(method, target, content or None, sent)
        answer = self.line.getresponse()
        return answer.status, answer.read()


@pytest.fixture
def kept(raw):
    connection = Kept(raw)
    yield connection
    connection.line.close()


def test_after_every_kind_of_answer(kept, raw, lone_job):
    path = f"/jobs/{lone_job}"
    etag = raw("GET", path).headers["etag"]
    large = {"id": "t", "commandLine": "x" * 600_000}
    huge = {"id": "t", "commandLine": "x" * 3_000_000}
    steps = [
        ("GET", path, None, {}, None, 200),
        ("GET", path, None, {"if-none-match": etag}, None, 304),
        ("HEAD", "/pools/none", None, {}, None, 404),
        ("POST", f"{path}/tasks", large, {}, "d3Jvbmc=", 403),
        ("POST", f"{path}/tasks", huge, {}, None, 413),
        ("POST", f"{path}/tasks", {"id": "t"}, {}, None, 400),
        ("POST", f"{path}/tasks", {"id": "t", "commandLine": "x"}, {}, None, 201),
        ("POST", f"{path}/tasks/t/terminate", None, {}, None, 204),
        ("PUT", "/pools", large, {}, None, 405),
        ("POST", "/jobschedules", large, {}, None, 400),
        ("GET", f"{path}/tasks/none", None, {}, None, 404),
        ("DELETE", f"{path}/tasks/t", None, {}, None, 200),
    ]
    for method, target, body, headers, key, status in steps:
        found, _ = kept(method, target, body, headers, key=key)
        assert found == status, (method, target)
        assert kept("GET", path)[0] == 200, f"after {method} {target}"


def test_files_on_one_connection(kept, batch, job):
    add_task(batch, job, "t", shell("head -c 300000 /dev/zero"))
    wait_task(batch, job, "t")
    path = f"/jobs/{job}/tasks/t/files/stdout.txt"
    for _ in range(5):
        assert kept("HEAD", path) == (200, b"")
        status, body = kept("GET", path)
        assert (status, len(body)) == (200, 300_000)
        assert kept("GET", path, None, {"ocp-range": "bytes=10-19"}) == (200, b"\0" * 10)
        assert kept("GET", path, None, {"ocp-range": "bytes=300000-"})[0] == 416
        assert kept("GET", path + "x")[0] == 404


def test_many_requests(kept, raw):
    job_id = fresh("kept")
    assert kept("POST", "/jobs", {"id": job_id, "poolInfo": {"poolId": "p"}})[0] == 201
    for number in range(200):
        body = {"id": f"t{number}", "commandLine": "x"}
        assert kept("POST", f"/jobs/{job_id}/tasks", body)[0] == 201
    assert raw("GET", f"/jobs/{job_id}/taskcounts").json["taskCounts"]["active"] == 200


def test_expect_100_continue(raw, lone_job):
    reply = raw(
        "POST",
        f"/jobs/{lone_job}/tasks",
        {"id": "t", "commandLine": "x"},
        {"expect": "100-continue"},
    )
    assert reply.status == 201


def test_pipelined_requests(raw, lone_job):
    target = f"/jobs/{lone_job}?api-version={API_VERSION}"
    headers = {"ocp-date": http_date()}
    headers["authorization"] = raw.authorization("GET", target, headers)
    lines = [f"GET {target} HTTP/1.1", "host: x", *(f"{n}: {v}" for n, v in headers.items())]
    one = "\r\n".join([*lines, "", ""]).encode()
    last = "\r\n".join([*lines, "connection: close", "", ""]).encode()
    found = talk(raw, one * 4 + last, hangs_up=False)
    assert found.count(b"HTTP/1.1 200") == 5


def test_http_1_0(raw, lone_job):
    target = f"/jobs/{lone_job}?api-version={API_VERSION}"
    headers = {"ocp-date": http_date()}
    headers["authorization"] = raw.authorization("GET", target, headers)
    lines = [f"GET {target} HTTP/1.0", *(f"{n}: {v}" for n, v in headers.items())]
    found = talk(raw, "\r\n".join([*lines, "", ""]).encode(), hangs_up=False)
    assert found.split(b"\r\n", 1)[0].endswith(b"200 OK")


def test_absolute_request_targets(raw, lone_job):
    """Proxies are spoken to with whole URLs; the path in them is what counts."""
    target = f"/jobs/{lone_job}?api-version={API_VERSION}"
    headers = {"ocp-date": http_date()}
    headers["authorization"] = raw.authorization("GET", target, headers)
    reply = raw.exchange("GET", raw.endpoint + target, b"", headers)
    assert reply.status == 200, reply.body
