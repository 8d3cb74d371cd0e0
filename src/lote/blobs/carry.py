"""Moving the bytes of blobs for people, over the official SDK: up, down, and across.

Sinks and sources are open files; ``on_bytes`` is told how many more bytes have gone, from any
thread, and may raise to break off.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol

from lote.blobs.external import sdk_errors
from lote.blobs.failure import BlobError
from lote.blobs.remote import SINGLE_BYTES_MAX, RemoteAccount

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient

OnBytes = Callable[[int], None]

FILE_THREADS = 4  # for one large file; small ones go side by side
STREAM_BLOCK_BYTES = 16 << 20  # 50,000 of them: 780 GiB from a pipe
COPY_POLL_S = 0.2


class BlobPlace(NamedTuple):
    """A blob of an account."""

    account: RemoteAccount
    container: str
    name: str

    @property
    def url(self) -> str:
        """Without any right."""
        return self.account.reach.blob_url(self.container, self.name)

    @property
    def client(self) -> BlobClient:
        """The SDK's client of this blob."""
        return self.account.client.get_blob_client(self.container, self.name)


class Readable(Protocol):
    """Where content comes from, once and in order."""

    def read(self, size: int, /) -> bytes:
        """Up to ``size`` bytes; none at the end."""


class AlreadyThere(Exception):
    """The blob exists, and was not to be replaced."""


class Kind(NamedTuple):
    """How a blob's content is described: its type, and its MD5 when that is known."""

    content_type: str
    md5: bytes | None = None


def upload_file(
    source: BinaryIO, size: int, target: BlobPlace, kind: Kind, on_bytes: OnBytes, *, replace: bool
) -> None:
    """Write a block blob from an open file of ``size`` bytes. Refuses: ``AlreadyThere``."""
    place = target._replace(account=target.account.with_blocks_for(size))
    _upload(source, size, place, kind, on_bytes, replace=replace)


def upload_stream(
    source: Readable, target: BlobPlace, kind: Kind, on_bytes: OnBytes, *, replace: bool
) -> None:
    """Write a block blob from a pipe, whose length nobody knows. Refuses: ``AlreadyThere``."""
    first = read_whole(source, SINGLE_BYTES_MAX)
    if len(first) < SINGLE_BYTES_MAX:
        _upload(first, len(first), target, kind, on_bytes, replace=replace)
        return
    account = RemoteAccount(
        target.account.reach, ca_file=target.account.ca_file, block_bytes=STREAM_BLOCK_BYTES
    )
    rest = iter(lambda: source.read(SINGLE_BYTES_MAX), b"")
    place = target._replace(account=account)
    _upload(chain([first], rest), None, place, kind, on_bytes, replace=replace)


def read_whole(source: Readable, size: int) -> bytes:
    """``size`` bytes, or fewer at the end; a pipe gives less at a time."""
    pieces, left = [], size
    while left:
        piece = source.read(left)
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _upload(
    content: Any,  # noqa: ANN401 - bytes, a file or an iterable of bytes
    size: int | None,
    target: BlobPlace,
    kind: Kind,
    on_bytes: OnBytes,
    *,
    replace: bool,
    metadata: dict[str, str] | None = None,
    settings: Any = None,  # noqa: ANN401 - the SDK's ContentSettings
) -> None:
    from azure.storage.blob import ContentSettings

    checksum = bytearray(kind.md5) if kind.md5 else None
    with target.account.failures(target.container, target.name):
        try:
            target.client.upload_blob(
                content,
                length=size,
                overwrite=replace,
                content_settings=settings
                or ContentSettings(content_type=kind.content_type, content_md5=checksum),
                metadata=metadata,
                max_concurrency=FILE_THREADS,
                progress_hook=steps_of(on_bytes),
            )
        except sdk_errors().ResourceExistsError as error:
            if error.error_code != "BlobAlreadyExists":
                raise
            raise AlreadyThere from None


def download_file(source: BlobPlace, sink: BinaryIO, on_bytes: OnBytes) -> bytes | None:
    """A blob's bytes as they are stored into a file that can seek; gives the stored MD5 if any."""
    with source.account.failures(source.container, source.name):
        stream = source.client.download_blob(
            max_concurrency=FILE_THREADS, decompress=False, progress_hook=steps_of(on_bytes)
        )
        stream.readinto(sink)
        md5 = stream.properties.content_settings.content_md5
        return bytes(md5) if md5 else None


def download_chunks(source: BlobPlace) -> Iterator[bytes]:
    """A blob's bytes as they are stored, in order, for a pipe."""
    with source.account.failures(source.container, source.name):
        yield from source.client.download_blob(decompress=False).chunks()


def copy_blob(
    source: BlobPlace, target: BlobPlace, on_bytes: OnBytes, stop: threading.Event, *, replace: bool
) -> None:
    """Copy a blob: within the account by the account itself, else through this machine.

    Another account might not reach the source (an emulator, a private network), so it is not
    asked to. Content type and metadata come along. Refuses: ``AlreadyThere``.
    """
    if source.account.reach == target.account.reach:
        _copy_within(source, target, stop, replace=replace)
        on_bytes(0)
        return
    with source.account.failures(source.container, source.name):
        stream = source.client.download_blob(decompress=False)
        found = stream.properties
    _upload(
        _read_from(source, stream),
        found.size,
        target._replace(account=target.account.with_blocks_for(found.size)),
        Kind(""),
        on_bytes,
        replace=replace,
        metadata=found.metadata,
        settings=found.content_settings,
    )


def _read_from(source: BlobPlace, stream: Any) -> Iterator[bytes]:  # noqa: ANN401 - the SDK's
    """The source's chunks; what fails there is told apart from what fails at the target."""
    with source.account.failures(source.container, source.name):
        yield from stream.chunks()


def _copy_within(
    source: BlobPlace, target: BlobPlace, stop: threading.Event, *, replace: bool
) -> None:
    from azure.core import MatchConditions

    sas = source.account.reach.sas
    url = f"{source.url}?{sas}" if sas else source.url
    absent: dict[str, Any] = {} if replace else {"match_condition": MatchConditions.IfMissing}
    with target.account.failures(target.container, target.name):
        try:
            answer = target.client.start_copy_from_url(url, **absent)
        except sdk_errors().ResourceExistsError as error:
            if error.error_code != "BlobAlreadyExists":
                raise
            raise AlreadyThere from None
        status, reason = str(answer["copy_status"]), ""
        while status == "pending":
            if stop.wait(COPY_POLL_S):
                target.client.abort_copy(str(answer["copy_id"]))
                raise BlobError("misc", target.url, "the copy was broken off")
            copy = target.client.get_blob_properties().copy
            status, reason = str(copy.status), copy.status_description or ""
    if status != "success":
        raise BlobError("misc", target.url, f"the copy ended as {status} {reason}".strip())


def steps_of(on_bytes: OnBytes) -> Callable[[int, int | None], None]:
    """The SDK tells totals, from several threads and perhaps out of order; we want differences."""
    before = 0
    lock = threading.Lock()

    def hook(current: int, total: int | None) -> None:
        nonlocal before
        with lock:
            step, before = max(current - before, 0), max(current, before)
        on_bytes(step)

    return hook
