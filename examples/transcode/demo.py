"""Convert two films in parallel on a pool of two nodes, with nothing but the official SDKs.

Read ``convert`` from top to bottom. It runs against any Batch account that has storage linked:
``lote demo transcode`` gives it a service of its own; ``python -m transcode.demo`` in the folder
above takes the account from the environment that ``lote env`` prints.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from azure.batch import BatchClient, models
from azure.core.credentials import AzureNamedKeyCredential
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobServiceClient
from rich.console import Console
from story import containers
from story.account import Account, account_of_environment
from story.failure import DemoFailed
from story.steps import Steps, steps_table

from . import films, progress, report, work
from .films import Film, Segment

SEGMENTS_PER_FILM = 7
DISK_BYTES_MIN = 2 << 30  # ffmpeg alone is 170 MB: in storage, and twice on each node
DURATION_OFF_S = 0.1
LIKENESS_MIN_DB = 30.0  # below, the eye sees a difference
APPLICATION_FOLDER = Path(__file__).parent / "application"


Display = Callable[[Console], AbstractContextManager[progress.Show]]


def convert(account: Account, folder: Path, console: Console, display: Display) -> None:
    """The whole story; results end up in ``folder``. Refuses: ``DemoFailed``."""
    steps = Steps(console)
    ffmpeg = films.find_ffmpeg()
    with (
        BatchClient(account.endpoint, AzureNamedKeyCredential(account.name, account.key)) as batch,
        BlobServiceClient.from_connection_string(account.storage_connection_string) as blobs,
    ):
        originals = steps.take("Look at the films", look_at_films, ffmpeg)
        urls = steps.take("Upload films and application", upload_all, blobs, ffmpeg, originals)
        job_id = f"transcode-{uuid.uuid4().hex[:8]}"
        steps.take("Ask for a pool of two nodes", make_pool, batch, job_id)
        try:
            steps.take("Make a job", make_job, batch, job_id)
            steps.take("Add the tasks", add_tasks, batch, job_id, blobs, originals, urls)
            steps.take("Let the job end with its tasks", end_with_tasks, batch, job_id)
            with display(console) as show:
                tasks = steps.take("Watch it", progress.watch_job, batch, job_id, show)
        finally:
            clean_up(batch, job_id)
        results = steps.take("Download the results", download_results, blobs, originals, folder)
    pairs = steps.take("Check them", check_results, ffmpeg, originals, results)
    for table in (report.task_table(tasks), report.film_table(pairs)):
        console.print(table)
    console.print(steps_table(steps.taken))
    console.print(f"The results are in {folder}:", soft_wrap=True)
    for path in results:
        console.print(f"  {path}", soft_wrap=True, highlight=False)


def look_at_films(ffmpeg: Path) -> list[Film]:
    """Decode the films once to know their frames."""
    return [films.probe(ffmpeg, path) for path in films.find_films()]


def upload_all(blobs: BlobServiceClient, ffmpeg: Path, originals: list[Film]) -> dict[str, str]:
    """Application and films into the storage account; gives a signed URL of each film."""
    with tempfile.TemporaryDirectory() as folder:
        plainly_named = Path(folder) / "ffmpeg"  # the packaged name carries its version
        plainly_named.symlink_to(ffmpeg)
        scripts = sorted(APPLICATION_FOLDER.glob("*.sh"))
        application = containers.make_container(blobs, work.APPLICATION)
        containers.upload(application, [plainly_named, *scripts])
    container = containers.make_container(blobs, "transcode-input")
    containers.upload(container, [film.path for film in originals])
    return {film.name: containers.readable_url(container, film.path.name) for film in originals}


def make_pool(batch: BatchClient, pool_id: str) -> None:
    """Nodes come while we go on: tasks wait for them."""
    batch.create_pool(work.pool(pool_id))


def make_job(batch: BatchClient, job_id: str) -> None:
    """On the pool of the same name."""
    batch.create_job(work.job(job_id, pool_id=job_id))


def add_tasks(
    batch: BatchClient,
    job_id: str,
    blobs: BlobServiceClient,
    originals: list[Film],
    urls: dict[str, str],
) -> None:
    """One task a segment, and one that waits for them all."""
    output_url = containers.writable_url(containers.make_container(blobs, work.OUTPUT))
    segments: list[Segment] = []
    for film in originals:
        segments += films.cut(film, SEGMENTS_PER_FILM)
    tasks = [work.encode_task(s, urls[s.film.name], output_url) for s in segments]
    tasks.append(work.join_task(originals, urls, segments, output_url))
    batch.create_tasks(job_id, tasks)


def end_with_tasks(batch: BatchClient, job_id: str) -> None:
    """Only now: a job with no tasks yet would end at once."""
    change = models.BatchJobUpdateOptions(
        all_tasks_complete_mode=models.BatchAllTasksCompleteMode.TERMINATE_JOB
    )
    batch.update_job(job_id, change)


def download_results(blobs: BlobServiceClient, originals: list[Film], folder: Path) -> list[Path]:
    """The joined films."""
    container = blobs.get_container_client(work.OUTPUT)
    return [containers.download(container, f"{film.name}.webm", folder) for film in originals]


def check_results(
    ffmpeg: Path, originals: list[Film], results: list[Path]
) -> list[tuple[Film, Film, float]]:
    """Every frame of each film must be there, in VP9, in order, and look like the original's."""
    pairs = []
    for before, path in zip(originals, results, strict=True):
        after = films.probe(ffmpeg, path)
        if after.codec != "vp9" or after.frames != before.frames:
            raise DemoFailed(f"{path} is {after.codec} with {after.frames} frames: {before}")
        if abs(after.seconds - before.seconds) > DURATION_OFF_S:
            raise DemoFailed(f"{path} lasts {after.seconds} s: {before}")
        likeness = films.likeness_db(ffmpeg, path, before.path)
        if likeness < LIKENESS_MIN_DB:
            raise DemoFailed(f"{path} does not look like the original ({likeness} dB): {before}")
        pairs.append((before, after, likeness))
    return pairs


def clean_up(batch: BatchClient, job_id: str) -> None:
    """Pools cost money elsewhere. The job stays, as a record."""
    batch.begin_delete_pool(job_id, polling_interval=1).wait()


def check_room(folder: Path) -> None:
    """Refuses a disk on which the demonstration would stop half-way."""
    free = shutil.disk_usage(folder).free
    if free < DISK_BYTES_MIN:
        raise DemoFailed(
            f"{folder} has {free >> 20} MB free; the demo needs {DISK_BYTES_MIN >> 20} MB"
        )


def main(words: list[str]) -> int:
    """``[--no-progress] [FOLDER]``: results go to FOLDER, default ``.``; gives the exit code."""
    account = account_of_environment()
    if account is None:
        print('no account; first: eval "$(lote env)"', file=sys.stderr)
        return 1
    folders = [Path(word) for word in words if word != "--no-progress"]
    console = Console()
    live = console.is_terminal and "--no-progress" not in words
    try:
        folder = folders[0] if folders else Path()
        check_room(folder)
        convert(account, folder, console, progress.live if live else progress.plain)
    except (DemoFailed, AzureError) as error:
        print(f"transcode: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
