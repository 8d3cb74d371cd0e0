"""Shared-key signatures of the data plane, as all client variants make them.

The string to sign is rebuilt from the raw request target. Clients differ in three points (whether a
zero Content-Length is signed, whether query parameters without a value are, and the case of query
names), so several candidates are tried.
Source: REST, "Authenticate requests to Batch", and the SDKs' own signers.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterator, Mapping
from functools import lru_cache
from urllib.parse import unquote_plus

from lote.wire.errors import Refused
from lote.wire.formats import parse_http_date

_SIGNED = (
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
_LENGTH = _SIGNED.index("content-length")
CACHED_QUERY_CHARS_MAX = 256  # longer ones are filters, and seldom come twice


def parse_authorization(value: str | None) -> tuple[str, str]:
    """(account, signature) of a SharedKey header. Refuses: none at all, or one of another form."""
    if not value:
        raise Refused("MissingRequiredHeader", values=[("HeaderName", "Authorization")])
    scheme, _, rest = value.strip().partition(" ")
    account, colon, signature = rest.strip().partition(":")
    if scheme.lower() != "sharedkey" or not colon or not account or not signature:
        raise Refused("InvalidAuthenticationInfo")
    return account, signature


def verify(
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    account: str,
    signature: str,
    keys: tuple[str, ...],
) -> None:
    """Check a signature against each of the account's keys. Refuses: AuthenticationFailed."""
    try:
        given = base64.b64decode(signature, validate=True)
    except (binascii.Error, ValueError):
        raise _failed("The signature is not valid base64.") from None
    for text in _candidates(method, raw_path, raw_query, headers, account):
        signed = text.encode("utf-8", "surrogateescape")
        for secret in _secrets(keys):
            if hmac.compare_digest(hmac.digest(secret, signed, "sha256"), given):
                return
    raise _failed(
        "The MAC signature found in the HTTP request is not the same as any computed signature."
    )


def check_date(headers: Mapping[str, str], now_us: int, skew_s: float) -> None:
    """The request's date must be within the skew. Refuses: AuthenticationFailed."""
    text = headers.get("ocp-date") or headers.get("date")
    if not text:
        raise _failed("The request carries neither an ocp-date nor a Date header.")
    try:
        sent_us = _date_us(text)
    except ValueError:
        raise _failed("The date in the request is not an RFC 1123 date.") from None
    if abs(now_us - sent_us) > skew_s * 1_000_000:
        raise _failed("The date in the request is too far from the time of the service.")


@lru_cache(maxsize=8)
def _secrets(keys: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple(base64.b64decode(key) for key in keys)


_date_us = lru_cache(maxsize=256)(parse_http_date)  # clients that are busy repeat a second's date


def _candidates(
    method: str, raw_path: str, raw_query: str, headers: Mapping[str, str], account: str
) -> Iterator[str]:
    """The texts that may have been signed, the likeliest first."""
    # Most reads have none of them, and C sees that at once.
    has_none = headers.keys().isdisjoint(_SIGNED)
    values = [""] * len(_SIGNED) if has_none else [headers.get(name, "") for name in _SIGNED]
    signed_too = sorted([name for name in headers if name.startswith("ocp-")])
    ocp = "".join([f"{name}:{headers[name].strip()}\n" for name in signed_too])
    is_short = len(raw_query) <= CACHED_QUERY_CHARS_MAX
    tails = _short_query_tails(raw_query) if is_short else _query_tails(raw_query)
    for length in ("0", "") if values[_LENGTH] == "0" else (values[_LENGTH],):
        values[_LENGTH] = length
        head = "\n".join([method, *values])
        for tail in tails:
            yield f"{head}\n{ocp}/{account}{raw_path}{tail}"


def _query_tails(raw_query: str) -> tuple[str, ...]:
    """The query as clients sign it: without parameters that have no value, and with them."""
    given, filled = _first_values(raw_query)
    tails = [_tail(filled)]
    if len(filled) < len(given):
        tails.append(_tail(given))
    lower = [name.lower() for name in sorted(given)]
    if lower != sorted(given):
        # Lower-cased names keep the order of the original ones, as .NET does it.
        tails += [_tail(filled, lower=True), _tail(given, lower=True)]
    return tuple(tails)


_short_query_tails = lru_cache(maxsize=256)(_query_tails)


def _tail(query: Mapping[str, str], *, lower: bool = False) -> str:
    return "".join(f"\n{name.lower() if lower else name}:{query[name]}" for name in sorted(query))


def _first_values(raw_query: str) -> tuple[dict[str, str], dict[str, str]]:
    """First value of each parameter, form-decoded: of all, and of those that have a value."""
    given: dict[str, str] = {}
    filled: dict[str, str] = {}
    for part in raw_query.split("&"):
        name, _, value = part.partition("=")
        if not part:
            continue
        decoded, text = unquote_plus(name), unquote_plus(value)
        given.setdefault(decoded, text)
        if value:
            filled.setdefault(decoded, text)
    return given, filled


def _failed(detail: str) -> Refused:
    return Refused("AuthenticationFailed", values=[("AuthenticationErrorDetail", detail)])
