"""XML as the protocol writes and reads it: a few elements, text, no attributes but one."""

from __future__ import annotations

import re
from urllib.parse import quote

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>'
ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def escape(text: str) -> str:
    """Text for between two tags; characters that XML cannot hold become question marks."""
    if SPECIAL.search(text) is None:
        return text
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return ILLEGAL.sub("?", text).replace("\r", "&#13;")


def element(name: str, text: str) -> str:
    """An element with text; an empty one is closed at once."""
    return f"<{name}>{escape(text)}</{name}>" if text else f"<{name} />"


def name_element(text: str) -> str:
    """A blob's name or prefix in a list; percent-encoded, and so marked, if XML cannot hold it."""
    if ILLEGAL.search(text) is None:
        return f"<Name>{escape(text)}</Name>"
    return f'<Name Encoded="true">{quote(text)}</Name>'
