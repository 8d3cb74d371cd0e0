"""Price options in two thousand tasks on a pool of two nodes, with nothing but the official SDKs.

Read ``sweep`` from top to bottom. It runs against any Batch account that has storage linked:
``lote demo sweep`` gives it a service of its own; ``python -m sweep.demo`` in the folder above
takes the account from the environment that ``lote env`` prints.
"""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient
from rich.console import Console
from story import containers
from story.account import Account, account_of_environment
from story.failure import DemoFailed
from story.steps import Steps, steps_table

from . import prices, watching, work
from .prices import Price
from .work import Point

TASKS = 2000
PROGRAM_FOLDER = Path(__file__).parent / "application"
DOWNLOADS = 8  # at a time
PICTURE = "sweep.png"

Display = Callable[[Console], AbstractContextManager[watching.Show]]


class Times(NamedTuple):
    """When a task began and ended."""

    began: datetime
    ended: datetime


def sweep(account: Account, count: int, folder: Path, console: Console, display: Display) -> None:
    """The whole story; the picture ends up in ``folder``. Refuses: ``DemoFailed``."""
    steps = Steps(console)
    points = work.points(count)
    with (
        BatchClient(account.endpoint, AzureNamedKeyCredential(account.name, account.key)) as batch,
        BlobServiceClient.from_connection_string(account.storage_connection_string) as blobs,
    ):
        job_id = f"sweep-{uuid.uuid4().hex[:8]}"
        steps.take("Ask for a pool of two nodes", make_pool, batch, job_id)
        try:
            urls = steps.take("Upload the program", upload_program, blobs, job_id)
            steps.take("Make a job", make_job, batch, job_id)
            steps.take(f"Add {count:,} tasks", add_tasks, batch, job_id, points, urls)
            steps.take("Let the job end with its tasks", end_with_tasks, batch, job_id)
            with display(console) as show:
                steps.take("Watch it", watching.watch_job, batch, job_id, count, show)
            times = steps.take("Ask when each task ran", list_times, batch, job_id)
        finally:
            clean_up(batch, job_id)
        found = steps.take("Download the results", download_results, blobs, job_id, points)
    steps.take("Check them", prices.check, found, points)
    steps.take("Draw the picture", draw_picture, found, times, folder / PICTURE)
    tell(console, steps, found, times, folder / PICTURE)


def make_pool(batch: BatchClient, pool_id: str) -> None:
    """Nodes come while we go on: tasks wait for them."""
    batch.create_pool(work.pool(pool_id))


def upload_program(blobs: BlobServiceClient, container_name: str) -> tuple[str, str]:
    """The program into a container of this sweep; signed URLs to read it and to write results."""
    container = containers.make_container(blobs, container_name)
    containers.upload(container, [PROGRAM_FOLDER / work.PROGRAM])
    read_url = containers.readable_url(container, work.PROGRAM)
    return read_url, containers.writable_url(container)


def make_job(batch: BatchClient, job_id: str) -> None:
    """On the pool of the same name."""
    batch.create_job(work.job(job_id, pool_id=job_id))


def add_tasks(batch: BatchClient, job_id: str, points: list[Point], urls: tuple[str, str]) -> None:
    """The SDK cuts the list into requests of a hundred."""
    batch.create_tasks(job_id, [work.task(point, *urls) for point in points])


def end_with_tasks(batch: BatchClient, job_id: str) -> None:
    """Only now: a job with no tasks yet would end at once."""
    change = models.BatchJobUpdateOptions(
        all_tasks_complete_mode=models.BatchAllTasksCompleteMode.TERMINATE_JOB
    )
    batch.update_job(job_id, change)


def list_times(batch: BatchClient, job_id: str) -> list[Times]:
    """From the service's record. Refuses: a task without times."""
    times = []
    for task in batch.list_tasks(job_id, select=["id", "executionInfo"]):
        execution = task.execution_info
        if execution is None or execution.start_time is None or execution.end_time is None:
            raise DemoFailed(f"task {task.id} has no times")
        times.append(Times(execution.start_time, execution.end_time))
    return times


def download_results(
    blobs: BlobServiceClient, container_name: str, points: list[Point]
) -> list[Price]:
    """One small blob a task, several at a time."""
    container = blobs.get_container_client(container_name)

    def download(point: Point) -> Price:
        return prices.parse_price(container.download_blob(f"{point.task_id}.json").readall())

    with ThreadPoolExecutor(DOWNLOADS) as pool:
        return list(pool.map(download, points))


def draw_picture(found: list[Price], times: list[Times], path: Path) -> None:
    """Drawing takes a second to load, so only now."""
    from .picture import draw

    draw(found, ended_s(times), path)


def ended_s(times: list[Times]) -> list[float]:
    """When each task ended, in seconds since the first began."""
    first = min(one.began for one in times)
    return [(one.ended - first).total_seconds() for one in times]


def tell(
    console: Console, steps: Steps, found: list[Price], times: list[Times], picture: Path
) -> None:
    """What came out, where it is, and how long it took."""
    at_money = [price for price in found if abs(price.strike - 100) < 1]
    mean = sum(price.price for price in at_money) / len(at_money)
    true = prices.true_price(at_money[0].strike)
    console.print(steps_table(steps.taken))
    console.print(
        f"A call at {at_money[0].strike:g} costs {mean:.3f} by {len(at_money)} simulations,"
        f" {true:.3f} by the formula.",
        soft_wrap=True,
    )
    seconds = max(ended_s(times))
    rate = len(times) / seconds
    console.print(f"{len(times):,} tasks in {seconds:.1f} s: {rate:,.0f} a second.")
    console.print(f"The picture: {picture}", soft_wrap=True, highlight=False)


def clean_up(batch: BatchClient, job_id: str) -> None:
    """Pools cost money elsewhere. The job stays, as a record."""
    batch.begin_delete_pool(job_id, polling_interval=1).wait()


def main(words: list[str]) -> int:
    """``[--no-progress] [--tasks N] [FOLDER]``: the picture goes to FOLDER, default ``.``."""
    account = account_of_environment()
    if account is None:
        print('no account; first: eval "$(lote env)"', file=sys.stderr)
        return 1
    rest = [word for word in words if word != "--no-progress"]
    count = TASKS
    if "--tasks" in rest:
        at = rest.index("--tasks")
        count = int(rest[at + 1])
        del rest[at : at + 2]
    console = Console()
    live = console.is_terminal and "--no-progress" not in words
    folder = Path(rest[0]) if rest else Path()
    try:
        sweep(account, count, folder, console, watching.live if live else watching.plain)
    except (DemoFailed, AzureError) as error:
        print(f"sweep: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
