"""The few XML bodies of the Blob protocol that the small client reads and writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

if TYPE_CHECKING:
    from pyexpat import XMLParserType

NEEDED = frozenset(("Name", "Content-Length", "Etag", "NextMarker"))


class BlobItem(NamedTuple):
    """A blob in a list: size in bytes, ETag without quotes."""

    name: str
    size: int
    etag: str


class _Page:
    """Takes what is needed out of a list as it is parsed: a tree of it would be twenty times as
    large, and thousands of names are read before a task's many small files."""

    def __init__(self, parser: XMLParserType) -> None:
        self.items: list[BlobItem] = []
        self.texts: dict[str, str] = {}
        self._parser = parser
        self._is_encoded = False
        self._pieces: list[str] = []
        parser.buffer_text = True
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag in NEEDED:
            self._pieces = []
            self._parser.CharacterDataHandler = self._pieces.append
            if tag == "Name":
                self._is_encoded = attributes.get("Encoded") == "true"
        elif tag == "Blob":
            self.texts.clear()

    def _end(self, tag: str) -> None:
        if tag in NEEDED:
            self.texts[tag] = "".join(self._pieces)
            self._parser.CharacterDataHandler = None
        elif tag == "Blob":
            texts = self.texts
            name = texts.get("Name", "")
            if self._is_encoded:  # characters XML cannot hold
                name = unquote(name)
            size = int(texts.get("Content-Length") or 0)
            self.items.append(BlobItem(name, size, texts.get("Etag", "").strip('"')))


def parse_page(body: bytes) -> tuple[list[BlobItem], str]:
    """The blobs of one page of a list, and the marker of the next page ("" at the end).

    Refuses (``ValueError``): what is no list.
    """
    from xml.parsers import expat  # most agents never list

    parser = expat.ParserCreate()
    page = _Page(parser)
    try:
        parser.Parse(body, True)
    except expat.ExpatError as error:
        raise ValueError(f"not a list of blobs: {error}") from error
    parser.StartElementHandler = parser.EndElementHandler = None  # it and the page hold each other
    return page.items, page.texts.get("NextMarker", "")


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
