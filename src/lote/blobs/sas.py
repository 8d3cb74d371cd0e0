"""Service shared access signatures: a right to one container or blob, for a time.

Source: REST "Create a service SAS", version 2020-12-06 and later.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

SAS_VERSION = "2021-12-02"
PERMISSIONS_ORDER = "racwdxyltmeopfi"  # REST: the service refuses any other order
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def container_sas(
    account: str,
    key: str,
    container: str,
    permissions: str,
    expiry_us: int,
    start_us: int | None = None,
) -> str:
    """Query text that allows ``permissions`` (letters such as ``rwl``) on a container's blobs.

    ``key`` in base64; times in microseconds. Refuses (``ValueError``) unknown letters.
    """
    return _sas("c", f"/blob/{account}/{container}", key, permissions, expiry_us, start_us)


def blob_sas(
    account: str,
    key: str,
    container: str,
    blob: str,
    permissions: str,
    expiry_us: int,
    start_us: int | None = None,
) -> str:
    """The same for one blob."""
    resource = f"/blob/{account}/{container}/{blob}"
    return _sas("b", resource, key, permissions, expiry_us, start_us)


def account_sas(account: str, key: str, permissions: str, expiry_us: int) -> str:
    """Query text that allows ``permissions`` on all containers and blobs of an account.

    Source: REST "Create an account SAS". Times in microseconds; ``key`` in base64.
    """
    fields = {"sv": SAS_VERSION, "ss": "b", "srt": "sco", "sp": permissions}
    fields["se"] = sas_time(expiry_us)
    # account, permissions, services, resource types, start, expiry, address, protocol, version,
    # encryption scope; each ends its line.
    signed = (account, permissions, "b", "sco", "", fields["se"], "", "", SAS_VERSION, "", "")
    digest = hmac.digest(b64decode(key), "\n".join(signed).encode(), hashlib.sha256)
    fields["sig"] = b64encode(digest).decode()
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())


def _sas(
    kind: str, resource: str, key: str, permissions: str, expiry_us: int, start_us: int | None
) -> str:
    if not permissions or not set(permissions) <= set(PERMISSIONS_ORDER):
        raise ValueError(f"not permissions of a blob SAS: {permissions!r}")
    ordered = "".join(letter for letter in PERMISSIONS_ORDER if letter in permissions)
    start = sas_time(start_us) if start_us is not None else ""
    expiry = sas_time(expiry_us)
    # After the version: resource kind, snapshot, encryption scope, five answer headers.
    signed = (ordered, start, expiry, resource, "", "", "", SAS_VERSION, kind, *[""] * 7)
    digest = hmac.digest(b64decode(key), "\n".join(signed).encode(), hashlib.sha256)
    fields = {"sv": SAS_VERSION, "sr": kind, "sp": ordered, "st": start, "se": expiry}
    fields["sig"] = b64encode(digest).decode()
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items() if value)


def sas_time(time_us: int) -> str:
    """Whole seconds, UTC, as a signature spells them."""
    return f"{EPOCH + timedelta(seconds=time_us // 1_000_000):%Y-%m-%dT%H:%M:%SZ}"
