"""Addresses of containers and blobs: taking them apart, putting them together, hiding secrets.

Two styles exist: the account as the host's first label
(``https://name.blob.core.windows.net/container/blob``) and, used by emulators and the built-in
endpoint, the account as the first part of the path (``http://127.0.0.1:10000/name/container/blob``).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit, urlunsplit

SECRET_PARAMETER = re.compile(r"(?i)([?&;](?:sig|sas|token|password|access_token)=)[^&#\s\"']*")
USER_PASSWORD = re.compile(r"(?i)(https?://)[^/@\s]+@")


class BlobAddress(NamedTuple):
    """Where a blob is, or a container (then ``blob`` is empty); ``query`` keeps the SAS."""

    endpoint: str
    account: str
    container: str
    blob: str
    query: str


def redact(url: str) -> str:
    """The text with the values of signatures and passwords in URLs replaced."""
    return USER_PASSWORD.sub(r"\1REDACTED@", SECRET_PARAMETER.sub(r"\1REDACTED", url))


def is_host_style(host: str) -> bool:
    """Whether the account is the host's first label: so it is at every provider's blob service."""
    return "blob" in host.lower().split(".")[1:]


def parse_url(url: str) -> BlobAddress:
    """Take a container or blob URL apart; names come back decoded.

    Refuses (``ValueError``): other schemes than http and https, a URL without a container.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http(s) URL: {redact(url)}")
    endpoint = f"{parts.scheme}://{parts.netloc}"
    path = parts.path.lstrip("/")
    if is_host_style(parts.hostname):
        account = parts.hostname.partition(".")[0]
    else:
        account, _, path = path.partition("/")
        endpoint = f"{endpoint}/{account}"
    container, _, blob = path.partition("/")
    if not container:
        raise ValueError(f"no container in the URL: {redact(url)}")
    return BlobAddress(endpoint, unquote(account), unquote(container), unquote(blob), parts.query)


def compose_url(address: BlobAddress) -> str:
    """The URL of an address; the opposite of ``parse_url``."""
    path = "/".join(quote(part, safe="/~") for part in (address.container, address.blob) if part)
    url = f"{address.endpoint}/{path}"
    return f"{url}?{address.query}" if address.query else url


def blob_url(container_url: str, name: str) -> str:
    """The URL of a blob in a container, keeping the container URL's SAS.

    The name is percent-encoded; ``/`` stays, as it separates virtual folders.
    """
    parts = urlsplit(container_url)
    path = f"{parts.path.rstrip('/')}/{quote(name, safe='/~')}"
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))


def with_query(url: str, query: str) -> str:
    """The URL with more query text, ``a=b&c=d`` already encoded, after what it has."""
    parts = urlsplit(url)
    joined = "&".join(part for part in (parts.query, query) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, joined, ""))
