"""A bar over many files: bytes, files, speed, what is left. Nothing where nobody looks."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Bar(Protocol):
    """Told what goes on, from any thread."""

    def moved(self, size_bytes: int) -> None:
        """Bytes have gone."""

    def ended(self) -> None:
        """A file is through, copied or not."""


class NoBar:
    """Shows nothing."""

    def moved(self, size_bytes: int) -> None:
        """Bytes have gone."""

    def ended(self) -> None:
        """A file is through."""


@contextmanager
def transfer_bar(files: int, size_bytes: int | None, *, wanted: bool) -> Iterator[Bar]:
    """A bar on standard error for the length of the block, if that is a terminal.

    ``size_bytes`` is None when nobody knows it.
    """
    if not wanted or not sys.stderr.isatty():
        yield NoBar()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.fields[files]}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=size_bytes, files=f"0/{files}")
        through = 0

        class Live:
            def moved(self, size_bytes: int) -> None:
                progress.advance(task, size_bytes)

            def ended(self) -> None:
                nonlocal through
                through += 1
                progress.update(task, files=f"{through}/{files}")

        yield Live()
