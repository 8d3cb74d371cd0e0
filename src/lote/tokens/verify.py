"""Checking a bearer token: issuer, signature, lifetime, audience, in this order.

Source: RFC 7519 (claims), RFC 8725 (algorithms are ours to choose, never the token's).
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from lote.tokens.trust import Jwk, KeySource, KeysUnavailable, TrustedIssuer
from lote.world import World

SKEW_S = 300  # as the provider's own services allow
ALGORITHMS = {  # by type of key; none that signs with a shared secret
    "RSA": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "EC": ("ES256", "ES384", "ES512"),
    "OKP": ("EdDSA",),
}
KNOWN_S = 300.0  # how long a signature need not be checked again; a token comes many times
KNOWN_MAX = 1024
KEYS_TRIED_MAX = 16  # for a token that names no key
log = logging.getLogger("lote.tokens")


class BadToken(Exception):
    """A token that is not taken; the text says why and may be shown to the client."""


class Identity(NamedTuple):
    """Whom a token names: object id, tenant id, application id; "" where it says nothing."""

    oid: str
    tid: str
    app_id: str


class TokenVerifier:
    """Takes tokens of the trusted issuers. For one event loop."""

    def __init__(self, issuers: Sequence[TrustedIssuer], world: World) -> None:
        self._sources = {one.issuer: KeySource(one.jwks, world) for one in issuers}
        self._world = world
        self._known: dict[bytes, tuple[float, dict[str, Any]]] = {}  # by the token's digest

    async def verify(self, token: str, audiences: Collection[str]) -> Identity:
        """Whom the token names. ``audiences``: what it may be meant for.

        Refuses: BadToken. It never says more of a key than that the signature is wrong.
        """
        digest, now_s = hashlib.sha256(token.encode()).digest(), self._world.monotonic()
        seen_s, claims = self._known.get(digest, (0.0, None))
        if claims is None or now_s - seen_s > KNOWN_S:
            claims = await self._signed_claims(token)
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[digest] = (now_s, claims)
        check_lifetime(claims, self._world.now_us())
        check_audience(claims, audiences)
        oid = claims.get("oid") or claims.get("sub") or ""
        app_id = claims.get("appid") or claims.get("azp") or ""
        return Identity(str(oid), str(claims.get("tid") or ""), str(app_id))

    async def _signed_claims(self, token: str) -> dict[str, Any]:
        """What a token says, once issuer and signature are right. Refuses: BadToken."""
        import jwt  # 30 ms and 5 MB, with its cryptography, that most processes never need

        try:
            header = jwt.get_unverified_header(token)
            claimed = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            raise BadToken("The token is not a signed JSON web token.") from None
        source = self._sources.get(str(claimed.get("iss")))
        if source is None:
            raise BadToken("Issuer validation failed. The issuer is not trusted here.")
        return check_signature(token, header, await self._keys(source, header))

    async def _keys(self, source: KeySource, header: Mapping[str, Any]) -> list[Jwk]:
        try:
            return await source.find(header.get("kid"))
        except KeysUnavailable as error:
            log.error("token_keys_unavailable", extra={"error": str(error)})
            raise BadToken("The keys of the token's issuer could not be read.") from None


def check_signature(token: str, header: Mapping[str, Any], keys: Sequence[Jwk]) -> dict[str, Any]:
    """The claims of a token that one of the keys signed. Refuses: BadToken."""
    import jwt

    algorithm = header.get("alg")
    for key in keys[:KEYS_TRIED_MAX]:
        if algorithm not in ALGORITHMS.get(str(key.get("kty")), ()):
            continue
        if key.get("alg", algorithm) != algorithm:
            continue
        try:
            found: dict[str, Any] = jwt.decode(
                token,
                jwt.PyJWK.from_dict(key, algorithm=algorithm),
                algorithms=[algorithm],
                # Times and audience are checked by our own clock and in our own words.
                options={
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                    "verify_aud": False,
                },
            )
        except jwt.PyJWTError:
            continue
        return found
    raise BadToken("Signature validation failed. No key of the issuer matches.")


def check_lifetime(claims: Mapping[str, Any], now_us: int) -> None:
    """Refuses: BadToken before ``nbf`` and from ``exp`` on; both with some skew, exp required."""
    now_s = now_us / 1_000_000
    expiry, start = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expiry, int | float) or not isinstance(start, int | float):
        raise BadToken("Lifetime validation failed. The token has no times.")
    if now_s >= expiry + SKEW_S:
        raise BadToken("Lifetime validation failed. The token has expired.")
    if now_s < start - SKEW_S:
        raise BadToken("Lifetime validation failed. The token is not valid yet.")


def check_audience(claims: Mapping[str, Any], audiences: Collection[str]) -> None:
    """Refuses: BadToken for a token meant for others. A slash at the end does not count."""
    meant = claims.get("aud")
    names = meant if isinstance(meant, list) else [meant]
    wanted = {one.rstrip("/") for one in audiences}
    if not any(isinstance(one, str) and one.rstrip("/") in wanted for one in names):
        raise BadToken("Audience validation failed. The audience is not this service.")
