"""The XML documents that requests carry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lote.storage.errors import Refused

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

DOCUMENT_MAX_BYTES = 8 * 1024 * 1024  # a block list of 50,000 ids of 64 bytes is about 4 MB


def parse_xml(body: bytes) -> Element:
    """The root of a small document. Refuses: InvalidXmlDocument, also for any DOCTYPE."""
    from xml.etree import ElementTree  # 8 ms and 2 MB that most processes start without

    if b"<!" in body:
        raise Refused("InvalidXmlDocument")
    try:
        return ElementTree.fromstring(body)
    except ElementTree.ParseError:
        raise Refused("InvalidXmlDocument") from None
