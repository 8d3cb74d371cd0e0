"""`lote run` against a scripted service: output, exit codes, what is made and removed."""

from __future__ import annotations

import io
import signal
from pathlib import Path

import pytest
from scripted import Request, ScriptedClient, ok, refused

from lote.cli.client import Answer, BatchError, Unreachable
from lote.cli.follow import CHUNK_BYTES
from lote.cli.inputs import InputError
from lote.cli.interrupts import Interrupted
from lote.cli.run import POOL_ID, Command, Runner, failure_text, task_body
from lote.world import World


class Service:
    """A service with one task. Its output grows by one piece each time the task is asked for."""

    def __init__(self, end: dict[str, object], pieces: tuple[bytes, ...] = (), pools=(POOL_ID,)):
        self.end = end
        self.pieces = list(pieces)
        self.pools = list(pools)
        self.jobs = {"old"}
        self.written = {"stdout.txt": b"", "stderr.txt": b"warned\xff"}
        self.task = {"state": "active"}
        self.away = 0
        self.made: list[dict[str, object]] = []

    def __call__(self, request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if request.method == "POST":
            self.made.append(request.body)
            return ok(status=204 if name == "terminate" else 201)
        if request.method == "DELETE":
            return ok(status=200 if "/tasks/" in request.path else 202)
        if name == "pools":
            return ok({"value": [{"id": p, "state": "active"} for p in self.pools]})
        if name in self.written:
            return self.file(name, request.headers["ocp-range"])
        if "/tasks/" in request.path:
            return self.tick()
        if "/jobs/" in request.path:
            return ok({"id": name}) if name in self.jobs else refused(404, "JobNotFound")
        return ok({"id": name}) if name in self.pools else refused(404, "PoolNotFound")

    def tick(self) -> Answer:
        if self.away:
            self.away -= 1
            raise ConnectionRefusedError("away")
        answer = ok(self.task)
        if self.pieces:
            self.written["stdout.txt"] += self.pieces.pop(0)
            self.task = {"state": "running"}
        else:
            self.task = {"state": "completed", "executionInfo": self.end}
        return answer

    def file(self, name: str, span: str) -> Answer:
        start, _, end = span.removeprefix("bytes=").partition("-")
        content = self.written[name]
        if int(start) >= len(content):
            return refused(416, "InvalidRange")
        return Answer(200, {}, content[int(start) : int(end) + 1])


class Bench:
    """A runner on a scripted service, with its output in memory."""

    def __init__(self, service: Service, inputs=None) -> None:
        self.client = ScriptedClient(service)
        self.out, self.err = io.BytesIO(), io.BytesIO()
        self.said: list[str] = []
        sinks = (self.out, self.err)
        self.runner = Runner(self.client, World(), sinks, self.said.append, inputs)

    def run(self, **wanted) -> int:
        return self.runner.run(Command(**{"words": ["true"], **wanted}))


def test_output_and_exit_code_are_the_commands():
    service = Service({"exitCode": 7}, (b"one\n", b"\x00two", b"\n"))
    bench = Bench(service)
    assert bench.run() == 7
    assert bench.out.getvalue() == b"one\n\x00two\n"
    assert bench.err.getvalue() == b"warned\xff"


def test_output_longer_than_a_chunk_is_whole():
    text = b"x" * (2 * CHUNK_BYTES + 5)
    bench = Bench(Service({"exitCode": 0}, (text,)))
    assert bench.run() == 0
    assert bench.out.getvalue() == text


def test_output_of_exactly_one_chunk_is_whole():
    bench = Bench(Service({"exitCode": 0}, (b"x" * CHUNK_BYTES,)))
    assert bench.run() == 0
    assert len(bench.out.getvalue()) == CHUNK_BYTES


def test_signal_is_128_and_its_number():
    assert Bench(Service({"exitCode": -9})).run() == 137


def test_fault_before_the_command_is_125_and_told():
    failure = {"category": "usererror", "code": "CommandProgramNotFound", "message": "Not found."}
    bench = Bench(Service({"failureInfo": failure}))
    assert bench.run() == 125
    assert bench.said == ["CommandProgramNotFound: Not found."]


def test_fault_after_success_is_125():
    failure = {"category": "usererror", "code": "FileUploadMiscError", "message": "No."}
    assert Bench(Service({"exitCode": 0, "failureInfo": failure})).run() == 125


def test_own_job_is_made_and_removed():
    bench = Bench(Service({"exitCode": 0}))
    bench.run()
    made, removed = bench.client.lines[1], bench.client.lines[-1]
    assert made == "POST /jobs"
    assert removed.startswith("DELETE /jobs/run-")
    assert "/tasks/" not in removed


def test_existing_job_stays_and_loses_the_task_only():
    bench = Bench(Service({"exitCode": 0}))
    bench.run(job="old")
    assert bench.client.lines[-1].startswith("DELETE /jobs/old/tasks/run-")
    assert "POST /jobs" not in bench.client.lines


def test_new_job_of_a_given_name_is_made():
    service = Service({"exitCode": 0})
    bench = Bench(service)
    bench.run(job="fresh")
    assert {"id": "fresh", "poolInfo": {"poolId": POOL_ID}} in service.made
    assert bench.client.lines[-1] == "DELETE /jobs/fresh"


def test_keep_removes_nothing():
    bench = Bench(Service({"exitCode": 0}))
    bench.run(keep=True)
    assert not [line for line in bench.client.lines if line.startswith("DELETE")]
    assert bench.said[-1].startswith("kept: job run-")


def test_job_is_removed_when_its_task_is_refused():
    service = Service({"exitCode": 0})

    def script(request: Request) -> Answer:
        if request.line.startswith("POST /jobs/"):
            return refused(400, "InvalidPropertyValue")
        return service(request)

    bench = Bench(service)
    bench.client._script = script
    with pytest.raises(BatchError):
        bench.run()
    assert bench.client.lines[-1].startswith("DELETE /jobs/run-")


@pytest.mark.parametrize(
    ("pools", "wanted", "used"),
    [
        ((), None, POOL_ID),
        (("b", POOL_ID), None, POOL_ID),
        (("b", "c"), None, "b"),
        (("b", "c"), "c", "c"),
    ],
)
def test_pool_choice(pools, wanted, used):
    service = Service({"exitCode": 0}, pools=pools)
    Bench(service).run(pool=wanted)
    job = next(body for body in service.made if "poolInfo" in body)
    assert job["poolInfo"] == {"poolId": used}
    made = [body["id"] for body in service.made if "vmSize" in body]
    assert made == ([] if pools else [POOL_ID])


def test_unknown_pool_is_refused_before_anything_is_made():
    service = Service({"exitCode": 0})
    with pytest.raises(BatchError, match="PoolNotFound"):
        Bench(service).run(pool="nope")
    assert service.made == []


def test_service_may_be_away_for_a_while():
    service = Service({"exitCode": 0})
    service.away = 3
    bench = Bench(service)
    assert bench.run() == 0
    assert bench.said == ["the service does not answer; waiting for it"]


def test_service_that_stays_away_is_told(monkeypatch):
    monkeypatch.setattr("lote.cli.follow.AWAY_S", 0.0)
    service = Service({"exitCode": 0})
    service.away = 10**6
    with pytest.raises(Unreachable):
        Bench(service).run()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_terminates_the_task(number):
    class Interrupting(io.BytesIO):
        def write(self, chunk):
            signal.raise_signal(number)  # to this thread; the test process may have more
            return super().write(chunk)

    bench = Bench(Service({"exitCode": 0}, (b"a", b"b")))
    bench.runner._sinks = (Interrupting(), io.BytesIO())
    with pytest.raises(Interrupted) as caught:
        bench.run()
    assert caught.value.number == number
    assert bench.client.lines[-2].endswith("/terminate")
    assert bench.client.lines[-1].startswith("DELETE /jobs/run-")


def test_long_wait_for_a_node_is_explained(monkeypatch):
    monkeypatch.setattr("lote.cli.follow.QUEUED_NOTICE_S", -1.0)
    service = Service({"exitCode": 0})
    service.jobs = set()

    def script(request: Request) -> Answer:
        if (
            request.method == "GET"
            and "/jobs/run-" in request.path
            and "/tasks/" not in request.path
        ):
            return ok({"poolInfo": {"poolId": "p"}})
        if request.method == "GET" and request.path.endswith("/pools/p"):
            error = {"code": "AllocationFailed", "message": "no machine"}
            return ok({"allocationState": "steady", "resizeErrors": [error]})
        return service(request)

    bench = Bench(service)
    bench.client._script = script
    assert bench.run() == 0
    assert bench.said == [
        "the task still waits for a slot in pool p (AllocationFailed: no machine)"
    ]


def test_words_are_quoted_and_environment_is_given():
    command = Command(["echo", "a b", "$HOME"], environment=(("A", "1"),))
    assert task_body("t", command, []) == {
        "id": "t",
        "commandLine": "echo 'a b' '$HOME'",
        "environmentSettings": [{"name": "A", "value": "1"}],
    }


def test_files_need_storage():
    with pytest.raises(InputError, match="storage account"):
        Bench(Service({"exitCode": 0})).run(resources=(Path("x"),))


def test_failure_without_reason_is_said():
    assert "without" in failure_text(None)
    details = [{"name": "FilePath", "value": "x"}]
    text = failure_text({"code": "C", "message": "M", "details": details})
    assert text == "C: M\n  FilePath: x"
