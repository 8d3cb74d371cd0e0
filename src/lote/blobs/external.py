"""What the service itself does with a storage account, over the official SDK.

The SDK costs 54 MB and 0.3 s, so it is loaded when an account is first used, never by agents.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from lote.blobs.accounts import StorageAccount
from lote.blobs.authorities import trusted_authorities
from lote.blobs.failure import BlobError, refused_by_server
from lote.blobs.listing import BlobItem

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

DEFAULT_CONTENT_TYPE = "application/octet-stream"
CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
UNTRUSTED = "its certificate is signed by nobody that is trusted here"


class BlobAccount(Protocol):
    """Containers and blobs of one account. All failures are ``BlobError``."""

    def ensure_container(self, container: str) -> bool:
        """Make a container if it is missing; whether it was."""

    def delete_container(self, container: str) -> None:
        """Delete a container and all in it; one that is missing is as good."""

    def put(
        self,
        container: str,
        blob: str,
        content: bytes,
        *,
        content_type: str = DEFAULT_CONTENT_TYPE,
    ) -> str:
        """Write a blob over what is there; gives its ETag without quotes."""

    def get(self, container: str, blob: str) -> bytes:
        """A blob's bytes. Refuses: ``BlobError`` of kind not_found."""

    def read(self, container: str, blob: str) -> Iterator[bytes]:
        """A blob's bytes, a chunk at a time."""

    def list(self, container: str, prefix: str = "") -> Iterator[BlobItem]:
        """Blobs by name."""

    def delete(self, container: str, blob: str) -> bool:
        """Delete a blob; whether it was there."""


class SdkAccount:
    """A ``BlobAccount`` over ``azure-storage-blob``; any endpoint of the protocol will do.

    ``ca_file``: the authorities to trust instead of the system's (or ``SSL_CERT_FILE``'s).
    """

    def __init__(self, account: StorageAccount, *, ca_file: str | None = None) -> None:
        self._account = account
        self._ca_file = ca_file

    @cached_property
    def _client(self) -> BlobServiceClient:
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(
            self._account.blob_endpoint,
            credential={"account_name": self._account.name, "account_key": self._account.key},
            connection_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            connection_verify=self._ca_file or trusted_authorities(),
        )

    def close(self) -> None:
        """Close connections."""
        if "_client" in self.__dict__:
            self._client.close()

    def ensure_container(self, container: str) -> bool:
        """Make a container if it is missing; whether it was."""
        with self._failures(container):
            try:
                self._client.create_container(container)
            except sdk_errors().ResourceExistsError:
                return False
            return True

    def delete_container(self, container: str) -> None:
        """Delete a container and all in it; one that is missing is as good."""
        with self._failures(container):
            try:
                self._client.delete_container(container)
            except sdk_errors().ResourceNotFoundError:
                return

    def put(
        self,
        container: str,
        blob: str,
        content: bytes,
        *,
        content_type: str = DEFAULT_CONTENT_TYPE,
    ) -> str:
        """Write a blob over what is there; gives its ETag without quotes."""
        from azure.storage.blob import ContentSettings

        with self._failures(container, blob):
            done = self._client.get_blob_client(container, blob).upload_blob(
                content, overwrite=True, content_settings=ContentSettings(content_type)
            )
            return str(done["etag"]).strip('"')

    def get(self, container: str, blob: str) -> bytes:
        """A blob's bytes. Refuses: ``BlobError`` of kind not_found."""
        return b"".join(self.read(container, blob))

    def read(self, container: str, blob: str) -> Iterator[bytes]:
        """A blob's bytes, a chunk at a time."""
        with self._failures(container, blob):
            yield from self._client.get_blob_client(container, blob).download_blob().chunks()

    def list(self, container: str, prefix: str = "") -> Iterator[BlobItem]:
        """Blobs by name."""
        with self._failures(container):
            listed = self._client.get_container_client(container).list_blobs(prefix or None)
            for blob in listed:
                yield BlobItem(blob.name, blob.size, str(blob.etag).strip('"'))

    def delete(self, container: str, blob: str) -> bool:
        """Delete a blob; whether it was there."""
        with self._failures(container, blob):
            try:
                self._client.get_blob_client(container, blob).delete_blob()
            except sdk_errors().ResourceNotFoundError:
                return False
            return True

    def _failures(self, container: str, blob: str = "") -> SdkFailures:
        account = self._account
        return SdkFailures(
            account.blob_url(container, blob) if blob else account.container_url(container)
        )


class SdkFailures:
    """Turns the SDK's exceptions into ``BlobError``."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None or not isinstance(error, sdk_errors().AzureError):
            return
        status = getattr(error, "status_code", None)
        code = getattr(error, "error_code", None)
        code = getattr(code, "value", code)  # one of the SDK's names, or the service's own text
        reason = str(getattr(error, "reason", None) or type(error).__name__)
        if status is not None:
            raise refused_by_server(self._url, status, str(code) if code else None, reason)
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            reason = UNTRUSTED
        timed_out = "timed out" in str(error).lower()
        raise BlobError("timed_out" if timed_out else "misc", self._url, reason)


def sdk_errors() -> Any:  # noqa: ANN401 - a module, loaded late
    from azure.core import exceptions

    return exceptions
