"""The pages of the development issuer: metadata, keys, and tokens for its application.

They lie in front of the data plane on the HTTPS listener, below the tenant's id, where libraries
for the provider's identity platform look for them. Source: RFC 6749, 4.4 (client credentials);
OpenID Connect Discovery 1.0.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs, unquote

from lote.server.asgi import (
    BodyTooLarge,
    ClientGone,
    Receive,
    Scope,
    Send,
    headers_of,
    read_body,
    send_answer,
)
from lote.tokens.issuer import TOKEN_S, DevelopmentIssuer, audience_of

BODY_BYTES_MAX = 64 << 10
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class NoToken(Exception):
    """A request for a token that is refused: an error code of RFC 6749, and why."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.code, self.text = status, code, text


class TokenPages:
    """Answers what is below the tenant's id; everything else is ``inner``'s."""

    def __init__(self, issuer: DevelopmentIssuer, inner: Application) -> None:
        self._issuer = issuer
        self._inner = inner
        tenant = issuer.application.tenant
        token, metadata = self._token, self._metadata
        self._pages: dict[tuple[str, str], Callable[..., Awaitable[None]]] = {
            ("GET", f"/{tenant}/v2.0/.well-known/openid-configuration"): metadata,
            ("GET", f"/{tenant}/.well-known/openid-configuration"): metadata,
            ("GET", f"/{tenant}/discovery/v2.0/keys"): self._keys,
            ("GET", f"/{tenant}/discovery/keys"): self._keys,
            ("POST", f"/{tenant}/oauth2/v2.0/token"): token,
            ("POST", f"/{tenant}/oauth2/token"): token,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        page = None
        if scope["type"] == "http":
            page = self._pages.get((scope["method"], scope["path"].lower()))
        if page is None:
            await self._inner(scope, receive, send)
            return
        try:
            await page(scope, receive, send)
        except NoToken as refused:
            body = {"error": refused.code, "error_description": refused.text}
            await _send_json(send, refused.status, body)
        except ClientGone:
            return

    async def _metadata(self, scope: Scope, receive: Receive, send: Send) -> None:
        host = headers_of(scope).get("host", "")
        await _send_json(send, 200, self._issuer.metadata(f"{scope['scheme']}://{host}"))

    async def _keys(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _send(send, 200, self._issuer.key_set())

    async def _token(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            body = await read_body(receive, BODY_BYTES_MAX)
        except BodyTooLarge:
            raise NoToken(413, "invalid_request", "The request is too long.") from None
        form = {name: values[0] for name, values in parse_qs(body.decode("latin-1")).items()}
        audience = self._check(form, headers_of(scope).get("authorization", ""))
        found: dict[str, Any] = {
            "token_type": "Bearer",
            "expires_in": TOKEN_S,
            "ext_expires_in": TOKEN_S,
            "access_token": self._issuer.issue([audience]),
        }
        await _send_json(send, 200, found)

    def _check(self, form: dict[str, str], authorization: str) -> str:
        """The audience that a proper request asks for. Refuses: NoToken."""
        client = basic_credentials(authorization)
        if client is None:
            client = form.get("client_id", ""), form.get("client_secret", "")
        if not self._issuer.is_client(*client):
            raise NoToken(401, "invalid_client", "Client id and secret do not match.")
        if form.get("grant_type") != "client_credentials":
            raise NoToken(400, "unsupported_grant_type", "Only client_credentials is served.")
        audience = audience_of(form.get("scope", "")) or form.get("resource", "")
        if not audience or " " in audience:
            raise NoToken(400, "invalid_scope", "Ask for one scope: a resource and /.default.")
        return audience


def basic_credentials(authorization: str) -> tuple[str, str] | None:
    """User and password of an ``Authorization: Basic``, None for any other."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return unquote(user), unquote(password)


async def _send_json(send: Send, status: int, body: dict[str, Any]) -> None:
    await _send(send, status, json.dumps(body).encode())


async def _send(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send_answer(send, status, headers, body)
