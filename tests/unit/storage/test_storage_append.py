"""Append blobs: their limits, ranges over many blocks, reads while more is appended."""

from __future__ import annotations

from itertools import accumulate

import pytest

from lote.storage import append, outgoing
from lote.storage.block import Part
from lote.storage.buffers import BUFFER_BYTES

KIND = {"x-ms-blob-type": "AppendBlob"}
MORE = {"comp": "appendblock"}


def create(rig, **headers):
    return rig.put("log", b"", headers=KIND | headers)


def more(rig, content, **headers):
    reply = rig.put("log", content, query=MORE, headers=headers)
    return reply.status, reply.headers.get("x-ms-error-code", "")


def test_the_number_of_blocks_is_limited(rig, monkeypatch):
    monkeypatch.setattr(append, "BLOCKS_MAX", 2)
    create(rig)
    assert [more(rig, b"1") for _ in range(3)] == [
        (201, ""),
        (201, ""),
        (409, "BlockCountExceedsLimit"),
    ]
    create(rig)
    assert more(rig, b"1") == (201, "")


def test_what_makes_no_sense_is_refused(rig):
    reply = rig.put("log", b"x", headers=KIND)
    assert (reply.status, reply.headers["x-ms-error-code"]) == (400, "InvalidHeaderValue")
    reply = create(rig, **{"x-ms-access-tier": "Cool"})
    assert reply.headers["x-ms-error-code"] == "InvalidHeaderValue"
    create(rig)
    assert more(rig, b"") == (400, "InvalidHeaderValue")
    for header in ("appendpos", "maxsize"):
        headers = {f"x-ms-blob-condition-{header}": "-1"}
        assert more(rig, b"1", **headers) == (400, "InvalidHeaderValue")


@pytest.mark.parametrize("sizes", [[1] * 30, [3, 70_000, 5, 5, 70_000], [100, 60_000] * 3])
def test_ranges_over_blocks_in_rows_and_in_files(rig, sizes, monkeypatch):
    monkeypatch.setattr(outgoing, "RUN_PARTS_MAX", 7)
    create(rig)
    blocks = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    for block in blocks:
        assert more(rig, block) == (201, "")
    whole = b"".join(blocks)
    assert rig.get("log").body == whole
    edges = sorted({0, *(at + step for at in accumulate(sizes) for step in (-1, 0, 1))})
    edges = [at for at in edges if 0 <= at < len(whole)]
    for first in edges[::3]:
        for last in edges[::4]:
            if first <= last:
                headers = {"range": f"bytes={first}-{last}"}
                assert rig.get("log", headers=headers).body == whole[first : last + 1]


def test_blocks_in_rows_are_read_together():
    parts = [Part(0, 5, 1, None), Part(5, 5, 2, None), Part(10, 9, 3, "f"), Part(19, 9, 4, "g")]
    parts += [Part(28 + 9 * number, BUFFER_BYTES, 5 + number, None) for number in range(2)]
    runs = [[part.content for part in run] for run in outgoing.runs_of(parts)]
    assert runs == [[1, 2], [3], [4], [5], [6]]
    assert list(outgoing.runs_of([])) == []


def test_a_download_is_not_disturbed_by_appends(rig, monkeypatch):
    """A reader that is overtaken by an append between its looks need not begin again."""
    create(rig)
    more(rig, b"abc")
    looked = outgoing.find_parts

    def overtaken(connection, blob, start, end):
        found = looked(connection, blob, start, end)
        rig.put("log", b"d", query=MORE)
        return found

    monkeypatch.setattr(outgoing, "find_parts", overtaken)
    assert rig.get("log").body == b"abc"
    monkeypatch.setattr(outgoing, "find_parts", looked)
    assert rig.get("log").body == b"abcd"
