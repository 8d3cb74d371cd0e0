"""Batches taken apart and put together, without a server."""

from __future__ import annotations

from email import message_from_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.storage.addresses import Addresses
from lote.storage.batch import PARTS_MAX, PartAnswer, batch_body, parse_batch
from lote.storage.errors import Refused

REQUEST = "DELETE /a/b?x=1 HTTP/1.1\r\nX-Ms-Date: now\r\nContent-Length: 0\r\n\r\n"


def body_of(*requests, boundary="b", line="\r\n"):
    pieces = [
        f"--{boundary}{line}Content-Type: application/http{line}Content-ID: {number}{line}{line}"
        f"{request}{line}"
        for number, request in enumerate(requests)
    ]
    return ("".join(pieces) + f"--{boundary}--{line}").encode()


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/mixed; boundary=b",
        "multipart/mixed;BOUNDARY=b",
        'multipart/mixed; boundary="b"',
        "multipart/mixed; boundary= b",
    ],
)
def test_ways_to_name_the_boundary(content_type):
    (part,) = parse_batch(content_type, body_of(REQUEST))
    assert (part.content_id, part.method, part.target) == ("0", "DELETE", "/a/b?x=1")
    assert part.headers == {"x-ms-date": "now", "content-length": "0"}


def test_bare_line_ends_are_taken():
    body = body_of(REQUEST.replace("\r\n", "\n"), line="\n")
    assert parse_batch("multipart/mixed; boundary=b", body)[0].target == "/a/b?x=1"


@pytest.mark.parametrize(
    ("content_type", "code"),
    [
        ("multipart/mixed", "InvalidHeaderValue"),
        ("multipart/mixed; boundary=", "InvalidHeaderValue"),
        ("text/plain; boundary=b", "InvalidHeaderValue"),
        ("multipart/mixed; boundary=b; boundary=c", "InvalidInput"),
    ],
)
def test_content_types_without_one_boundary(content_type, code):
    with pytest.raises(Refused) as refused:
        parse_batch(content_type, body_of(REQUEST))
    assert refused.value.code == code


@pytest.mark.parametrize(
    "requests",
    [(), ("",), ("DELETE",), ("DELETE / HTTP/2",), ("DELETE / HTTP/1.1\r\nx",)],
)
def test_parts_that_are_no_requests(requests):
    with pytest.raises(Refused) as refused:
        parse_batch("multipart/mixed; boundary=b", body_of(*requests))
    assert refused.value.code == "InvalidInput"


@given(st.binary(max_size=200), st.text("multipart/ixed;boundary= \"'", max_size=40))
def test_any_body_is_parsed_or_refused(body, content_type):
    for kind in (content_type, "multipart/mixed; boundary=b"):
        try:
            parts = parse_batch(kind, body)
        except Refused as refused:
            parts, code = [], refused.code
        else:
            code = ""
        assert 1 <= len(parts) <= PARTS_MAX or code in ("InvalidInput", "InvalidHeaderValue")


def test_answers_are_mime():
    answers = [
        PartAnswer("0", 202, {"x-ms-request-id": "r"}, b""),
        PartAnswer(None, 404, {"Content-Type": "application/xml"}, b"<Error/>"),
    ]
    head = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    first, second = message_from_bytes(head + batch_body("b", answers)).get_payload()
    assert (first["Content-ID"], second["Content-ID"]) == ("0", None)
    assert first.get_payload().startswith("HTTP/1.1 202 Accepted\r\nx-ms-request-id: r\r\n")
    assert second.get_payload().rstrip().endswith("<Error/>")


ADDRESSES = Addresses({"acct", "other-secondary"}, "storage.example")


@pytest.mark.parametrize(
    ("host", "path", "account", "is_secondary", "root", "rest"),
    [
        ("127.0.0.1:1", "/acct/c/b", "acct", False, "/acct", "c/b"),
        ("127.0.0.1:1", "/acct-secondary/c", "acct", True, "/acct-secondary", "c"),
        ("[::1]:1", "/acct", "acct", False, "/acct", ""),
        ("acct.blob.localhost:1", "/c/b", "acct", False, "", "c/b"),
        ("ACCT.BLOB.core.windows.net", "/acct/b", "acct", False, "", "acct/b"),
        ("acct-secondary.blob.localhost", "/c", "acct", True, "", "c"),
        ("acct.storage.example", "/c", "acct", False, "", "c"),
        ("acct.localhost:1", "/c", "acct", False, "", "c"),
        ("acct.elsewhere.example", "/acct/c", "acct", False, "/acct", "c"),
        ("nobody.blob.localhost", "/acct/c", "acct", False, "/acct", "c"),
        ("", "/acct/c", "acct", False, "/acct", "c"),
        ("h", "/other-secondary/c", "other-secondary", False, "/other-secondary", "c"),
        ("h", "/no%62ody/c", "nobody", False, "/no%62ody", "c"),
    ],
)
def test_whom_a_request_means(host, path, account, is_secondary, root, rest):
    assert ADDRESSES.parse(host, path) == (account, is_secondary, root, rest)
