"""`lote storage sas`: a URL that lets its holder do something for a time."""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

from lote.blobs.remote import RemoteAccount, Signature
from lote.cli.storage.accounts import Accounts
from lote.cli.storage.names import BadName, Remote
from lote.cli.storage.spans import BadTime, parse_moment, shown_time
from lote.world import World

# REST "Create a service SAS": the letters, and for what they are.
BLOB_PERMISSIONS = "racwdxytmei"
CONTAINER_PERMISSIONS = "racwdxyltfmei"


class BadSignature(ValueError):
    """Something that can't be signed for; the text says what could."""


class Wanted(NamedTuple):
    """What the command line asks for; empty means the usual."""

    permissions: str = ""
    expiry: str = "1h"
    start: str = ""
    ip: str = ""
    https_only: bool = False


class Signed(NamedTuple):
    """The URL, and what it allows."""

    url: str
    allowed: Signature

    def members(self) -> dict[str, Any]:
        """For programs."""
        allowed = self.allowed
        return {
            "url": self.url,
            "permissions": allowed.permissions,
            "start": shown_time(allowed.start) if allowed.start else None,
            "expiry": shown_time(allowed.expiry),
            "ip": allowed.ip or None,
            "httpsOnly": allowed.https_only,
        }


def sign(accounts: Accounts, place: Remote, wanted: Wanted, world: World) -> Signed:
    """The URL of a container or a blob, whose name is taken as it is.

    Refuses: ``BadSignature``, ``BadName``, ``BadTime``.
    """
    if not place.container:
        raise BadName("name a container or a blob, as in az://CONTAINER/BLOB")
    if place.is_folder:
        raise BadName(f"{place.shown}: a signature is for one blob, or for a whole container")
    now_us = world.now_us()
    expiry = parse_moment(wanted.expiry, now_us)
    start = parse_moment(wanted.start, now_us) if wanted.start else None
    if expiry.timestamp() * 1e6 <= now_us:
        raise BadTime(f"--expiry {wanted.expiry} is over already")
    if start is not None and start >= expiry:
        raise BadTime(f"--start {wanted.start} is not before --expiry {wanted.expiry}")
    permissions = wanted.permissions or ("r" if place.name else "rl")
    allowed = Signature(
        check_permissions(permissions, place), expiry, start, check_ip(wanted.ip), wanted.https_only
    )
    account = accounts.of(place)
    if wanted.https_only:
        account = over_tls(account, accounts)
    return Signed(account.signed_url(place.container, place.name, allowed), allowed)


def check_permissions(letters: str, place: Remote) -> str:
    """The letters in the service's order. Refuses (``BadSignature``) those that mean nothing."""
    known = BLOB_PERMISSIONS if place.name else CONTAINER_PERMISSIONS
    unknown = "".join(sorted(set(letters) - set(known)))
    if unknown == "l":
        raise BadSignature("--permissions l (list) is for containers; a blob can't be listed")
    if unknown:
        raise BadSignature(
            f"--permissions {unknown!r}: not known; r read, a add, c create, w write, d delete,"
            " l list, t tags and others of the protocol"
        )
    return "".join(letter for letter in known if letter in letters)


def check_ip(text: str) -> str:
    """An address or a range ``FIRST-LAST``. Refuses: ``BadSignature``."""
    if not text:
        return ""
    try:
        addresses = [ipaddress.IPv4Address(part) for part in text.split("-", 1)]
    except ValueError:
        raise BadSignature(f"--ip {text}: neither an IPv4 address nor FIRST-LAST") from None
    if addresses[-1] < addresses[0]:
        raise BadSignature(f"--ip {text}: the first address is after the last")
    return text


def over_tls(account: RemoteAccount, accounts: Accounts) -> RemoteAccount:
    """The account at an https address. Refuses: ``BadSignature`` when none is known."""
    if account.reach.endpoint.startswith("https:"):
        return account
    endpoint = accounts.tls_endpoint() if account is accounts.usual() else ""
    if not endpoint:
        raise BadSignature(
            "--https-only: no https address of this account is known; give it by --data or by"
            " a connection string with an https BlobEndpoint"
        )
    return RemoteAccount(account.reach._replace(endpoint=endpoint), ca_file=account.ca_file)
