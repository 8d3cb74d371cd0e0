"""Steps of a demonstration: what was done, where in the code, and how long it took."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import NamedTuple, ParamSpec, TypeVar

from rich.console import Console
from rich.table import Table

P = ParamSpec("P")
T = TypeVar("T")


class Step(NamedTuple):
    """One step of the demonstration."""

    title: str
    seconds: float
    place: str


class Steps:
    """Takes steps one after the other and remembers each."""

    def __init__(self, console: Console) -> None:
        self.taken: list[Step] = []
        self._console = console

    def take(self, title: str, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do it, say so, and note how long it took and where its code is."""
        self._console.print(f"[bold]{title}[/bold]")
        began = monotonic()
        result = step(*args, **kwargs)
        self.taken.append(Step(title, monotonic() - began, place_of(step)))
        return result


def place_of(function: Callable[..., object]) -> str:
    """``examples/…/file:first-last`` of a function's source."""
    lines, first = inspect.getsourcelines(function)
    path = Path(inspect.getsourcefile(function) or "")
    return f"{path.relative_to(path.parents[2])}:{first}-{first + len(lines) - 1}"


def steps_table(steps: list[Step]) -> Table:
    """Which code did what."""
    table = Table("step", "seconds", "code", title="Steps", title_justify="left")
    for step in steps:
        table.add_row(step.title, f"{step.seconds:.2f}", step.place)
    return table
