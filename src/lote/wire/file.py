"""Files of tasks and nodes, as lists show them."""

from __future__ import annotations

from lote.wire.base import Shown


class FileProperties(Shown, kw_only=True):
    creation_time: str | None = None
    last_modified: str
    content_length: str
    content_type: str | None = None
    file_mode: str | None = None


class NodeFile(Shown, kw_only=True):
    name: str | None = None
    url: str | None = None
    is_directory: bool | None = None
    properties: FileProperties | None = None
