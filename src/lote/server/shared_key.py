"""Shared-key signatures of the data plane, as all client variants make them.

The string to sign is rebuilt from the raw request target. Clients differ in two points (whether a
zero Content-Length is signed, and the case of query names), so up to four candidates are tried.
Source: REST, "Authenticate requests to Batch", and the SDKs' own signers.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping
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
    secrets = [base64.b64decode(key) for key in keys]
    for text in _candidates(method, raw_path, raw_query, headers, account):
        signed = text.encode("utf-8", "surrogateescape")
        for secret in secrets:
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
        sent_us = parse_http_date(text)
    except ValueError:
        raise _failed("The date in the request is not an RFC 1123 date.") from None
    if abs(now_us - sent_us) > skew_s * 1_000_000:
        raise _failed("The date in the request is too far from the time of the service.")


def _candidates(
    method: str, raw_path: str, raw_query: str, headers: Mapping[str, str], account: str
) -> list[str]:
    values = [headers.get(name, "") for name in _SIGNED]
    ocp = "".join(
        f"{name}:{headers[name].strip()}\n" for name in sorted(headers) if name.startswith("ocp-")
    )
    query = _first_values(raw_query)
    lengths = [values[2]] if values[2] != "0" else ["0", ""]
    spellings = [query]
    if any(name != name.lower() for name in query):
        spellings.append({name.lower(): query[name] for name in sorted(query)})
    texts = []
    for length in lengths:
        values[2] = length
        head = "\n".join([method, *values])
        for index, spelling in enumerate(spellings):
            # Lower-cased names keep the order of the original ones, as .NET does it.
            names = sorted(spelling) if index == 0 else list(spelling)
            tail = "".join(f"\n{name}:{spelling[name]}" for name in names)
            texts.append(f"{head}\n{ocp}/{account}{raw_path}{tail}")
    return texts


def _first_values(raw_query: str) -> dict[str, str]:
    """First value of each parameter, form-decoded; parameters without a value are not signed."""
    found: dict[str, str] = {}
    for part in raw_query.split("&"):
        name, equals, value = part.partition("=")
        if not equals or not value:
            continue
        decoded = unquote_plus(name)
        if decoded not in found:
            found[decoded] = unquote_plus(value)
    return found


def _failed(detail: str) -> Refused:
    return Refused("AuthenticationFailed", values=[("AuthenticationErrorDetail", detail)])
