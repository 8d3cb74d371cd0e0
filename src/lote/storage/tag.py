"""Tags of blobs: in the blob's row, and once more in rows of their own, to be searched. Those are
only of blobs themselves: a search finds no snapshots."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from lote.storage.database import Tx
from lote.storage.documents import parse_xml
from lote.storage.errors import Refused
from lote.storage.tag_expression import KEY_MAX, TAG_TEXT, VALUE_MAX, Comparison, Search

TAGS_MAX = 10  # REST: Set Blob Tags
TAG_PAGES = 2  # of the log: a row and its place in the index, both anywhere
NO_TAGS: dict[str, str] = {}  # never changed in place


class Found(NamedTuple):
    """A blob that a search found, and where in the order of the search it stands."""

    container: str
    name: bytes
    tags: dict[str, str]
    place: tuple[str, int]


def check_tags(pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Tags as a client wrote them. Refuses: TagsTooLarge for more than ten or too long ones,
    EmptyTagName, DuplicateTagNames, InvalidTag for characters. Source: REST "Set Blob Tags".
    """
    if len(pairs) > TAGS_MAX:
        raise Refused("TagsTooLarge")
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not key:
            raise Refused("EmptyTagName")
        if len(key) > KEY_MAX or len(value) > VALUE_MAX:
            raise Refused("TagsTooLarge")
        if TAG_TEXT.fullmatch(key) is None or TAG_TEXT.fullmatch(value) is None:
            raise Refused("InvalidTag")
        if key in tags:
            raise Refused("DuplicateTagNames")
        tags[key] = value
    return tags


def parse_tags_document(body: bytes) -> dict[str, str]:
    """The tags of a request's body. Refuses: InvalidXmlDocument, what ``check_tags`` does."""
    root = parse_xml(body)
    if root.tag != "Tags":
        raise Refused("InvalidXmlDocument")
    pairs = []
    for one in root.iterfind("TagSet/Tag"):
        if one.find("Key") is None or one.find("Value") is None:
            raise Refused("InvalidXmlDocument")
        pairs.append((one.findtext("Key") or "", one.findtext("Value") or ""))
    return check_tags(pairs)


def tags_text(tags: Mapping[str, str]) -> str:
    """As a blob's row keeps them."""
    return json.dumps(tags) if tags else ""


def keep_tags(tx: Tx, blob: int, tags: Mapping[str, str]) -> None:
    """Add the rows that a search looks at."""
    tx.pages += TAG_PAGES * len(tags)
    for key, value in tags.items():
        tx.execute("INSERT INTO tag (blob, key, value) VALUES (?, ?, ?)", (blob, key, value))


def drop_tags(tx: Tx, blob: int) -> None:
    """Remove those rows."""
    tx.pages += TAG_PAGES * tx.execute("DELETE FROM tag WHERE blob = ?", (blob,)).rowcount


def find_by_tags(
    connection: sqlite3.Connection,
    account: str,
    search: Search,
    after: tuple[str, int],
    count: int,
) -> list[Found]:
    """Blobs whose tags match, in the order of the tag that is compared first: its value, then the
    blob's age. ``after`` is the place of the last one before; a page costs what it skips and shows.
    """
    first, rest = _driver(search)
    values: list[Any] = [first.key]
    sql = (
        "SELECT container.name, blob.name, blob.tags, tag.value, tag.blob FROM tag"
        " JOIN blob ON blob.id = tag.blob JOIN container ON container.id = blob.container"
        f" WHERE tag.key = ? AND tag.value {first.operator} ?"
    )
    values.append(first.value)
    for one in rest:
        sql += (
            " AND EXISTS (SELECT 1 FROM tag AS other WHERE other.blob = tag.blob"
            f" AND other.key = ? AND other.value {one.operator} ?)"
        )
        values += (one.key, one.value)
    sql += " AND container.account = ?"
    values.append(account)
    if search.container is not None:
        sql += " AND container.name = ?"
        values.append(search.container)
    sql += " AND (tag.value, tag.blob) > (?, ?) ORDER BY tag.value, tag.blob LIMIT ?"
    rows = connection.execute(sql, (*values, *after, count))
    return [
        Found(container, name, _shown(tags, search), (value, blob))
        for container, name, tags, value, blob in rows
    ]


def _driver(search: Search) -> tuple[Comparison, list[Comparison]]:
    """The comparison whose index entries are walked: an equality, if there is one."""
    equal = (one for one in search.comparisons if one.operator == "=")
    first = next(equal, search.comparisons[0])
    return first, [one for one in search.comparisons if one is not first]


def _shown(tags: str, search: Search) -> dict[str, str]:
    return {key: value for key, value in json.loads(tags).items() if key in search.keys}
