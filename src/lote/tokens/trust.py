"""Whose tokens are taken: issuers and where their keys are.

Keys are fetched when the first token of an issuer comes, kept for a day at most, and fetched anew
for a token by a key that is not among them, but not more often than once a minute.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from lote.world import World

KEYS_LIFE_S = 24 * 3600.0  # then they must be fetched again before another token is taken
REFRESH_MIN_S = 60.0  # between two fetches, however many tokens by unknown keys come
FETCH_S_MAX = 10.0
DOCUMENT_MAX_BYTES = 1 << 20
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

Jwk = dict[str, Any]


class KeysUnavailable(Exception):
    """An issuer's keys could not be read; the text says why, and names no secret."""


class TrustedIssuer(msgspec.Struct, frozen=True):
    """An issuer as its tokens name it, and its key set (JWKS): a file, or an https URL."""

    issuer: str
    jwks: str


def parse_issuer(text: str) -> TrustedIssuer:
    """One ``ISSUER=JWKS``. Refuses (``ValueError``): no such pair, or keys over plain http."""
    issuer, equals, jwks = text.partition("=")
    if not equals or not issuer or not jwks:
        raise ValueError(f"{text!r} is not ISSUER=JWKS, with a file or URL of the issuer's keys")
    url = urlsplit(jwks)
    if url.scheme == "http" and url.hostname not in LOOPBACK:
        raise ValueError(f"the keys of {issuer} must come by https, not by {jwks}")
    return TrustedIssuer(issuer, jwks)


def parse_issuers(text: str | None) -> list[TrustedIssuer]:
    """Several, with white space between them. Refuses as ``parse_issuer`` does."""
    return [parse_issuer(one) for one in (text or "").split()]


class KeySource:
    """The keys of one issuer, as they were when last read. For one event loop."""

    def __init__(self, jwks: str, world: World) -> None:
        self._jwks = jwks
        self._world = world
        self._keys: list[Jwk] = []
        self._read_at_s: float | None = None
        self._tried_at_s: float | None = None
        self._lock = asyncio.Lock()

    async def find(self, key_id: str | None) -> list[Jwk]:
        """Keys of this id; all of them for a token that names none. Raises KeysUnavailable."""
        found = self._fresh(key_id)
        if found:
            return found
        async with self._lock:  # many requests that come at once make one fetch
            return self._fresh(key_id) or await self._read(key_id)

    def _fresh(self, key_id: str | None) -> list[Jwk]:
        if self._read_at_s is None or self._world.monotonic() - self._read_at_s > KEYS_LIFE_S:
            return []
        return [key for key in self._keys if key_id is None or key.get("kid") == key_id]

    async def _read(self, key_id: str | None) -> list[Jwk]:
        now_s = self._world.monotonic()
        if self._tried_at_s is not None and now_s - self._tried_at_s < REFRESH_MIN_S:
            return []
        self._tried_at_s = now_s
        self._keys = await asyncio.to_thread(read_keys, self._jwks)
        self._read_at_s = now_s
        return self._fresh(key_id)


def read_keys(jwks: str) -> list[Jwk]:
    """The keys of a set, from a file or a URL. Raises KeysUnavailable."""
    try:
        text = fetch_document(jwks) if "://" in jwks else Path(jwks).read_bytes()
        document = json.loads(text)
    except (OSError, ValueError) as error:
        raise KeysUnavailable(f"{jwks}: {error}") from None
    keys = document.get("keys") if isinstance(document, Mapping) else None
    if not isinstance(keys, list):
        raise KeysUnavailable(f"{jwks}: not a key set")
    return [key for key in keys if isinstance(key, dict) and key.get("use", "sig") == "sig"]


def fetch_document(url: str) -> bytes:
    """A small document; the system's authorities, or those of ``SSL_CERT_FILE``, are trusted.

    Refuses: ``OSError`` for any failure, ``ValueError`` for a URL of another kind or a long one.
    """
    from urllib.request import urlopen  # 20 ms; most services never fetch any

    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("not an http(s) URL")
    with urlopen(url, timeout=FETCH_S_MAX) as answer:
        text: bytes = answer.read(DOCUMENT_MAX_BYTES + 1)
    if len(text) > DOCUMENT_MAX_BYTES:
        raise ValueError("the document is too long")
    return text
