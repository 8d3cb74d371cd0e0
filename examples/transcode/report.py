"""The tables at the end: where the time of each task went, and what came out."""

from __future__ import annotations

from azure.batch import models
from rich.table import Table

from .films import Film
from .progress import elapsed_s, node_of


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
