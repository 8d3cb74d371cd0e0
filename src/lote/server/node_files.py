"""What is said of files on nodes, by agents and of kept ones."""

from __future__ import annotations

import msgspec


class FileFacts(msgspec.Struct):
    """What an agent says of a file. ``start`` and ``length`` are of the bytes it sends."""

    size: int = 0
    modified_us: int = 0
    mode: str = ""
    is_directory: bool = False
    content_type: str = "application/octet-stream"
    start: int = 0
    length: int = 0


class Listed(msgspec.Struct):
    """One line of a listing. ``name`` is relative to the path that was listed."""

    name: str
    is_directory: bool
    size: int = 0
    modified_us: int = 0
    mode: str = ""
    content_type: str = "application/octet-stream"
