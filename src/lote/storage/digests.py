"""Digests of bodies: what a request says of its bytes, and what they turn out to be.

The protocol's CRC64 is CRC-64/NVME; headers have its eight bytes in base64, the lowest first.
Source: REST "Put Block", x-ms-content-crc64.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple, Protocol, cast

from lote.storage.errors import Refused, invalid_header

MD5_BYTES = 16
CRC64_BYTES = 8
CRC64_HEADER = "x-ms-content-crc64"
Bytes = bytes | memoryview


class _Crc(Protocol):
    def calc(self, data: Bytes, init: int | None = None, /) -> int:
        """The CRC of bytes that follow those whose CRC is ``init``."""


class Wanted(NamedTuple):
    """The digests that a request's body must have; None: not said."""

    md5: bytes | None = None
    crc64: bytes | None = None

    def one(self) -> Digests:
        """What is computed of a block: the MD5 if that is wanted, else the CRC64, which the
        answer tells of any block."""
        return Digests(md5=self.md5 is not None, crc64=self.md5 is None)

    def check(self, found: Digests) -> None:
        """Refuses: Md5Mismatch, Crc64Mismatch."""
        if self.md5 is not None and self.md5 != found.md5:
            values = {
                "UserSpecifiedMd5": text_of(self.md5),
                "ServerCalculatedMd5": text_of(found.md5),
            }
            raise Refused("Md5Mismatch", values=values)
        if self.crc64 is not None and self.crc64 != found.crc64:
            values = {
                "UserSpecifiedCrc": text_of(self.crc64),
                "ServerCalculatedCrc": text_of(found.crc64),
            }
            raise Refused("Crc64Mismatch", values=values)


class Digests:
    """Digests of bytes that are given piece by piece; those not asked for are None."""

    def __init__(self, *, md5: bool = False, crc64: bool = False) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None
        self._crc64 = 0 if crc64 else None

    def update(self, piece: Bytes) -> None:
        """Take the next bytes into account."""
        if self._md5 is not None:
            self._md5.update(piece)
        if self._crc64 is not None:
            self._crc64 = _nvme().calc(piece, self._crc64)

    @property
    def md5(self) -> bytes | None:
        """The MD5 of all bytes so far."""
        return self._md5.digest() if self._md5 is not None else None

    @property
    def crc64(self) -> bytes | None:
        """The CRC64 of all bytes so far, as headers have it."""
        return self._crc64.to_bytes(CRC64_BYTES, "little") if self._crc64 is not None else None

    def headers(self) -> dict[str, str]:
        """What an answer tells of the bytes."""
        found = {"Content-MD5": self.md5, CRC64_HEADER: self.crc64}
        return {name: text_of(digest) for name, digest in found.items() if digest is not None}


def parse_wanted(
    headers: Mapping[str, str], md5: str = "content-md5", crc64: str = CRC64_HEADER
) -> Wanted:
    """What a request says of its bytes, in headers of these names.

    Refuses: BothCrc64AndMd5HeaderPresent, InvalidMd5, InvalidHeaderValue for no CRC64.
    """
    if md5 in headers and crc64 in headers:
        raise Refused("BothCrc64AndMd5HeaderPresent")
    found = _decode(headers.get(crc64))
    if crc64 in headers and len(found) != CRC64_BYTES:
        raise invalid_header(crc64, headers[crc64])
    return Wanted(parse_md5(headers.get(md5)), found or None)


def parse_wanted_source(headers: Mapping[str, str]) -> Wanted:
    """What a request says of the bytes at a URL. Refuses: what ``parse_wanted`` does."""
    return parse_wanted(headers, "x-ms-source-content-md5", "x-ms-source-content-crc64")


def parse_md5(text: str | None) -> bytes | None:
    """A digest from its header. Refuses: InvalidMd5."""
    digest = _decode(text)
    if text is not None and len(digest) != MD5_BYTES:
        raise Refused("InvalidMd5")
    return digest or None


def checked(body: Bytes, wanted: Wanted) -> Digests:
    """What is computed of a small body, as of a block. Refuses: what ``Wanted.check`` does."""
    found = wanted.one()
    found.update(body)
    wanted.check(found)
    return found


def text_of(digest: bytes | None) -> str:
    """A digest in base64."""
    return b64encode(digest).decode() if digest is not None else ""


def _decode(text: str | None) -> bytes:
    """Base64; what is none has no length that anybody wants."""
    try:
        return b64decode(text, validate=True) if text is not None else b""
    except ValueError:
        return b""


@cache
def _nvme() -> _Crc:
    from anycrc import Model  # 2.5 MB and 20 ms that a process without such requests goes without

    return cast(_Crc, Model("CRC64-NVME"))
