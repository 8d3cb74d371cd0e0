"""The few XML bodies of the Blob protocol that the small client reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import unquote


class BlobItem(NamedTuple):
    """A blob in a list: size in bytes, ETag without quotes."""

    name: str
    size: int
    etag: str


def parse_page(body: bytes) -> tuple[list[BlobItem], str]:
    """The blobs of one page of a list, and the marker of the next page ("" at the end)."""
    from xml.etree import ElementTree  # most agents never list

    root = ElementTree.fromstring(body)
    items = []
    for blob in root.iterfind("Blobs/Blob"):
        name = blob.find("Name")
        text = (name.text or "") if name is not None else ""
        if name is not None and name.get("Encoded") == "true":  # characters XML cannot hold
            text = unquote(text)
        size = int(blob.findtext("Properties/Content-Length") or 0)
        items.append(BlobItem(text, size, (blob.findtext("Properties/Etag") or "").strip('"')))
    return items, root.findtext("NextMarker") or ""


def parse_error(body: bytes) -> tuple[str | None, str]:
    """Code and first line of the message of an error body; (None, "") if it is not such XML."""
    if b"<Error>" not in body:
        return None, ""
    from xml.etree import ElementTree

    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return None, ""
    message = (root.findtext("Message") or "").strip()
    return root.findtext("Code"), message.partition("\n")[0]


def block_list_xml(ids: Sequence[str]) -> bytes:
    """The body of Put Block List that takes each block's latest upload."""
    latest = "".join(f"<Latest>{one}</Latest>" for one in ids)
    return f'<?xml version="1.0" encoding="utf-8"?><BlockList>{latest}</BlockList>'.encode()
