"""A storage account: its name, a key, and where its blobs are."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import quote

from lote.blobs.sas import blob_sas, container_sas

DEFAULT_SUFFIX = "core.windows.net"
DEVELOPMENT = (  # the emulator's well-known account, which ``UseDevelopmentStorage=true`` means
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlm"
    "EtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;"
    "BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1"
)


class StorageAccount(NamedTuple):
    """An account by shared key. ``key`` in base64; ``blob_endpoint`` without a slash at its end."""

    name: str
    key: str
    blob_endpoint: str

    @classmethod
    def from_connection_string(cls, connection_string: str) -> StorageAccount:
        """Take a connection string apart.

        Refuses (``ValueError``, which never repeats the string): one without name or key, as
        without a key no signed URLs can be made for tasks.
        """
        fields = connection_fields(connection_string)
        if fields.get("usedevelopmentstorage", "").lower() == "true":
            fields = connection_fields(DEVELOPMENT)
        name, key = fields.get("accountname"), fields.get("accountkey")
        if not name or not key:
            raise ValueError("a connection string needs AccountName and AccountKey")
        endpoint = fields.get("blobendpoint")
        if not endpoint:
            protocol = fields.get("defaultendpointsprotocol", "https")
            endpoint = f"{protocol}://{name}.blob.{fields.get('endpointsuffix', DEFAULT_SUFFIX)}"
        return cls(name, key, endpoint.rstrip("/"))

    def __repr__(self) -> str:
        return f"StorageAccount({self.name!r}, {self.blob_endpoint!r})"

    @property
    def connection_string(self) -> str:
        """The account as one string, key included."""
        protocol = self.blob_endpoint.partition(":")[0]
        return (
            f"DefaultEndpointsProtocol={protocol};AccountName={self.name};AccountKey={self.key};"
            f"BlobEndpoint={self.blob_endpoint}"
        )

    def container_url(self, container: str) -> str:
        """A container's URL, without any right."""
        return f"{self.blob_endpoint}/{quote(container, safe='$')}"

    def blob_url(self, container: str, blob: str) -> str:
        """A blob's URL, without any right."""
        return f"{self.container_url(container)}/{quote(blob, safe='/~')}"

    def sas_url(self, container: str, permissions: str, expiry_us: int) -> str:
        """A container's URL with a right, letters such as ``rwl``, until a time in microseconds."""
        sas = container_sas(self.name, self.key, container, permissions, expiry_us)
        return f"{self.container_url(container)}?{sas}"

    def blob_sas_url(self, container: str, blob: str, permissions: str, expiry_us: int) -> str:
        """A blob's URL with a right until a time in microseconds."""
        sas = blob_sas(self.name, self.key, container, blob, permissions, expiry_us)
        return f"{self.blob_url(container, blob)}?{sas}"


def connection_fields(connection_string: str) -> dict[str, str]:
    """The parts of a connection string; their names in lower case."""
    fields = {}
    for field in filter(None, connection_string.strip().split(";")):
        name, _, value = field.partition("=")
        fields[name.strip().lower()] = value.strip()
    return fields
