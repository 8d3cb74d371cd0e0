"""Local files for a task: into a container of the linked storage account and out again."""

from __future__ import annotations

from pathlib import Path

from lote.cli.client import Json
from lote.world import World


class InputError(Exception):
    """A file can't be offered to the task; the text says why."""


class Inputs:
    """Offers files of this machine through one storage account."""

    def __init__(self, connection_string: str, world: World) -> None:
        self._connection_string = connection_string
        self._world = world

    def upload(self, container: str, files: tuple[Path, ...]) -> list[Json]:
        raise InputError("not yet")

    def remove(self, container: str) -> None:
        raise InputError("not yet")
