"""Shared-key signatures of data-plane requests, as a client makes them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import parse_qsl

# REST: the headers that are signed by position, in this order, before the ocp-* ones.
SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


def string_to_sign(account: str, method: str, target: str, headers: Mapping[str, str]) -> str:
    """The text a shared-key signature covers.

    ``target`` is the request target as sent (still percent-encoded); header names are lower case.
    Source: REST "Authenticate requests to Batch", shared key.
    """
    path, _, query = target.partition("?")
    lines = [method.upper(), *(headers.get(name, "") for name in SIGNED_HEADERS)]
    lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("ocp-")]
    lines.append(f"/{account}{path}")
    first: dict[str, str] = {}
    for name, value in parse_qsl(query):
        first.setdefault(name, value)
    lines += [f"{name}:{first[name]}" for name in sorted(first)]
    return "\n".join(lines)


def authorization(
    account: str, key: str, method: str, target: str, headers: Mapping[str, str]
) -> str:
    """The value of the Authorization header; ``key`` is the account key in base64.

    Refuses (``ValueError``): a key that is not base64.
    """
    text = string_to_sign(account, method, target, headers)
    digest = hmac.digest(base64.b64decode(key, validate=True), text.encode(), hashlib.sha256)
    return f"SharedKey {account}:{base64.b64encode(digest).decode()}"
