"""The texts that clients sign. Pure. Sources: REST "Authorize with Shared Key", "Create a service
SAS", "Create an account SAS", "Create a user delegation SAS"."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

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
SAS_VERSION_MIN = "2015-04-05"  # the first with IP addresses and protocol; older ones are refused
SAS_WITH_RESOURCE = "2018-11-09"  # signs sr and the snapshot
SAS_WITH_SCOPE = "2020-12-06"  # signs the encryption scope
SAS_WITH_AGENTS = "2020-02-10"  # user delegation: authorized users and a correlation id
SAS_WITH_USER = "2025-07-05"  # user delegation: the one user, and tenant, that may use it
SAS_WITH_REQUEST = "2026-04-06"  # user delegation: headers and query parameters of the request
EMPTY_LENGTH_SINCE = "2015-02-21"  # an empty body's length is signed as nothing since then
KEPT_ORDERS = 256  # a client's requests of one kind have the same headers
KEPT_ORDER_CHARS = 512  # of the names: anybody may send any
OVERRIDES = ("rscc", "rscd", "rsce", "rscl", "rsct")


def sign(key: bytes, text: str) -> str:
    """The signature of a text, in base64."""
    return b64encode(hmac.digest(key, text.encode(), hashlib.sha256)).decode()


def same_signature(one: str, other: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def shared_key_texts(
    method: str,
    account: str,
    raw_path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
) -> list[str]:
    """The texts a shared-key signature may be of.

    ``account`` is the name before a ``-secondary``; the path is the request's own, whichever way
    the account was named. Two, when the service's own order of header names (hyphens do not count)
    differs from the plain one: clients use either.
    """
    length = headers.get("content-length", "")
    version = headers.get("x-ms-version", EMPTY_LENGTH_SINCE)  # parts of a batch name none
    unsigned = []
    if length == "0" and version >= EMPTY_LENGTH_SINCE:
        unsigned.append("content-length")
    if "x-ms-date" in headers:
        unsigned.append("date")
    values = ["" if name in unsigned else headers.get(name, "") for name in SIGNED_HEADERS]
    start = "\n".join((method, *values)) + "\n"
    end = f"/{account}{raw_path}"
    if query:
        end += "".join([f"\n{name}:{query[name]}" for name in sorted(query)])
    return [f"{start}{text}{end}" for text in _header_texts(headers)]


def shared_key_lite_texts(
    method: str,
    account: str,
    raw_path: str,
    query: Mapping[str, str],
    headers: Mapping[str, str],
) -> list[str]:
    """The same for the short form of the signature."""
    date = "" if "x-ms-date" in headers else headers.get("date", "")
    values = (method, headers.get("content-md5", ""), headers.get("content-type", ""), date)
    comp = f"?comp={query['comp']}" if "comp" in query else ""
    start = "\n".join(values) + "\n"
    return [f"{start}{text}/{account}{raw_path}{comp}" for text in _header_texts(headers)]


class Signed(NamedTuple):
    """What a service or user delegation SAS is for. ``blob`` is "" for a container, ``snapshot``
    its time as the request spells it, "" for the blob itself."""

    account: str
    container: str
    blob: str
    snapshot: str = ""

    def path(self) -> str:
        """The canonical resource."""
        return f"/blob/{self.account}/{self.container}" + (f"/{self.blob}" if self.blob else "")


def service_sas_text(sas: Mapping[str, str], signed: Signed) -> str:
    """What a service SAS signs."""
    values = [*_values(sas, "sp", "st", "se"), signed.path()]
    values += _values(sas, "si", "sip", "spr", "sv")
    if sas.get("sv", "") >= SAS_WITH_RESOURCE:
        values += [sas.get("sr", ""), signed.snapshot]
    if sas.get("sv", "") >= SAS_WITH_SCOPE:
        values += _values(sas, "ses")
    return "\n".join([*values, *_values(sas, *OVERRIDES)])


def delegation_sas_text(
    sas: Mapping[str, str], signed: Signed, request: Mapping[str, str], query: Mapping[str, str]
) -> str:
    """What a user delegation SAS signs; ``request`` are the request's headers, in lower case, and
    ``query`` its parameters, of which the signature may cover some."""
    version = sas.get("sv", "")
    values = [*_values(sas, "sp", "st", "se"), signed.path()]
    values += _values(sas, "skoid", "sktid", "skt", "ske", "sks", "skv")
    if version >= SAS_WITH_AGENTS:
        values += _values(sas, "saoid", "suoid", "scid")
    if version >= SAS_WITH_USER:
        values += _values(sas, "skdutid", "sduoid")
    values += [*_values(sas, "sip", "spr", "sv", "sr"), signed.snapshot]
    if version >= SAS_WITH_SCOPE:
        values += _values(sas, "ses")
    if version >= SAS_WITH_REQUEST:
        values.append("".join(f"{line}\n" for line in _covered(sas, "srh", request)))
        values.append("".join(f"\n{line}" for line in _covered(sas, "srq", query)))
    return "\n".join([*values, *_values(sas, *OVERRIDES)])


def _covered(sas: Mapping[str, str], name: str, sent: Mapping[str, str]) -> list[str]:
    """``name:value`` of what a signature covers, in its order and spelling."""
    names = sas[name].split(",") if sas.get(name) else []
    return [f"{one}:{sent.get(one.lower(), '')}" for one in names]


def _values(sas: Mapping[str, str], *names: str) -> list[str]:
    return [sas.get(name, "") for name in names]


def account_sas_text(sas: Mapping[str, str], account: str) -> str:
    """What an account SAS signs."""
    names = ["sp", "ss", "srt", "st", "se", "sip", "spr", "sv"]
    if sas.get("sv", "") >= SAS_WITH_SCOPE:
        names.append("ses")
    return "\n".join([account, *(sas.get(name, "") for name in names)]) + "\n"


def _header_texts(headers: Mapping[str, str]) -> list[str]:
    names = tuple([name for name in headers if name.startswith("x-ms-")])
    is_usual = sum(map(len, names)) <= KEPT_ORDER_CHARS
    orders = _known_orders(names) if is_usual else _orders(names)
    return ["".join([f"{name}:{headers[name]}\n" for name in order]) for order in orders]


def _orders(names: tuple[str, ...]) -> tuple[list[str], ...]:
    """The orders in which headers of these names may be signed."""
    plain, own = sorted(names), sorted(names, key=_own_order)
    return (plain,) if own == plain else (plain, own)


_known_orders = lru_cache(KEPT_ORDERS)(_orders)


def _own_order(name: str) -> str:
    """The service's order: hyphens do not count, and an underscore comes before digits."""
    return name.replace("-", "").replace("_", "!")


TextsOf = Callable[[str, str, str, Mapping[str, str], Mapping[str, str]], list[str]]
SCHEMES: dict[str, TextsOf] = {
    "SharedKey": shared_key_texts,
    "SharedKeyLite": shared_key_lite_texts,
}
