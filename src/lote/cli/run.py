"""`lote run`: one command as a task, with its output and its exit code, like a local process."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lote.cli.client import BatchClient, BatchError, Json, Unreachable
from lote.cli.follow import Follower
from lote.cli.inputs import InputError, Inputs
from lote.cli.interrupts import Interrupted, Interrupts
from lote.cli.ready import NoService, account_of, find_service
from lote.world import World

POOL_ID = "lote-run"  # made when the account has no pool
# What a pool must say to be valid; local nodes have the software of this machine (docs/nodes.md).
POOL = {
    "id": POOL_ID,
    "vmSize": "standard_d2s_v3",
    "virtualMachineConfiguration": {
        "imageReference": {
            "publisher": "canonical",
            "offer": "0001-com-ubuntu-server-jammy",
            "sku": "22_04-lts",
            "version": "latest",
        },
        "nodeAgentSKUId": "batch.node.ubuntu 22.04",
    },
    "targetDedicatedNodes": 1,
    "taskSlotsPerNode": 2,
}
NOT_RUN = 125  # as other runners of commands use it: the fault was not the command's
INTERRUPTED = 130  # 128 + SIGINT
SIGNALLED = 128
BROKEN_PIPE = 141  # 128 + SIGPIPE


class Command(NamedTuple):
    """What to run and where."""

    words: list[str]
    pool: str | None = None
    job: str | None = None
    resources: tuple[Path, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    keep: bool = False


class Runner:
    """Runs one command on an account. ``sinks`` take standard output and standard error."""

    def __init__(
        self,
        client: BatchClient,
        world: World,
        sinks: tuple[BinaryIO, BinaryIO],
        notify: Callable[[str], None],
        inputs: Inputs | None,
    ) -> None:
        self._client = client
        self._world = world
        self._sinks = sinks
        self._notify = notify
        self._inputs = inputs

    def run(self, command: Command) -> int:
        """The exit code for the terminal: the command's own, 128 + signal, or 125.

        Raises ``BatchError`` for what the service refuses. An interrupt terminates the task.
        """
        name = f"run-{self._world.new_guid()[:12]}"
        with Interrupts() as interrupts, ExitStack() as cleanup:
            files = cleanup.enter_context(self._offered(name, command))
            task = cleanup.enter_context(self._added(name, command, files))
            follower = Follower(
                self._client, task, self._sinks, self._world, self._notify, interrupts
            )
            try:
                ended = follower.until_end()
            except (Interrupted, BrokenPipeError):
                self._terminate(task)
                raise
            return self._exit_code(ended)

    @contextmanager
    def _offered(self, name: str, command: Command) -> Iterator[list[Json]]:
        """Local files, uploaded for the time of the task; gives its resourceFiles."""
        if not command.resources:
            yield []
            return
        if self._inputs is None:
            raise InputError("--resource needs a storage account, and none is known")
        files = self._inputs.upload(name, command.resources)
        try:
            yield files
        finally:
            if not command.keep:
                self._inputs.remove(name)

    @contextmanager
    def _added(self, name: str, command: Command, files: list[Json]) -> Iterator[dict[str, str]]:
        """The task, in a job of its own unless one is named; both are removed afterwards."""
        job_id = command.job or name
        made = self._ensure_job(job_id, command)
        task = {"job_id": job_id, "task_id": name}
        try:
            body = task_body(name, command, files)
            self._client.call("create_task", {"job_id": job_id}, body=body)
            yield task
        finally:
            if command.keep:
                self._notify(f"kept: job {job_id}, task {name}")
            elif made:
                self._client.call("delete_job", {"job_id": job_id})
            else:
                self._client.call("delete_task", task)

    def _ensure_job(self, job_id: str, command: Command) -> bool:
        """Whether the job had to be made."""
        if command.job is not None:
            try:
                self._client.get("get_job", {"job_id": job_id})
                return False
            except BatchError as error:
                if error.status != 404:
                    raise
        pool_id = self._choose_pool(command.pool)
        self._client.call("create_job", body={"id": job_id, "poolInfo": {"poolId": pool_id}})
        return True

    def _choose_pool(self, wanted: str | None) -> str:
        """The pool asked for, else ``lote-run``, else the first; one is made when there is none."""
        if wanted is not None:
            self._client.get("get_pool", {"pool_id": wanted})
            return wanted
        pools = [p["id"] for p in self._client.each("list_pools") if p.get("state") == "active"]
        if POOL_ID in pools or not pools:
            self._ensure_pool(exists=bool(pools))
            return POOL_ID
        return str(pools[0])

    def _ensure_pool(self, *, exists: bool) -> None:
        if exists:
            return
        self._notify(f"no pool yet: making pool {POOL_ID} with one node")
        try:
            self._client.call("create_pool", body=POOL)
        except BatchError as error:
            if error.code != "PoolExists":  # another `lote run` was quicker
                raise

    def _terminate(self, task: dict[str, str]) -> None:
        try:
            self._client.call("terminate_task", task)
        except BatchError as error:
            if error.code != "TaskCompleted":
                raise

    def _exit_code(self, task: Json) -> int:
        execution = task.get("executionInfo", {})
        code = execution.get("exitCode")
        failure = execution.get("failureInfo")
        if code is None or (code == 0 and failure):
            self._notify(failure_text(failure))
            return NOT_RUN
        return int(code) if code >= 0 else SIGNALLED - int(code)


def task_body(name: str, command: Command, files: list[Json]) -> Json:
    """The task as the service takes it. A command line has no shell; words are quoted as needed."""
    body: Json = {"id": name, "commandLine": shlex.join(command.words)}
    if files:
        body["resourceFiles"] = files
    if command.environment:
        body["environmentSettings"] = [{"name": n, "value": v} for n, v in command.environment]
    return body


def failure_text(failure: Json | None) -> str:
    """Why the command did not run, in one line and its details."""
    if not failure:
        return "the task ended without an exit code and without a reason"
    lines = [f"{failure.get('code')}: {failure.get('message')}"]
    lines += [f"  {d.get('name')}: {d.get('value')}" for d in failure.get("details") or ()]
    return "\n".join(lines)


def run_command(
    command: Command,
    environment: Mapping[str, str],
    folder: Path | None,
    notify: Callable[[str], None],
) -> int:
    """Find the service, run the command there, and give the exit code for the terminal."""
    world = World()
    try:
        ready = find_service(environment, folder)
        storage = ready.storage and ready.storage.connection_string
        client = BatchClient(account_of(ready), world)
        inputs = Inputs(storage, world, ready.ca) if storage else None
        sinks = (sys.stdout.buffer, sys.stderr.buffer)
        return Runner(client, world, sinks, notify, inputs).run(command)
    except (NoService, BatchError, Unreachable, InputError) as error:
        notify(str(error))
        return NOT_RUN
    except Interrupted as interrupted:
        notify(f"{interrupted}: the task was terminated")
        return SIGNALLED + interrupted.number
    except KeyboardInterrupt:  # before there was a task, or a second time
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as in `| head`: nothing is left to write at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
