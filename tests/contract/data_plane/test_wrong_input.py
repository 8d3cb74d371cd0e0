"""Requests that are wrong in themselves: refused in the protocol's own words, changing nothing."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from .conftest import fresh
from .raw_http import GUID, JSON, check_error, http_date, talk

BAD_BODIES = [
    b"{",
    b"[]",
    b"null",
    b"true",
    b'"text"',
    b"12",
    b"not json",
    b"\x00\x01\x02",
    b'{"id": "x",}',
    b"{'id': 'x'}",
    b'{"id": "x"} trailing',
    b'{"id": "\xff\xfe"}',
    b'{"id": "\\ud800"}',
    b'\xef\xbb\xbf{"id"',
    b"\xff\xfe{\x00}\x00",
    b'{"id": NaN}',
    b"",
    b"   ",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b'{"id":' + b"[" * 5_000 + b"]" * 5_000 + b"}",
]


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:12]))
@pytest.mark.parametrize("path", ["/jobs", "/pools", "JOB/tasks", "JOB/addtaskcollection"])
def test_malformed_bodies(raw, lone_job, path, body):
    target = path.replace("JOB", f"/jobs/{lone_job}")
    reply = raw("POST", target, body, {"content-type": JSON})
    assert reply.status == 400, reply.body
    assert reply.code in (
        "InvalidRequestBody",
        "InvalidPropertyValue",
        "MissingRequiredProperty",
        "UnsupportedProperty",
    )
    check_error(reply, 400, reply.code)
    assert raw("GET", f"/jobs/{lone_job}/tasks").json["value"] == []


@pytest.mark.parametrize("body", BAD_BODIES, ids=lambda body: repr(body[:12]))
def test_malformed_changes(raw, lone_job, body):
    before = raw("GET", f"/jobs/{lone_job}").body
    for method, rest in (("PATCH", ""), ("PUT", ""), ("POST", "/disable")):
        reply = raw(method, f"/jobs/{lone_job}{rest}", body, {"content-type": JSON})
        assert reply.status == 400, reply.body
    assert raw("GET", f"/jobs/{lone_job}").body == before


@pytest.mark.parametrize("body", [b"", b"{}", b"  ", b'\xef\xbb\xbf{"terminateReason": "x"}'])
def test_optional_bodies(raw, lone_job, body):
    assert raw("POST", f"/jobs/{lone_job}/terminate", body).status == 202


def test_a_terminate_body_that_is_wrong(raw, lone_job):
    before = raw("GET", f"/jobs/{lone_job}").body
    for body in (b"{", {"reason": "x"}, {"terminateReason": 5}, []):
        assert raw("POST", f"/jobs/{lone_job}/terminate", body).status == 400
    assert raw("GET", f"/jobs/{lone_job}").body == before


def test_a_very_deep_body_does_not_hurt_the_service(raw, lone_job):
    for depth in (1_000, 10_000, 200_000):
        body = b'{"id":"x","poolInfo":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}"
        assert raw("POST", "/jobs", body[: 1 << 20]).status == 400
    assert raw("GET", f"/jobs/{lone_job}").status == 200


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (JSON, 201),
        ("application/json", 201),
        ("application/json; odata=minimalmetadata; charset=utf-8", 201),
        ("", 201),
        ("text/plain", 400),
        ("application/xml", 400),
    ],
)
def test_content_types(raw, value, status):
    body = {"id": fresh("typed"), "poolInfo": {"poolId": "p"}}
    reply = raw("POST", "/jobs", body, {"content-type": value})
    assert reply.status == status, reply.body
    if status == 400:
        check_error(reply, 400, "InvalidHeaderValue")
        assert reply.values["HeaderName"].lower() == "content-type"
        assert raw("GET", f"/jobs/{body['id']}").status == 404


@pytest.mark.parametrize("size", [(1 << 20) + 1, 2 << 20, 20 << 20])
def test_bodies_over_the_limit(raw, size):
    job_id = fresh("large")
    body = json.dumps({"id": job_id, "poolInfo": {"poolId": "p"}, "displayName": ""})
    reply = raw("POST", "/jobs", body.encode().ljust(size))
    check_error(reply, 413, "RequestBodyTooLarge")
    assert raw("GET", f"/jobs/{job_id}").status == 404


def test_a_body_just_below_the_limit(raw):
    body = json.dumps({"id": fresh("large"), "poolInfo": {"poolId": "p"}})
    assert raw("POST", "/jobs", body.encode().ljust((1 << 20) - 1)).status == 201


def test_a_secret_in_a_refused_body_stays_secret(raw):
    secret = "hunter2hunter2"
    user = {"name": "a" * 99, "password": secret, "elevationLevel": "wrong"}
    body = {"id": fresh("p"), "vmSize": "standard_d2_v2", "userAccounts": [user]}
    reply = raw("POST", "/pools", body)
    assert reply.status == 400
    assert secret not in reply.body.decode()
    body = {"id": fresh("p"), "vmSize": "s", "userAccounts": [{"name": "a", "password": [secret]}]}
    reply = raw("POST", "/pools", body)
    assert reply.status == 400
    assert secret not in reply.body.decode()


# -- paths, verbs, queries --------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/nothing",
        "/pools/a/b/c",
        "/jobs//tasks",
        "//jobs",
        "/jobs/j/tasks/t/unknown",
        "/jobs/j/tasks/t/files//",
        "/subscription",
        "/jobs/%00",
    ],
)
def test_unknown_paths(raw, path):
    reply = raw("GET", path)
    assert reply.status in (400, 404), reply.body
    assert reply.code in ("InvalidUri", "JobNotFound", "RequestUrlFailedToParse")


@pytest.mark.parametrize("path", ["/jobs/%zz", "/jobs/%", "/jobs/%e2%28", "/jobs/x%2"])
def test_undecodable_paths(raw, path):
    check_error(raw("GET", path), 400, "RequestUrlFailedToParse")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "/pools"),
        ("DELETE", "/jobs"),
        ("PATCH", "/jobs/j/tasks/t"),
        ("GET", "/jobs/j/disable"),
        ("HEAD", "/supportedimages"),
        ("POST", "/jobs/j"),
    ],
)
def test_verbs_that_the_resource_does_not_have(raw, method, path):
    reply = raw(method, path, {} if method in ("PUT", "PATCH", "POST") else None)
    assert reply.status == 405
    assert reply.headers["allow"]
    if method != "HEAD":
        check_error(reply, 405, "UnsupportedHttpVerb")


@pytest.mark.parametrize("method", ["BREW", "OPTIONS", "TRACE", "get"])
def test_unknown_verbs(raw, method):
    reply = raw(method, "/jobs")
    assert reply.status in (400, 405), reply.body
    if method in ("OPTIONS", "TRACE"):
        check_error(reply, 400, "InvalidHttpVerb")


def test_no_head_for_jobs_and_tasks(raw, lone_job):
    assert raw("HEAD", f"/jobs/{lone_job}").status == 405


def test_a_trailing_slash(raw, lone_job):
    assert raw("GET", f"/jobs/{lone_job}/").status == 200


@pytest.mark.parametrize(
    "job_id", ["a b", "a.b", "x" * 65, "ü", "a'b", "..", "%25", "a:b", "😀", "-" * 10_000]
)
def test_ids_that_cannot_be(raw, job_id):
    reply = raw("GET", f"/jobs/{quote(job_id, safe='')}")
    assert reply.status in (400, 404), reply.body
    assert reply.code in ("JobNotFound", "InvalidUri", "InvalidPropertyValue")


@pytest.mark.parametrize("version", [None, ""])
def test_missing_api_version(raw, version):
    reply = check_error(raw("GET", "/jobs", version=version), 400, "MissingRequiredQueryParameter")
    assert reply.values == {"QueryParameterName": "api-version"}


@pytest.mark.parametrize(
    ("version", "code"),
    [
        ("2014-10-01.1.0", "UnsupportedRequestVersion"),
        ("newest", "InvalidQueryParameterValue"),
        ("2025-13-01", "InvalidQueryParameterValue"),
    ],
)
def test_wrong_api_versions(raw, version, code):
    check_error(raw("GET", "/jobs", version=version), 400, code)


@pytest.mark.parametrize(
    "version",
    ["2020-09-01.12.0", "2022-10-01.16.0", "2024-02-01.19.0", "2024-07-01.20.0", "2030-01-01"],
)
def test_other_api_versions(raw, version, lone_job):
    assert raw("GET", f"/jobs/{lone_job}", version=version).json["id"] == lone_job


def test_unknown_query_parameters_are_ignored(raw, lone_job):
    target = f"/jobs/{lone_job}?timeOut=30&surprise=1&select=&$expand="
    assert raw("GET", target).status == 200


# -- headers ----------------------------------------------------------------------------------

CLIENT_ID = "9a8b7c6d-1234-4abc-8def-0123456789ab"


@pytest.mark.parametrize("asked", ["true", "True"])
def test_client_request_id_is_echoed_when_asked(raw, lone_job, asked):
    headers = {"client-request-id": CLIENT_ID, "return-client-request-id": asked}
    reply = raw("GET", f"/jobs/{lone_job}", None, headers)
    assert reply.headers["client-request-id"] == CLIENT_ID
    missing = raw("GET", f"/jobs/{fresh('none')}", None, headers)
    assert missing.headers["client-request-id"] == CLIENT_ID


@pytest.mark.parametrize("asked", ["false", "", "yes"])
def test_client_request_id_is_not_echoed_otherwise(raw, lone_job, asked):
    headers = {"client-request-id": CLIENT_ID, "return-client-request-id": asked}
    reply = raw("GET", f"/jobs/{lone_job}", None, headers)
    assert "client-request-id" not in reply.headers


def test_no_client_request_id_is_echoed_where_there_was_none(raw):
    reply = raw("GET", "/jobs?maxresults=1", None, {"return-client-request-id": "true"})
    assert "client-request-id" not in reply.headers


def test_every_request_has_an_id_of_its_own(raw):
    found = {raw("GET", "/jobs?maxresults=1").headers["request-id"] for _ in range(10)}
    assert len(found) == 10
    assert all(GUID.fullmatch(one) for one in found)


def test_sdk_sees_the_headers(batch, lone_job):
    seen = []
    batch.get_job(lone_job, cls=lambda response, job, headers: seen.append(headers))
    (headers,) = seen
    assert GUID.fullmatch(headers["request-id"])
    assert headers["ETag"].startswith("0x")
    assert headers["Last-Modified"]


def test_huge_headers_do_not_hurt_the_service(raw, lone_job):
    for size in (1_000, 10_000, 100_000, 2_000_000):
        try:
            reply = raw("GET", f"/jobs/{lone_job}", None, {"x-large": "y" * size})
        except OSError:
            continue  # the listener may hang up on what no client sends
        assert reply.status in (200, 400, 431)
    assert raw("GET", f"/jobs/{lone_job}").status == 200


def test_many_headers(raw, lone_job):
    many = {f"ocp-x-{n}": str(n) for n in range(90)}
    assert raw("GET", f"/jobs/{lone_job}", None, many).status == 200


def test_a_long_filter_in_the_url(raw):
    reply = raw("GET", "/jobs?$filter=" + "id%20eq%20'x'%20or%20" * 800 + "id%20eq%20'y'")
    assert reply.status in (200, 400)


@pytest.mark.parametrize(
    "text",
    [
        b"\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /jobs HTTP/9.9\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nno colon\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 5_000,
        b"GET /" + b"x" * 200_000 + b" HTTP/1.1\r\nhost: x\r\n\r\n",
    ],
    ids=lambda text: repr(text[:16]),
)
def test_what_is_no_http(raw, lone_job, text):
    try:
        found = talk(raw, text)
    except ConnectionError:
        found = b""
    assert not found or found.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5"))
    assert raw("GET", f"/jobs/{lone_job}").status == 200


def test_a_body_that_never_comes(raw, lone_job):
    target = f"/jobs/{lone_job}/tasks?api-version=2025-06-01"
    headers = {"ocp-date": http_date(), "content-length": "100"}
    signature = raw.authorization("POST", target, headers)
    lines = [f"POST {target} HTTP/1.1", "host: x", f"authorization: {signature}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    talk(raw, "\r\n".join([*lines, "", '{"id":"t",']).encode())
    assert raw("GET", f"/jobs/{lone_job}/tasks").json["value"] == []


def test_chunked_bodies(raw, lone_job):
    target = f"/jobs/{lone_job}/tasks?api-version=2025-06-01"
    body = b'{"id":"t","commandLine":"x"}'
    headers = {"ocp-date": http_date(), "content-type": JSON}
    signature = raw.authorization("POST", target, headers)
    lines = [f"POST {target} HTTP/1.1", "host: x", f"authorization: {signature}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["transfer-encoding: chunked", "connection: close", "", ""]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:5], body[5:]))
    found = talk(raw, "\r\n".join(lines).encode() + chunks + b"0\r\n\r\n", hangs_up=False)
    assert found.startswith(b"HTTP/1.1 201")
    assert raw("GET", f"/jobs/{lone_job}/tasks/t").status == 200
