"""Watching two thousand tasks: their counts, not each of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from azure.batch import BatchClient, models
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from story.failure import DemoFailed

POLL_S = 0.25
GIVE_UP_S = 900.0
TELL_EVERY = 10  # plain lines a sweep


class Show(Protocol):
    """Told how many have ended, of how many, and how many run."""

    def __call__(self, ended: int, total: int, running: int) -> None: ...


def watch_job(client: BatchClient, job_id: str, total: int, show: Show) -> None:
    """Returns when the job has ended by itself. Refuses: a failed task, fifteen minutes."""
    pause = threading.Event()
    for _ in range(int(GIVE_UP_S / POLL_S)):
        counts = client.get_job_task_counts(job_id).task_counts
        show(counts.completed, total, counts.running)
        if counts.failed:
            raise DemoFailed(failure_of(client, job_id))
        if client.get_job(job_id).state == models.BatchJobState.COMPLETED:
            return
        pause.wait(POLL_S)
    raise DemoFailed(f"job {job_id} has not ended after {GIVE_UP_S:.0f} s")


def failure_of(client: BatchClient, job_id: str) -> str:
    """Why the first failed task failed."""
    failed = client.list_tasks(job_id, filter="executionInfo/result eq 'failure'", max_results=1)
    for task in failed:
        failure = task.execution_info and task.execution_info.failure_info
        if failure:
            details = "; ".join(f"{one.name}: {one.value}" for one in failure.details or [])
            return f"task {task.id} failed: {failure.code}: {failure.message} {details}"
    return "a task failed"


@contextmanager
def live(console: Console) -> Iterator[Show]:
    """A bar that is redrawn in place."""
    columns = (
        TextColumn("{task.fields[running]} run"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", running=0)

        def show(ended: int, total: int, running: int) -> None:
            progress.update(bar, completed=ended, total=total, running=running)

        yield show


@contextmanager
def plain(console: Console) -> Iterator[Show]:
    """A line for each tenth, for logs and pipes."""
    told = 0

    def show(ended: int, total: int, running: int) -> None:
        nonlocal told
        tenth = ended * TELL_EVERY // total
        if tenth > told:
            told = tenth
            console.print(f"  [{ended}/{total}] tasks completed", markup=False)

    yield show
