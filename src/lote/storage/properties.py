"""The properties of an account: one XML document, of which a request replaces some elements.

What is kept is given back as it was sent, in the protocol's order. Of it only the rules for
cross-origin requests are acted upon; logging, metrics, retention and web sites are kept alone.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from typing import TYPE_CHECKING

from lote.storage.cors import Rule, parse_rules
from lote.storage.database import Tx
from lote.storage.depot import Depot
from lote.storage.documents import parse_xml
from lote.storage.errors import Refused
from lote.storage.xml import DECLARATION, element

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

NO_RETENTION = "<RetentionPolicy><Enabled>false</Enabled></RetentionPolicy>"
NO_METRICS = f"<Version>1.0</Version><Enabled>false</Enabled>{NO_RETENTION}"
DEFAULTS = {  # what a new account has; "": left out until it is set
    "Logging": "<Logging><Version>1.0</Version><Delete>false</Delete><Read>false</Read>"
    f"<Write>false</Write>{NO_RETENTION}</Logging>",
    "HourMetrics": f"<HourMetrics>{NO_METRICS}</HourMetrics>",
    "MinuteMetrics": f"<MinuteMetrics>{NO_METRICS}</MinuteMetrics>",
    "Cors": "<Cors />",
    "DefaultServiceVersion": "",
    "DeleteRetentionPolicy": "<DeleteRetentionPolicy><Enabled>false</Enabled>"
    "</DeleteRetentionPolicy>",
    "StaticWebsite": "<StaticWebsite><Enabled>false</Enabled></StaticWebsite>",
}
REQUIRED = {  # REST: Set Blob Service Properties
    "Logging": ("Version", "Delete", "Read", "Write", "RetentionPolicy"),
    "HourMetrics": ("Version", "Enabled", "RetentionPolicy"),
    "MinuteMetrics": ("Version", "Enabled", "RetentionPolicy"),
    "RetentionPolicy": ("Enabled",),
    "DeleteRetentionPolicy": ("Enabled",),
    "StaticWebsite": ("Enabled",),
}
BOOLEANS = frozenset({"Enabled", "Delete", "Read", "Write", "IncludeAPIs", "AllowPermanentDelete"})
RETENTIONS = frozenset({"RetentionPolicy", "DeleteRetentionPolicy"})
DAYS_MAX = 365
VERSION = re.compile(r"\d{4}-\d\d-\d\d")


class AccountProperties:
    """The properties of the accounts; the rules for cross-origin requests are kept in memory."""

    def __init__(self, depot: Depot) -> None:
        self._depot = depot
        self._rules: dict[str, tuple[Rule, ...]] = {}

    async def document(self, account: str) -> bytes:
        """The whole document."""
        text = await self._depot.read(lambda connection: find_document(connection, account))
        elements = DEFAULTS | split_document(text)
        return whole(elements).encode()

    async def change(self, account: str, body: bytes) -> None:
        """Replace the elements that a document has. Refuses: InvalidXmlDocument,
        InvalidXmlNodeValue."""
        sent = parse_properties(body)

        def save(tx: Tx) -> None:
            text = whole(split_document(find_document(tx.connection, account)) | sent)
            tx.execute("INSERT OR REPLACE INTO account VALUES (?, ?)", (account, text))

        await self._depot.write(save)
        self._rules.pop(account, None)

    async def rules(self, account: str) -> tuple[Rule, ...]:
        """The rules for cross-origin requests."""
        found = self._rules.get(account)
        if found is None:
            text = await self._depot.read(lambda connection: find_document(connection, account))
            found = parse_rules(parse_xml(text.encode()).find("Cors")) if text else ()
            self._rules[account] = found
        return found


def find_document(connection: sqlite3.Connection, account: str) -> str:
    """The elements that were set, as a document; "" when none were."""
    row = connection.execute("SELECT properties FROM account WHERE name = ?", (account,)).fetchone()
    return str(row[0]) if row is not None else ""


def split_document(text: str) -> dict[str, str]:
    """A document's elements by name, each as text."""
    if not text:
        return {}
    return {one.tag: render(one) for one in parse_xml(text.encode())}


def whole(elements: Mapping[str, str]) -> str:
    """The document of these elements."""
    inner = "".join(elements.get(name, "") for name in DEFAULTS)
    return f"{DECLARATION}<StorageServiceProperties>{inner}</StorageServiceProperties>"


def parse_properties(body: bytes) -> dict[str, str]:
    """The elements of a request by name. Refuses: InvalidXmlDocument, InvalidXmlNodeValue."""
    root = parse_xml(body)
    names = [one.tag for one in root]
    if root.tag != "StorageServiceProperties" or len(set(names)) < len(names):
        raise Refused("InvalidXmlDocument")
    if not set(names) <= set(DEFAULTS):
        raise Refused("InvalidXmlDocument")
    for one in root.iter():
        check_element(one)
    parse_rules(root.find("Cors"))
    return {one.tag: render(one) for one in root}


def check_element(one: Element) -> None:
    """Refuses: InvalidXmlDocument for what is missing, InvalidXmlNodeValue for a bad value."""
    if any(one.find(name) is None for name in REQUIRED.get(one.tag, ())):
        raise Refused("InvalidXmlDocument")
    text = (one.text or "").strip()
    if one.tag in BOOLEANS and text not in ("true", "false"):
        raise Refused("InvalidXmlNodeValue")
    if one.tag == "DefaultServiceVersion" and VERSION.fullmatch(text) is None:
        raise Refused("InvalidXmlNodeValue")
    if one.tag in RETENTIONS and one.findtext("Enabled") == "true":
        days = one.findtext("Days") or ""
        if not days.isdecimal() or not 1 <= int(days) <= DAYS_MAX:
            raise Refused("InvalidXmlNodeValue")


def render(one: Element) -> str:
    """An element and what is in it, without attributes and white space between tags."""
    if len(one):
        return f"<{one.tag}>{''.join(render(child) for child in one)}</{one.tag}>"
    return element(one.tag, (one.text or "").strip())
