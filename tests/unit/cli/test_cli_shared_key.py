"""Signatures equal those of the official SDK, request by request."""

from __future__ import annotations

import base64
from types import SimpleNamespace
from urllib.parse import quote, urlencode

import pytest
from azure.batch._patch import BatchSharedKeyAuthPolicy
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.pipeline.transport import HttpRequest
from hypothesis import given
from hypothesis import strategies as st

from lote.cli.shared_key import authorization, string_to_sign

KEY = base64.b64encode(b"k" * 64).decode()
WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=12)
HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "if-match", "ocp-range", "if-none-match", "content-length"]),
    st.text("abc0123456789=*-", min_size=1, max_size=8),
)


def signed_by_sdk(method: str, target: str, headers: dict[str, str]) -> str:
    request = HttpRequest(method, f"http://127.0.0.1:1{target}", headers=headers)
    policy = BatchSharedKeyAuthPolicy(AzureNamedKeyCredential("acc", KEY))
    policy.on_request(SimpleNamespace(http_request=request))  # type: ignore[arg-type]
    return str(request.headers["Authorization"])


@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]),
    path=st.lists(WORDS, min_size=1, max_size=4),
    query=st.dictionaries(st.sampled_from(["api-version", "$filter", "timeOut"]), WORDS),
    headers=HEADERS,
)
def test_signature_is_the_sdks(method, path, query, headers):
    target = "/" + "/".join(quote(word, safe="") for word in path) + "?" + urlencode(query)
    headers = {"ocp-date": "Fri, 20 Nov 2026 04:57:55 GMT", "content-length": "0", **headers}
    if method in ("GET", "HEAD"):
        del headers["content-length"]
    expected = signed_by_sdk(method, target, dict(headers))
    assert authorization("acc", KEY, method, target, headers) == expected


def test_text_has_every_part_in_its_place():
    headers = {"ocp-date": "D", "ocp-range": "bytes=0-4", "content-type": "T"}
    text = string_to_sign("acc", "get", "/jobs/a%2Fb?b=2&a=x+y", headers)
    head = "GET\n\n\n\n\nT\n\n\n\n\n\n\nocp-date:D\nocp-range:bytes=0-4\n"
    assert text == head + "/acc/jobs/a%2Fb\na:x y\nb:2"


def test_key_that_is_not_base64_is_refused():
    with pytest.raises(ValueError, match="base64"):
        authorization("acc", "not a key!", "GET", "/pools", {})
