"""What a backup says of itself: ``manifest.json``, and ``SHA256SUMS`` with a line for each file.

The sums are in the format of ``sha256sum``, so ``sha256sum -c SHA256SUMS`` checks a backup without
this program. The manifest has the sum of the sums.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lote.upkeep.failure import RestoreFailed

MANIFEST_NAME = "manifest.json"
SUMS_NAME = "SHA256SUMS"
CONTENT_NAME = "data"  # below it lies what a data folder holds
FORMAT = 1  # raised when an older restore could not read it
_LINE = re.compile(r"([0-9a-f]{64})  (data/[^\n\\]+)\n")


class Part(msgspec.Struct):
    """How much of one kind there is."""

    files: int = 0
    bytes: int = 0


class Manifest(msgspec.Struct, kw_only=True):
    """``manifest.json``. It holds no secrets."""

    format: int
    lote: str
    """Version of the program that wrote it."""
    made: str
    """When its snapshot of the account was begun, UTC."""
    account: str
    schemas: dict[str, int]
    """Schema number of each database, by its path in the data folder."""
    parts: dict[str, Part]
    """What there is, by the first part of its path in the data folder."""
    sums_sha256: str
    lost_blob_files: int = 0
    """Files that the blob store's rows name but that were not there: damage older than this."""

    @property
    def files(self) -> int:
        """All files."""
        return sum(one.files for one in self.parts.values())

    @property
    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(one.bytes for one in self.parts.values())


class Sum(msgspec.Struct, frozen=True):
    """A file of the backup, by its path below ``data``, and its SHA-256."""

    path: str
    sha256: str

    @property
    def line(self) -> bytes:
        """Its line of ``SHA256SUMS``."""
        return f"{self.sha256}  {CONTENT_NAME}/{self.path}\n".encode()


def read_manifest(source: Path) -> Manifest:
    """The manifest of a backup. Refuses (RestoreFailed): what is no backup, or is too new."""
    try:
        content = (source / MANIFEST_NAME).read_bytes()
        written = msgspec.json.decode(content, type=dict[str, object]).get("format")
        if not isinstance(written, int):
            raise msgspec.ValidationError("it has no format number")
        if written > FORMAT:
            raise RestoreFailed(
                f"{source} has format {written}; this Lote reads {FORMAT}. Use a newer one."
            )
        return msgspec.json.decode(content, type=Manifest)
    except (FileNotFoundError, NotADirectoryError):
        raise RestoreFailed(f"{source} is not a backup: it has no {MANIFEST_NAME}.") from None
    except msgspec.DecodeError as error:
        raise RestoreFailed(f"{source / MANIFEST_NAME} is damaged: {error}.") from None


def read_sums(source: Path, manifest: Manifest) -> Iterator[Sum]:
    """The files of a backup. Refuses (RestoreFailed): sums that are not those of the manifest,
    and paths that would lead out of the folder."""
    path = source / SUMS_NAME
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != manifest.sums_sha256:
            raise RestoreFailed(f"{path} is not what it was when the backup was made.")
        with path.open("rb") as file:
            for line in file:
                yield parse_sum(line)
    except FileNotFoundError:
        raise RestoreFailed(f"{source} is not whole: it has no {SUMS_NAME}.") from None


def parse_sum(line: bytes) -> Sum:
    """A line of ``SHA256SUMS``. Refuses (RestoreFailed)."""
    match = _LINE.fullmatch(line.decode(errors="surrogateescape"))
    if match is None:
        raise RestoreFailed(f"{SUMS_NAME} has a line that is none: {line[:80]!r}.")
    path = match[2].removeprefix(f"{CONTENT_NAME}/")
    if any(part in ("", ".", "..") for part in path.split("/")):
        raise RestoreFailed(f"{SUMS_NAME} names a path that leaves its folder: {path!r}.")
    return Sum(path, match[1])
