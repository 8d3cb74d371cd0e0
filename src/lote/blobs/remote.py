"""An account as people at a terminal use it, over the official SDK: look, sign, make, delete.

``carry`` moves the bytes. Everything that fails is a ``BlobError``. The SDK is loaded when an
account is first used; importing this module is cheap.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from lote.blobs.authorities import trusted_authorities
from lote.blobs.external import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, SdkFailures, sdk_errors
from lote.blobs.failure import BlobError
from lote.blobs.reach import Reach

if TYPE_CHECKING:
    from azure.storage.blob import BlobServiceClient

# The SDK's own pauses begin at 15 s: a service that is down would be noticed after a minute.
RETRIES = 4
BACKOFF_S = 1
BACKOFF_BASE_S = 2
CONNECT_RETRIES = 1  # after 4 s in all, in which a service has started again
# One request takes a file up to here; above, blocks of this size go in parallel.
SINGLE_BYTES_MAX = 8 << 20
BLOCKS_MAX = 50_000  # REST: Put Block List


class ContainerEntry(NamedTuple):
    """A container in a list."""

    name: str
    modified: datetime | None


class BlobEntry(NamedTuple):
    """A blob in a list: size in bytes, ``md5`` as stored or None, ETag without quotes."""

    container: str
    name: str
    size: int
    modified: datetime | None
    kind: str
    content_type: str
    md5: bytes | None
    etag: str
    tier: str


class FolderEntry(NamedTuple):
    """A run of blobs whose names begin alike up to a slash; ``name`` ends with it."""

    container: str
    name: str


class Signature(NamedTuple):
    """What a signed URL allows: ``permissions`` as letters, ``ip`` an address or a range or ``""``.

    Source: REST "Create a service SAS".
    """

    permissions: str
    expiry: datetime
    start: datetime | None = None
    ip: str = ""
    https_only: bool = False


class RemoteAccount:
    """An account over ``azure-storage-blob``; safe for several threads.

    ``ca_file``: the authorities to trust instead of the system's. ``block_bytes``: the size of
    blocks, for content whose length is not known.
    """

    def __init__(
        self, reach: Reach, *, ca_file: str | None = None, block_bytes: int = SINGLE_BYTES_MAX
    ) -> None:
        self.reach = reach
        self.ca_file = ca_file
        self._block_bytes = block_bytes

    @cached_property
    def client(self) -> BlobServiceClient:
        """The SDK's client."""
        from azure.storage.blob import BlobServiceClient, ExponentialRetry

        reach = self.reach
        key = {"account_name": reach.name, "account_key": reach.key} if reach.key else None
        return BlobServiceClient(
            reach.endpoint,
            credential=key or reach.sas or None,
            connection_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            connection_verify=self.ca_file or trusted_authorities(),
            retry_policy=ExponentialRetry(
                initial_backoff=BACKOFF_S,
                increment_base=BACKOFF_BASE_S,
                retry_total=RETRIES,
                retry_connect=CONNECT_RETRIES,
                random_jitter_range=0,
            ),
            max_single_put_size=SINGLE_BYTES_MAX,
            max_block_size=self._block_bytes,
            max_single_get_size=SINGLE_BYTES_MAX,
            max_chunk_get_size=SINGLE_BYTES_MAX,
        )

    def with_blocks_for(self, size_bytes: int) -> RemoteAccount:
        """This account, with blocks so large that a blob of this size has not too many."""
        needed = -(-size_bytes // BLOCKS_MAX)
        if needed <= self._block_bytes:
            return self
        return RemoteAccount(self.reach, ca_file=self.ca_file, block_bytes=needed)

    def close(self) -> None:
        """Close connections."""
        if "client" in self.__dict__:
            self.client.close()

    def failures(self, container: str = "", blob: str = "") -> SdkFailures:
        """Turns the SDK's exceptions into ``BlobError`` within the block."""
        if not container:
            return SdkFailures(self.reach.endpoint)
        reach = self.reach
        return SdkFailures(
            reach.blob_url(container, blob) if blob else reach.container_url(container)
        )

    # -- looking ----------------------------------------------------------------------------

    def containers(self) -> Iterator[ContainerEntry]:
        """All containers by name, page by page."""
        with self.failures():
            for one in self.client.list_containers():
                yield ContainerEntry(one.name, one.last_modified)

    def blobs(self, container: str, prefix: str = "") -> Iterator[BlobEntry]:
        """Blobs whose names begin with ``prefix``, by name, page by page."""
        with self.failures(container):
            box = self.client.get_container_client(container)
            for one in box.list_blobs(prefix or None):
                yield entry_of(container, one)

    def runs(self, container: str, prefix: str = "") -> Iterator[BlobEntry | FolderEntry]:
        """The same, but those with a slash after the prefix come as one ``FolderEntry`` each."""
        with self.failures(container):
            box = self.client.get_container_client(container)
            for page in box.walk_blobs(prefix or None, delimiter="/").by_page():
                # A page is told as its runs, then its blobs; over pages names only grow.
                for one in sorted(page, key=lambda one: one.name.encode()):
                    # The SDK's class for a run of blobs has no size.
                    is_blob = hasattr(one, "size")
                    yield entry_of(container, one) if is_blob else FolderEntry(container, one.name)

    def find(self, container: str, blob: str) -> BlobEntry | None:
        """A blob's description, or None when there is no such blob or container."""
        with self.failures(container, blob):
            try:
                found = self.client.get_blob_client(container, blob).get_blob_properties()
            except sdk_errors().ResourceNotFoundError:
                return None
            return entry_of(container, found)

    # -- changing ---------------------------------------------------------------------------

    def ensure_container(self, container: str) -> bool:
        """Make a container if it is missing; whether it was."""
        with self.failures(container):
            try:
                self.client.create_container(container)
            except sdk_errors().ResourceExistsError as error:
                if error.error_code != "ContainerAlreadyExists":
                    raise  # it is being deleted
                return False
            return True

    def delete_blob(self, container: str, blob: str) -> None:
        """Delete a blob and its snapshots. Refuses: ``BlobError``, also of kind not_found."""
        with self.failures(container, blob):
            self.client.get_blob_client(container, blob).delete_blob(delete_snapshots="include")

    def delete_container(self, container: str) -> None:
        """Delete a container and all in it. Refuses: ``BlobError``, also of kind not_found."""
        with self.failures(container):
            self.client.delete_container(container)

    # -- signing ----------------------------------------------------------------------------

    def signed_url(self, container: str, blob: str, allowed: Signature) -> str:
        """The URL of a container, or of a blob, with a right.

        Refuses: ``BlobError`` without the account's key, ``ValueError`` for permissions that
        there are not.
        """
        from azure.storage.blob import generate_blob_sas, generate_container_sas

        reach = self.reach
        if not reach.key:
            url = reach.blob_url(container, blob) if blob else reach.container_url(container)
            raise BlobError("access_denied", url, "only the account's key can sign", code="NoKey")
        words: dict[str, Any] = {
            "account_key": reach.key,
            "permission": allowed.permissions,
            "expiry": allowed.expiry,
            "start": allowed.start,
            "ip": allowed.ip or None,
            "protocol": "https" if allowed.https_only else None,
        }
        if blob:
            sas = generate_blob_sas(reach.name, container, blob, **words)
            return f"{reach.blob_url(container, blob)}?{whole(sas)}"
        sas = generate_container_sas(reach.name, container, **words)
        return f"{reach.container_url(container)}?{whole(sas)}"


def whole(sas: str) -> str:
    """The SDK leaves slashes as they are, at which some readers of URLs stumble."""
    return sas.replace("/", "%2F")


def entry_of(container: str, found: Any) -> BlobEntry:  # noqa: ANN401 - the SDK's BlobProperties
    """The SDK's description of a blob, as far as we use it."""
    md5 = found.content_settings.content_md5
    return BlobEntry(
        container,
        found.name,
        found.size,
        found.last_modified,
        str(getattr(found.blob_type, "value", found.blob_type)),
        found.content_settings.content_type or "",
        bytes(md5) if md5 else None,
        str(found.etag).strip('"'),
        str(found.blob_tier or ""),
    )
