"""Watching a job until it has ended, with a bar and a line a task, or plain lines."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Protocol

from azure.batch import BatchClient, models
from azure.core.exceptions import AzureError
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from story.failure import DemoFailed

POLL_S = 0.25
GIVE_UP_S = 600.0
NODE_LETTERS = 14
TASK_MEMBERS = ["id", "state", "creationTime", "stateTransitionTime", "executionInfo", "nodeInfo"]


class Show(Protocol):
    """What is done with the news about the tasks."""

    def __call__(self, tasks: list[models.BatchTask]) -> None: ...


def watch_job(client: BatchClient, job_id: str, show: Show) -> list[models.BatchTask]:
    """The job's tasks, once the job has ended by itself. Refuses: a failed task, ten minutes."""
    pause = threading.Event()
    for _ in range(int(GIVE_UP_S / POLL_S)):
        job = client.get_job(job_id)
        tasks = list(client.list_tasks(job_id, select=TASK_MEMBERS))
        show(tasks)
        for task in tasks:
            check(client, job_id, task)
        if job.state == models.BatchJobState.COMPLETED:
            return tasks
        pause.wait(POLL_S)
    raise DemoFailed(f"job {job_id} has not ended after {GIVE_UP_S:.0f} s")


def check(client: BatchClient, job_id: str, task: models.BatchTask) -> None:
    """Refuses a failed task, with its reason and what it wrote."""
    failure = task.execution_info and task.execution_info.failure_info
    if not failure:
        return
    lines = [f"task {task.id} failed: {failure.code}: {failure.message}"]
    lines += [f"  {detail.name}: {detail.value}" for detail in failure.details or []]
    try:
        for file in client.list_task_files(job_id, task.id):
            if file.name in ("stdout.txt", "stderr.txt"):
                written = b"".join(client.download_task_file(job_id, task.id, file.name))
                lines += [f"--- {file.name}", written.decode(errors="replace")[-2000:]]
    except AzureError as error:
        lines.append(f"its files are not to be had: {error}")
    raise DemoFailed("\n".join(lines))


@contextmanager
def live(console: Console) -> Iterator[Show]:
    """A display that is redrawn in place."""
    with Live(console=console, refresh_per_second=8, transient=True) as display:

        def show(tasks: list[models.BatchTask]) -> None:
            display.update(picture(tasks))

        yield show


@contextmanager
def plain(console: Console) -> Iterator[Show]:
    """A line for each change of state, for logs and pipes."""
    seen: dict[str, str] = {}

    def show(tasks: list[models.BatchTask]) -> None:
        for task in tasks:
            state = state_of(task)
            if seen.get(task.id, "active") != state:
                seen[task.id] = state
                done = list(seen.values()).count("completed")
                place = f" on {node_of(task)}" if node_of(task) else ""
                console.print(f"  [{done}/{len(tasks)}] {task.id} {state}{place}", markup=False)

    yield show


def picture(tasks: list[models.BatchTask]) -> Group:
    """The job's bar above one line a task."""
    done = sum(task.state == "completed" for task in tasks)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("task", "state", "node", "elapsed"):
        table.add_column(heading, style="cyan" if heading == "task" else "")
    for task in tasks:
        table.add_row(task.id, state_of(task), node_of(task), f"{elapsed_s(task):.1f} s")
    head = Table.grid(padding=(0, 2, 0, 0))
    head.add_row(
        ProgressBar(total=max(len(tasks), 1), completed=done, width=40),
        f"{done}/{len(tasks)} tasks",
    )
    return Group(head, table)


def state_of(task: models.BatchTask) -> str:
    """The state's name; one that this SDK does not know comes as text."""
    return str(getattr(task.state, "value", task.state))


def node_of(task: models.BatchTask) -> str:
    """As much of the node's id as tells nodes apart, or nothing while there is none."""
    node_id = task.node_info.node_id if task.node_info else None
    return (node_id or "")[:NODE_LETTERS]


def elapsed_s(task: models.BatchTask) -> float:
    """How long the task has been at work, in seconds."""
    execution = task.execution_info
    if not execution or not execution.start_time:
        return 0.0
    end = execution.end_time or datetime.now(UTC)
    return max((end - execution.start_time).total_seconds(), 0.0)
