"""Downloads and uploads of tasks, in a few threads beside the loop.

Two pools, so that a task's thread, which waits for its files, never takes a thread its files need.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from lote.agent.batches import in_batches, work_off
from lote.agent.cache import Cache
from lote.agent.disk import is_disk_full
from lote.agent.environment import make_base, task_environment
from lote.agent.failures import failure
from lote.agent.inputs import Input, InputFailed, expand_inputs, fetch_inputs, is_small
from lote.agent.launch import prepare_directory
from lote.agent.layout import Layout
from lote.agent.lease import Lease, RunPermit
from lote.agent.outputs import Sender, UploadLog, is_wanted
from lote.agent.settings import AgentSettings
from lote.agent.task_spec import ResourceFile
from lote.agent.work import Work
from lote.blobs.client import BlobClient
from lote.blobs.failure import BlobStopped
from lote.wire.frames import AutoStorage, Failure

FILES_AT_ONCE = 8
TASKS_AT_ONCE = 8

Done = Callable[[Work, Failure | None], None]


class Transfers:
    """Moves files for runs; calls back on the loop with what went wrong, or None.

    ``confirm_again`` is called on the loop when an upload needs to know anew that its run is the
    current one.
    """

    def __init__(
        self, layout: Layout, settings: AgentSettings, clock: Callable[[], float], lease: Lease
    ) -> None:
        self.confirm_again: Callable[[Work], None] = lambda work: None
        self._lease = lease
        self.auto_storage: AutoStorage | None = None
        self.service: dict[str, str] = {}  # the node's variables, which patterns may name
        self._client = BlobClient(
            ca_file=settings.ca_file,
            stall_timeout_s=settings.transfer_silence_s,
            attempts_max=settings.transfer_attempts,
        )
        self._cache = Cache(layout.cache, self._client, clock)
        self._tasks = ThreadPoolExecutor(TASKS_AT_ONCE, "task")
        self._files = ThreadPoolExecutor(FILES_AT_ONCE, "file")

    def download(self, work: Work, done: Done) -> None:
        """Make a run's directory and bring its resource files into it."""
        self._start(work, self._download, done)

    def upload(self, work: Work, done: Done) -> None:
        """Send a run's output files whose conditions hold."""
        self._start(work, self._upload, done)

    def wants_upload(self, work: Work) -> bool:
        """Whether anything is to be uploaded after this run's exit code."""
        exit_code = work.exit_code
        outputs = work.spec.output_files or []
        return exit_code is not None and any(is_wanted(one, exit_code) for one in outputs)

    def close(self) -> None:
        """Begin nothing more. Stop events are set; a thread that hangs ends with the process."""
        self._tasks.shutdown(wait=False, cancel_futures=True)
        self._files.shutdown(wait=False, cancel_futures=True)

    def _start(
        self, work: Work, move: Callable[[Work, threading.Event], Failure | None], done: Done
    ) -> None:
        loop = asyncio.get_running_loop()
        stop = work.stop = threading.Event()

        def ask() -> None:
            loop.call_soon_threadsafe(self.confirm_again, work)

        work.permit = RunPermit(self._lease, ask, stop)

        def finish(future: Future[Failure | None]) -> None:
            if not future.cancelled() and not loop.is_closed():
                loop.call_soon_threadsafe(report, future)

        def report(future: Future[Failure | None]) -> None:
            error = future.exception()
            if error is None:
                done(work, future.result())
            elif isinstance(error, BlobStopped):
                done(work, None)
            else:
                done(work, failure("Unknown", ("Message", f"{type(error).__name__}: {error}")))

        self._tasks.submit(move, work, stop).add_done_callback(finish)

    # -- in a thread ------------------------------------------------------------------------

    def _download(self, work: Work, stop: threading.Event) -> Failure | None:
        owner = work.user[:2] if work.user is not None else None
        directory = os.fsencode(work.directory)
        try:
            working_directory = os.fsdecode(prepare_directory(directory, work.user))
        except OSError as error:
            code = "DiskFull" if is_disk_full(error) else "ResourceDirectoryCreateFailed"
            return failure(code, ("Message", error.strerror or str(error)))
        try:
            self._fetch(work.common_inputs, work.directory, owner, stop)
            self._fetch(work.inputs, working_directory, owner, stop)
        except InputFailed as failed:
            return failed.failure
        return None

    def _fetch(
        self,
        wanted: list[ResourceFile],
        directory: str,
        owner: tuple[int, int] | None,
        stop: threading.Event,
    ) -> None:
        def fetch(batch: list[Input]) -> Future[None]:
            return self._files.submit(fetch_inputs, batch, directory, owner, self._cache, stop)

        if wanted:
            inputs = expand_inputs(wanted, self.auto_storage, self._client, stop)
            work_off(in_batches(inputs, is_small), fetch, stop.set)

    def _upload(self, work: Work, stop: threading.Event) -> Failure | None:
        permit = work.permit
        assert work.exit_code is not None
        assert permit is not None
        owner = work.user[:2] if work.user is not None else None
        variables = self._variables(work)
        trouble: Failure | None = None
        log = UploadLog(work.directory, owner)
        sender = Sender(work.directory, variables, self._client, log, stop, permit, self._files)
        try:
            for output in work.spec.output_files or []:
                if is_wanted(output, work.exit_code):
                    failed = sender.send(output)
                    trouble = trouble or failed
        finally:
            log.close()
        return trouble

    def _variables(self, work: Work) -> dict[str, str]:
        directory = os.fsencode(work.directory)
        base = make_base(work.job.environment, self.service, work.job.job_id)
        own = [(one.name, one.value or "") for one in work.spec.environment_settings or []]
        if work.instance is not None:
            own += work.instance.variables(work.directory)
        found = task_environment(base, own, directory, directory + b"/wd", work.user, has_id=True)
        return {os.fsdecode(name): os.fsdecode(value) for name, value in found.items()}
