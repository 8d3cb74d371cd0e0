"""Where copies go: one rule for files and folders, here and in storage.

A target that ends with ``/`` is a folder to put things into, under their own names; otherwise it
is the new name. A source folder that ends with ``/`` stands for what is in it. Nothing depends on
what exists already, so that running a command twice does the same thing twice; where habit would
have it otherwise, the command is refused.
"""

from __future__ import annotations

import os
from typing import Literal, NamedTuple

from lote.cli.storage.names import Local, Remote, printable

SourceKind = Literal["one", "folder", "contents", "match"]
"""A single file; a folder under its own name; what is in a folder; what a pattern matches."""


class Unclear(ValueError):
    """A command that could mean two things; the text says how to say either."""


class BadPath(ValueError):
    """A blob's name that can't be a path below the target."""


class Target(NamedTuple):
    """The place that everything goes to; ``base`` without a slash at its end, or empty.

    ``is_folder``: it was written as a folder. ``exists``: it is one, though not written so.
    """

    base: str
    is_folder: bool
    exists: bool
    shown: str

    def name_for(self, kind: SourceKind, own_name: str, relative: str) -> str:
        """The new name of a file: ``relative`` below its source, whose own name is given.

        Refuses: ``Unclear``.
        """
        if kind == "one":
            if self.is_folder or self.exists:
                return self._below(own_name)
            return self.base
        if kind == "folder":
            if self.is_folder:
                return self._below(f"{own_name}/{relative}")
            if self.exists:
                raise Unclear(
                    f"{self.shown} is there: write {self.shown}/ to put {own_name} into it,"
                    f" or {own_name}/ to put its contents there"
                )
        return self._below(relative)

    def _below(self, relative: str) -> str:
        if not self.base:
            return relative
        return f"{self.base.rstrip('/')}/{relative}"


def target_of(place: Local | Remote) -> Target:
    """The target that an operand names."""
    if isinstance(place, Remote):
        # A container is a folder that is there, as nothing else can be a container's name.
        shown = printable(place.shown)
        return Target(place.name.rstrip("/"), place.is_folder, not place.name, shown)
    path = place.path
    is_folder = path.endswith("/") or os.path.basename(path) in (".", "..")
    return Target(path.rstrip("/") or "/", is_folder, os.path.isdir(path), printable(path))


def check_relative(relative: str) -> None:
    """Refuses (``BadPath``): names that lead elsewhere, or that no file system has."""
    parts = relative.split("/")
    if relative.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise BadPath("its name can't be a path here: it has an empty part, . or ..")
    if "\0" in relative:
        raise BadPath("its name can't be a path here: it has a zero byte")
