"""A service that tests may hurt: a real server with real nodes on a folder of its own.

`with lote_service() as lote:` starts one; `kill`, `stop` and `start` as the test likes. When the
block ends well, the database must be sound and no process may be left.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from lote.agent.tree import with_descendants
from lote.blobs.sas import account_sas, container_sas
from lote.cli.client import API_VERSION, JSON_TYPE, BatchClient
from lote.cli.ready import Ready, account_of
from lote.cli.service import tail, wait_ready
from lote.cli.shared_key import authorization
from lote.engines.agent_record import read_record
from lote.engines.process import ProcessStat, list_stats, read_environment, read_stat
from lote.store.database import Connection, open_reader
from lote.store.invariants import check_invariants
from lote.wire.formats import format_http_date
from lote.world import World

T = TypeVar("T")
Json = dict[str, Any]

WITHIN_S = 60.0  # how long anything may take on a busy machine before it counts as never
POLL_S = 0.02
HOUR_US = 3_600_000_000
IMAGE = {
    "imageReference": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"},
    "nodeAgentSKUId": "batch.node.ubuntu 24.04",
}

_pause = threading.Event()


def until(condition: Callable[[], T], what: str = "it", within_s: float = WITHIN_S) -> T:
    """Poll until the condition holds; gives what it gave."""
    world = World()
    deadline_s = world.monotonic() + within_s
    while True:
        found = condition()
        if found:
            return found
        if world.monotonic() > deadline_s:
            raise AssertionError(f"not within {within_s:g} s: {what}; last seen: {found!r}")
        _pause.wait(POLL_S)


def sh(script: str) -> str:
    """The command line that runs a script in a shell."""
    return f"/bin/sh -c {shlex.quote(script)}"


def pool_body(pool_id: str, nodes: int, slots: int = 1) -> Json:
    """What `create_pool` needs."""
    return {
        "id": pool_id,
        "vmSize": "standard_d2_v2",
        "targetDedicatedNodes": nodes,
        "taskSlotsPerNode": slots,
        "virtualMachineConfiguration": IMAGE,
    }


class Reply(NamedTuple):
    """An answer as it came, refusals included."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error's code."""
        return str(msgspec.json.decode(self.body)["code"])


class Container(NamedTuple):
    """A container of the linked storage account, with a signed URL for all that tasks do."""

    name: str
    url: str
    """Without a signature."""
    signature: str

    @property
    def signed(self) -> str:
        """What a task is given."""
        return f"{self.url}?{self.signature}"

    def blob(self, name: str) -> str:
        """The signed URL of one blob."""
        return f"{self.url}/{quote(name)}?{self.signature}"


class Lote:
    """A service on a folder: its process, its nodes' processes, its API, its database."""

    def __init__(
        self,
        folder: Path,
        flags: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.environment = dict(environment or {})
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(mode=0o711, parents=True)
        self.log = folder / "service.log"
        self.flags = tuple(flags)
        self.world = World()
        self.process: subprocess.Popen[bytes] | None = None
        self.ready: Ready | None = None

    # -- the process ------------------------------------------------------------------------

    def start(self, *flags: str) -> None:
        """Start the server; returns when it answers."""
        ready_file = self.folder / "ready.json"
        ready_file.unlink(missing_ok=True)
        self.process = self.spawn("--ready-file", str(ready_file), *flags)
        self.ready = wait_ready(self.process, ready_file, self.log)
        self.client = BatchClient(account_of(self.ready), self.world)

    def spawn(self, *flags: str) -> subprocess.Popen[bytes]:
        """A `lote serve` on the folder, whatever becomes of it."""
        words = ["serve", "--data", str(self.data), "--port", "0", *self.flags, *flags]
        with self.log.open("ab") as sink:
            return subprocess.Popen(
                [sys.executable, "-m", "lote.main", *words],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **self.environment},
            )

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self.process is not None
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL to the server alone."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.client.close()
        self.process.send_signal(number)
        code = self.process.wait(WITHIN_S)
        self.process = None
        return code

    # -- processes of nodes -----------------------------------------------------------------

    @property
    def nodes_folder(self) -> Path:
        """Where the nodes live."""
        return (self.data / "nodes").resolve()

    def agents(self) -> dict[str, int]:
        """Pids of the agents (talkers) on record that are alive, by node id."""
        found = {}
        for folder in self.nodes_folder.glob("*/"):
            record = read_record(folder)
            if record is None or not record.pid:
                continue
            stat = read_stat(record.pid)
            if stat is not None and not stat.dead and stat.start_ticks == record.start_ticks:
                found[folder.name] = stat.pid
        return found

    def spawners(self, node_id: str) -> list[int]:
        """Pids of a node's spawners."""
        pid = self.agents()[node_id]
        return [one.pid for one in list_stats() if one.parent == pid]

    def task_processes(self, node_id: str | None = None) -> list[ProcessStat]:
        """Processes that carry the mark of a node of this folder."""
        root = os.fsencode(self.nodes_folder) + b"/"
        found = []
        for stat in list_stats():
            environment = read_environment(stat.pid) or {}
            is_ours = environment.get(b"AZ_BATCH_NODE_ROOT_DIR", b"").startswith(root)
            if is_ours and environment.get(b"AZ_BATCH_NODE_ID") in (
                (node_id.encode(),) if node_id else (environment.get(b"AZ_BATCH_NODE_ID"),)
            ):
                found.append(stat)
        return found

    def everything(self) -> list[ProcessStat]:
        """All processes of the service: the server, agents, spawners, tasks, storage."""
        pids = list(self.agents().values())
        if self.process is not None:
            pids.append(self.process.pid)
        stats = [read_stat(pid) for pid in dict.fromkeys(with_descendants(pids))]
        known = [one for one in stats if one is not None and not one.dead]
        return known + [one for one in self.task_processes() if one not in known]

    # -- the API ----------------------------------------------------------------------------

    def call(self, operation: str, body: object = None, **ids: str) -> Json:
        """Carry out an operation; gives the decoded answer."""
        answer = self.client.call(operation, ids, body=body)
        return msgspec.json.decode(answer.body, type=Json) if answer.body else {}

    def ask(self, method: str, path: str, body: object = None, timeout_s: float = 30.0) -> Reply:
        """One signed request, not repeated; gives any answer as it came."""
        assert self.ready is not None
        batch = self.ready.batch
        content = b"" if body is None else msgspec.json.encode(body)
        joint = "&" if "?" in path else "?"
        target = f"{path}{joint}api-version={API_VERSION}"
        headers = {"ocp-date": format_http_date(self.world.now_us())}
        if content:
            headers["content-type"] = JSON_TYPE
        if method != "GET":
            headers["content-length"] = str(len(content))
        headers["authorization"] = authorization(batch.account, batch.key, method, target, headers)
        base = urlsplit(batch.endpoint)
        connection = http.client.HTTPConnection(str(base.hostname), base.port, timeout=timeout_s)
        with contextlib.closing(connection):
            connection.request(method, target, content or None, headers)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, named, response.read())

    def add_pool(self, pool_id: str = "p", nodes: int = 2, slots: int = 2, **more: Any) -> None:
        """Make a pool and wait until its nodes are idle."""
        self.call("create_pool", pool_body(pool_id, nodes, slots) | more)
        self.wait_for_pool(pool_id, nodes)

    def wait_for_pool(self, pool_id: str = "p", nodes: int = 2) -> list[str]:
        """Wait until the pool is steady with this many nodes that can work; gives their ids."""

        def seen() -> list[str]:
            pool = self.call("get_pool", pool_id=pool_id)
            found = self.nodes(pool_id)
            able = [one["id"] for one in found if one["state"] in ("idle", "running")]
            is_whole = len(able) == len(found) == nodes == pool["currentDedicatedNodes"]
            return able if is_whole and pool["allocationState"] == "steady" else []

        return until(seen, f"a pool of {nodes} nodes")

    def nodes(self, pool_id: str = "p") -> list[Json]:
        """The pool's nodes as the API shows them."""
        return list(self.client.each("list_nodes", {"pool_id": pool_id}))

    def add_job(self, job_id: str = "j", pool_id: str = "p", **more: Any) -> None:
        """Make a job."""
        self.call("create_job", {"id": job_id, "poolInfo": {"poolId": pool_id}} | more)

    def add_tasks(self, tasks: Mapping[str, str | Json], job_id: str = "j") -> None:
        """Add tasks: id to command line, or to all members but the id."""
        entries = [
            {"id": one} | ({"commandLine": what} if isinstance(what, str) else what)
            for one, what in tasks.items()
        ]
        for first in range(0, len(entries), 100):
            body = {"value": entries[first : first + 100]}
            answer = self.call("create_task_collection", body, job_id=job_id)
            refused = [one for one in answer["value"] if one["status"] != "success"]
            assert not refused, refused

    def task(self, task_id: str, job_id: str = "j") -> Json:
        """A task as the API shows it."""
        return self.call("get_task", job_id=job_id, task_id=task_id)

    def counts(self, job_id: str = "j") -> Json:
        """The job's task counts."""
        counts: Json = self.call("get_job_task_counts", job_id=job_id)["taskCounts"]
        return counts

    def wait_for_state(self, task_id: str, state: str, job_id: str = "j") -> Json:
        """Wait until a task is in this state; gives it."""

        def seen() -> Json | None:
            task = self.task(task_id, job_id)
            return task if task["state"] == state else None

        return until(seen, f"task {task_id} {state}") or {}

    def wait_for_end(self, task_id: str, job_id: str = "j") -> Json:
        """Wait until a task is completed; gives its executionInfo."""
        found: Json = self.wait_for_state(task_id, "completed", job_id)["executionInfo"]
        return found

    def wait_for_counts(self, job_id: str = "j", **wanted: int) -> None:
        """Wait until the job's counts say this."""

        def seen() -> bool:
            counts = self.counts(job_id)
            return all(counts[name] == number for name, number in wanted.items())

        until(seen, f"{wanted} of {job_id}")

    def file(self, name: str, task_id: str, job_id: str = "j") -> Reply:
        """A file of a task."""
        path = "/".join(quote(part) for part in name.split("/"))
        return self.ask("GET", f"/jobs/{job_id}/tasks/{task_id}/files/{path}")

    # -- storage ----------------------------------------------------------------------------

    def add_container(self, name: str) -> Container:
        """Make a container in the linked storage account."""
        container = self.container(name)
        query = "restype=container&" + self._account_sas()
        assert self.fetch("PUT", f"{container.url}?{query}").status == 201
        return container

    def container(self, name: str, permissions: str = "rwlc") -> Container:
        """A container's URL and signature, whether it exists or not."""
        storage = self._storage()
        expiry_us = self.world.now_us() + HOUR_US
        signature = container_sas(storage.account, storage.key, name, permissions, expiry_us)
        return Container(name, f"{storage.blob_endpoint}/{name}", signature)

    def fetch(self, method: str, url: str, content: bytes = b"") -> Reply:
        """One plain request to the storage account."""
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        headers = {"x-ms-version": "2021-12-02"}
        if method == "PUT" and "restype" not in parts.query:
            headers["x-ms-blob-type"] = "BlockBlob"
        with contextlib.closing(connection):
            connection.request(method, f"{parts.path}?{parts.query}", content, headers)
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, named, response.read())

    def storage_process(self) -> ProcessStat | None:
        """The storage process of the running server."""
        agents = set(self.agents().values())
        found = [s for s in list_stats() if s.parent == self.pid and s.pid not in agents]
        return found[0] if found else None

    def _storage(self) -> Any:
        assert self.ready is not None
        assert self.ready.storage is not None
        return self.ready.storage

    def _account_sas(self) -> str:
        storage = self._storage()
        return account_sas(storage.account, storage.key, "rwdlc", self.world.now_us() + HOUR_US)

    # -- the record -------------------------------------------------------------------------

    @contextlib.contextmanager
    def database(self) -> Iterator[Connection]:
        """The database, to be read."""
        with contextlib.closing(open_reader(self.data / "account.db")) as connection:
            yield connection

    def events(self, kind: str) -> list[str]:
        """Subjects of the events of this kind."""
        with self.database() as db:
            return [
                row[0] for row in db.execute("SELECT subject FROM event WHERE kind = ?", [kind])
            ]

    def check_record(self) -> None:
        """The database is sound."""
        with self.database() as db:
            assert check_invariants(db) == []

    def said(self) -> str:
        """The end of what the server printed."""
        return tail(self.log)


class Ledger:
    """A file to which every run of a task appends a line, whoever it runs as."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        path.chmod(0o666)

    def line(self, then: str = ":") -> str:
        """The command that writes the task's id, then does something."""
        return sh(f"echo $AZ_BATCH_TASK_ID >> {self.path}; {then}")

    def runs(self) -> Counter[str]:
        """How often each task began."""
        return Counter(self.path.read_text().split())


def gone(processes: Sequence[ProcessStat]) -> bool:
    """Whether none of these processes is left."""
    for one in processes:
        stat = read_stat(one.pid)
        if stat is not None and not stat.dead and stat.start_ticks == one.start_ticks:
            return False
    return True


@contextlib.contextmanager
def lote_service(
    *flags: str, is_started: bool = True, environment: Mapping[str, str] | None = None
) -> Iterator[Lote]:
    """A service for a test, on free ports. Sound and without a process left at the end.

    ``environment`` is added to that of the tests."""
    folder = Path(tempfile.mkdtemp(prefix="lote-faults-"))
    folder.chmod(0o711)  # users of tasks pass through
    lote = Lote(folder, flags, environment)
    try:
        if is_started:
            lote.start()
        yield lote
        _end_well(lote)
    except BaseException:
        if lote.log.exists():
            lines = lote.log.read_text(errors="replace").splitlines()
            print(*[one for one in lines if "key  " not in one][-100:], sep="\n")  # pytest shows it
        raise
    finally:
        _end_anyhow(lote)
        shutil.rmtree(folder, ignore_errors=True)


def _end_well(lote: Lote) -> None:
    lote.check_record()
    processes = lote.everything()
    assert lote.stop() == 0, lote.said()
    assert gone(processes), [one for one in processes if not gone([one])]
    assert lote.task_processes() == []
    lote.check_record()


def _end_anyhow(lote: Lote) -> None:
    """After a failure: nothing of it may disturb the tests that follow."""
    left = lote.everything()
    if lote.ready is not None:
        lote.client.close()
    if lote.process is not None:
        lote.process.kill()
        lote.process.wait()
    for one in left:
        if not gone([one]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
