"""How things are called on the command line: ``az://container/blob``, URLs, local paths, ``-``.

A name in storage always begins with ``az://`` or ``http(s)://``; anything else is a local path. So
no operand can mean two things, whatever files there are.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

from lote.blobs.reach import Reach, reach_of_url
from lote.blobs.urls import redact
from lote.cli.storage.patterns import has_pattern

SCHEME = "az://"
OTHER_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class BadName(ValueError):
    """An operand that is not understood; the text says what would be."""


class Remote(NamedTuple):
    """Something in storage. ``reach`` is None for the account that the command uses.

    Without ``name`` a container; without ``container`` the account. ``is_exact``: it came as a
    URL, in which no character stands for others. ``is_folder``: it was written with a slash at
    its end.
    """

    reach: Reach | None
    container: str
    name: str
    is_exact: bool = False
    is_folder: bool = False

    @property
    def shown(self) -> str:
        """As the user may write it again, without any signature."""
        if self.reach is None:
            return az_name(self.container, self.name)
        if not self.name:
            return self.reach.container_url(self.container)
        return self.reach.blob_url(self.container, self.name)

    @property
    def is_pattern(self) -> bool:
        """Whether the name stands for any number of blobs."""
        return not self.is_exact and has_pattern(self.name)


class Local(NamedTuple):
    """A path of this machine."""

    path: str


class Stream(NamedTuple):
    """Standard input, or standard output."""


Place = Remote | Local | Stream


def parse_place(text: str) -> Place:
    """What an operand of `cp` means. Refuses: ``BadName``."""
    if text == "-":
        return Stream()
    if text.startswith((SCHEME, "http://", "https://")):
        return parse_remote(text)
    if OTHER_SCHEME.match(text):
        raise BadName(
            f"{printable(text)}: not understood; storage is az://CONTAINER/BLOB or a URL,"
            f" a file of that name ./{printable(text)}"
        )
    if not text:
        raise BadName("an empty name; this folder is .")
    return Local(text)


def parse_remote(text: str) -> Remote:
    """Something in storage. Refuses: ``BadName``, also for what looks like a local path."""
    if text.startswith(SCHEME):
        container, slash, name = text.removeprefix(SCHEME).partition("/")
        if not container and slash:
            raise BadName(f"{printable(text)}: no container before the /")
        if has_pattern(container):
            raise BadName(f"{printable(text)}: patterns are for blobs, not for containers")
        return Remote(None, container, name, is_folder=text.endswith("/"))
    if text.startswith(("http://", "https://")):
        try:
            reach, container, name = reach_of_url(text)
        except ValueError as error:
            raise BadName(str(error)) from None
        is_folder = urlsplit(text).path.endswith("/")
        return Remote(reach, container, name, is_exact=True, is_folder=is_folder)
    text = printable(redact(text))
    guess = SCHEME + text.lstrip("/.")
    raise BadName(f"{text}: names in storage begin with az://, as in {guess}")


def az_name(container: str, name: str) -> str:
    """The name of a container or a blob of the account in use."""
    return f"{SCHEME}{container}/{name}" if name else f"{SCHEME}{container}"


def printable(text: str) -> str:
    """The text with control characters spelled out: names come from strangers, a terminal obeys."""
    return CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
