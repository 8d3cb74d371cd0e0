"""Digests of bodies: the protocol's CRC64, and what a request may say of its bytes."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.storage.digests import Digests, Wanted, checked, parse_wanted, parse_wanted_source
from lote.storage.errors import Refused

MASK = 2**64 - 1
POLYNOMIAL = 0x9A6C9329AC4BC9B5  # CRC-64/NVME, bits reversed
CHECK = 0xAE8B14860A799888  # of b"123456789", as catalogues of CRCs give it


def bit_by_bit(content):
    """The definition, as slow as it is plain."""
    crc = MASK
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (POLYNOMIAL if crc & 1 else 0)
    return (crc ^ MASK).to_bytes(8, "little")


def digests_of(body, **which):
    found = Digests(**which)
    found.update(body)
    return found


def text(digest):
    return b64encode(digest).decode()


def test_the_check_value():
    assert digests_of(b"123456789", crc64=True).crc64 == CHECK.to_bytes(8, "little")
    assert bit_by_bit(b"123456789") == CHECK.to_bytes(8, "little")


@given(st.lists(st.binary(max_size=200), max_size=5))
def test_digests_of_pieces_are_those_of_the_whole(pieces):
    found = Digests(md5=True, crc64=True)
    for piece in pieces:
        found.update(memoryview(piece))
    whole = b"".join(pieces)
    assert (found.md5, found.crc64) == (hashlib.md5(whole).digest(), bit_by_bit(whole))


def test_what_nobody_asked_for_is_not_there():
    found = digests_of(b"x")
    assert (found.md5, found.crc64, found.headers()) == (None, None, {})
    assert list(digests_of(b"x", crc64=True).headers()) == ["x-ms-content-crc64"]
    assert list(digests_of(b"x", md5=True).headers()) == ["Content-MD5"]


MD5, CRC64 = hashlib.md5(b"x").digest(), bit_by_bit(b"x")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, ""),
        ({"content-md5": text(MD5)}, ""),
        ({"x-ms-content-crc64": text(CRC64)}, ""),
        ({"content-md5": text(b"0" * 16)}, "Md5Mismatch"),
        ({"x-ms-content-crc64": text(b"0" * 8)}, "Crc64Mismatch"),
        ({"content-md5": text(CRC64)}, "InvalidMd5"),
        ({"content-md5": ""}, "InvalidMd5"),
        ({"content-md5": "?"}, "InvalidMd5"),
        ({"x-ms-content-crc64": text(MD5)}, "InvalidHeaderValue"),
        ({"x-ms-content-crc64": "?"}, "InvalidHeaderValue"),
        (
            {"content-md5": text(MD5), "x-ms-content-crc64": text(CRC64)},
            "BothCrc64AndMd5HeaderPresent",
        ),
    ],
)
def test_what_a_request_says_is_checked(headers, code):
    found = ""
    try:
        wanted = parse_wanted(headers)
        wanted.check(digests_of(b"x", md5=True, crc64=True))
    except Refused as refused:
        found = refused.code
    assert found == code


def test_nothing_wanted_is_always_met():
    Wanted().check(digests_of(b"x"))


def test_a_block_is_told_of_by_one_digest():
    assert checked(b"x", Wanted()).headers() == {"x-ms-content-crc64": text(CRC64)}
    assert checked(b"x", Wanted(md5=MD5)).headers() == {"Content-MD5": text(MD5)}
    wanted = parse_wanted_source({"x-ms-source-content-crc64": text(CRC64), "content-md5": "?"})
    assert wanted == Wanted(crc64=CRC64)
