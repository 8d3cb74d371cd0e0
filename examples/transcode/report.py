"""What was done, where in the code, and how long it took."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import NamedTuple, ParamSpec, TypeVar

from azure.batch import models
from rich.console import Console
from rich.table import Table

from .films import Film
from .progress import elapsed_s, node_of

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


def task_table(tasks: list[models.BatchTask]) -> Table:
    """Where the time of each task went, in seconds."""
    table = Table(title="Tasks (seconds)", title_justify="left")
    table.add_column("task")
    table.add_column("node")
    for heading in ("queue", "download", "run", "upload", "all"):
        table.add_column(heading, justify="right")
    for task in tasks:
        table.add_row(task.id, node_of(task), *spans(task))
    return table


def spans(task: models.BatchTask) -> list[str]:
    """Waiting from creation to start; the service's own spans where it tells them; start to end."""
    execution = task.execution_info
    if execution is None or execution.start_time is None:
        return ["-"] * 5
    queue_s = (execution.start_time - task.creation_time).total_seconds()
    # `lote` is this service's addition to the task; other services have only start and end.
    told = execution.get("lote") or {}
    inner = [told.get(name) for name in ("downloadSeconds", "runSeconds", "uploadSeconds")]
    cells = [queue_s, *inner, elapsed_s(task)]
    return ["-" if value is None else f"{value:.2f}" for value in cells]


def film_table(pairs: list[tuple[Film, Film, float]]) -> Table:
    """Originals and results side by side."""
    table = Table(title="Films", title_justify="left")
    for heading in ("film", "codec", "duration", "frames", "bytes", "likeness"):
        table.add_column(heading, justify="left" if heading in ("film", "codec") else "right")
    for before, after, likeness in pairs:
        table.add_row(*film_cells(before), "")
        table.add_row(*film_cells(after), f"{likeness:.1f} dB")
    return table


def film_cells(film: Film) -> list[str]:
    """One film as a row."""
    size_bytes = film.path.stat().st_size
    return [
        film.path.name,
        film.codec,
        f"{film.seconds:.2f} s",
        str(film.frames),
        f"{size_bytes:,}",
    ]
