"""How an account is reached by people: its endpoint, with a key, with a signature, or with neither.

``accounts.StorageAccount`` is stricter: the service needs a key to sign URLs for tasks.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

from lote.blobs.accounts import DEFAULT_SUFFIX, DEVELOPMENT, connection_fields
from lote.blobs.urls import is_host_style, parse_url


class Reach(NamedTuple):
    """An account's endpoint without a slash at its end, its name, and what opens it.

    ``key`` in base64, ``sas`` as query text; one of them or none.
    """

    endpoint: str
    name: str
    key: str = ""
    sas: str = ""

    def __repr__(self) -> str:
        opened = "key=…" if self.key else "sas=…" if self.sas else "no key"
        return f"Reach({self.endpoint!r}, {self.name!r}, {opened})"

    def container_url(self, container: str) -> str:
        """A container's URL, without any right."""
        return f"{self.endpoint}/{quote(container, safe='$')}"

    def blob_url(self, container: str, blob: str) -> str:
        """A blob's URL, without any right."""
        return f"{self.container_url(container)}/{quote(blob, safe='/~')}"


def reach_of_connection_string(text: str) -> Reach:
    """Take a connection string apart, with a key or with a shared access signature.

    Refuses (``ValueError``, which never repeats the string): one that names neither.
    """
    fields = connection_fields(text)
    if fields.get("usedevelopmentstorage", "").lower() == "true":
        fields = connection_fields(DEVELOPMENT)
    name, key = fields.get("accountname", ""), fields.get("accountkey", "")
    sas = fields.get("sharedaccesssignature", "").lstrip("?")
    endpoint = fields.get("blobendpoint", "")
    if not (name and key) and not sas:
        raise ValueError(
            "a connection string needs AccountName and AccountKey, or SharedAccessSignature"
        )
    if not endpoint and not name:
        raise ValueError("a connection string needs BlobEndpoint or AccountName")
    if not endpoint:
        protocol = fields.get("defaultendpointsprotocol", "https")
        endpoint = f"{protocol}://{name}.blob.{fields.get('endpointsuffix', DEFAULT_SUFFIX)}"
    parts = urlsplit(endpoint)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("a connection string's BlobEndpoint is an http or https URL")
    # An endpoint may carry the signature itself.
    sas = sas or parts.query
    endpoint = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    if not name:
        host, path = parts.hostname, parts.path.strip("/")
        name = host.partition(".")[0] if is_host_style(host) else path.partition("/")[0]
    return Reach(endpoint, name, key, "" if key else sas)


def reach_of_url(url: str) -> tuple[Reach, str, str]:
    """The account, container and blob (or ``""``) of a URL; its signature opens the account.

    Refuses (``ValueError``): other schemes than http and https, a URL without a container.
    """
    address = parse_url(url)
    sas = address.query if "sig=" in address.query else ""
    return Reach(address.endpoint, address.account, "", sas), address.container, address.blob
