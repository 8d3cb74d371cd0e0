"""User delegation keys: what a bearer token can be turned into, to sign with.

A key is not kept anywhere: it is made from the account's key and its own terms, so every process
that has the account can check a signature by it, and a new account key takes them all back.
Source: REST "Get User Delegation Key", "Create a user delegation SAS".
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping
from typing import NamedTuple

from lote.storage.times import parse_iso_time, second_time

PURPOSE = "lote user delegation key 1"  # no signature of a client can be of such a text


class DelegationKey(NamedTuple):
    """The terms of a key: for whom (object and tenant id), its life in microseconds, for which
    service and version, and from which tenant a user may use it ("": any)."""

    oid: str
    tid: str
    start_us: int
    expiry_us: int
    service: str
    version: str
    user_tid: str = ""

    def value(self, account: str, account_key: bytes) -> bytes:
        """The key itself."""
        start, expiry = second_time(self.start_us), second_time(self.expiry_us)
        terms = (self.oid, self.tid, start, expiry, self.service, self.version, self.user_tid)
        text = "\n".join((PURPOSE, account, *terms))
        return hmac.digest(account_key, text.encode(), hashlib.sha256)

    def text(self, account: str, account_key: bytes) -> str:
        """The key in base64, as clients get it."""
        return b64encode(self.value(account, account_key)).decode()


def parse_delegation(sas: Mapping[str, str]) -> DelegationKey:
    """The terms that a signature says its key has. Refuses: ``ValueError`` for no times."""
    return DelegationKey(
        sas.get("skoid", ""),
        sas.get("sktid", ""),
        parse_iso_time(sas.get("skt", "")),
        parse_iso_time(sas.get("ske", "")),
        sas.get("sks", ""),
        sas.get("skv", ""),
        sas.get("skdutid", ""),
    )
