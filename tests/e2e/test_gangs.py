"""Multi-instance tasks on real nodes: real processes that talk to each other, and real deaths."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from harness import Lote, lote_service, sh, until
from told_times import burned_s, seconds

INTER_NODE = {"enableInterNodeCommunication": True}

# Binds before it returns, then answers everybody with the id of its node.
SERVE = """
import os, socket
address = os.environ["LOTE_NODE_ADDRESS"]
server = socket.create_server((address, 0))
if os.fork() == 0:
    os.setsid()
    while True:
        with server.accept()[0] as caller:
            caller.sendall(os.environ["AZ_BATCH_NODE_ID"].encode())
else:
    with open(os.environ["MEETING"] + "/" + address, "w") as port:
        port.write(str(server.getsockname()[1]))
"""
CALL = """
import os, socket
for address in os.environ["AZ_BATCH_HOST_LIST"].split(","):
    with open(os.environ["MEETING"] + "/" + address) as port:
        with socket.create_connection((address, int(port.read())), timeout=60) as link:
            print(link.recv(100).decode())
"""
ALLREDUCE = """
import ctypes
mpi = ctypes.CDLL("libmpi.so.40", mode=ctypes.RTLD_GLOBAL)
def named(name):
    return ctypes.c_void_p(ctypes.addressof(ctypes.c_char.in_dll(mpi, name)))
world, rank, total = named("ompi_mpi_comm_world"), ctypes.c_int(), ctypes.c_int()
mpi.MPI_Init(None, None)
mpi.MPI_Comm_rank(world, ctypes.byref(rank))
mine = ctypes.c_int(rank.value + 1)
integer, add = named("ompi_mpi_int"), named("ompi_mpi_op_sum")
mpi.MPI_Allreduce(ctypes.byref(mine), ctypes.byref(total), 1, integer, add, world)
print("sum", total.value)
mpi.MPI_Finalize()
"""


def gang(coordination: str, command: str, instances: int = 3, **more: object) -> dict[str, object]:
    settings = {"numberOfInstances": instances, "coordinationCommandLine": coordination}
    return {"commandLine": command, "multiInstanceSettings": settings} | more


def subtasks(lote: Lote, task_id: str) -> list[dict[str, object]]:
    return list(lote.client.each("list_subtasks", {"job_id": "j", "task_id": task_id}))


@pytest.fixture(scope="module")
def lote() -> Iterator[Lote]:
    with lote_service() as service:
        service.add_pool(nodes=3, slots=1, **INTER_NODE)
        service.add_job()
        yield service


def test_instances_meet_at_their_addresses(lote: Lote) -> None:
    meeting = lote.folder / "meeting"
    meeting.mkdir()
    meeting.chmod(0o777)
    blobs = lote.add_container("inputs")
    for name, text in (("serve.py", SERVE), ("call.py", CALL)):
        assert lote.fetch("PUT", blobs.blob(name), text.encode()).status == 201
    task = gang(
        sh("python3 $AZ_BATCH_TASK_SHARED_DIR/serve.py"),
        sh("python3 call.py; ls ..; ls; echo $AZ_BATCH_HOST_LIST $CCP_NODES"),
        resourceFiles=[{"httpUrl": blobs.blob("call.py"), "filePath": "call.py"}],
        environmentSettings=[{"name": "MEETING", "value": str(meeting)}],
    )
    common = [{"httpUrl": blobs.blob("serve.py"), "filePath": "serve.py"}]
    task["multiInstanceSettings"] |= {"commonResourceFiles": common}  # type: ignore[operator]
    lote.add_tasks({"talk": task})
    info = lote.wait_for_end("talk")
    said = lote.file("stdout.txt", "talk").body.decode()
    assert info["result"] == "success", (info, said, lote.file("stderr.txt", "talk").body)
    words = said.split()
    addresses = {one["id"]: one["ipAddress"] for one in lote.nodes()}
    assert set(words[:3]) == set(addresses)
    assert {"serve.py", "coordination-stdout.txt", "call.py"} <= set(words)
    hosts, ccp = words[-8].split(","), words[-7:]
    assert hosts == [addresses[node_id] for node_id in words[:3]]
    assert ccp[0] == "3"
    assert ccp[1::2] == hosts
    shown = subtasks(lote, "talk")
    assert [(one["id"], one["state"], one["exitCode"]) for one in shown] == [
        (1, "completed", 0),
        (2, "completed", 0),
    ]
    assert [one["nodeInfo"]["nodeId"] for one in shown] == words[1:3]  # type: ignore[index]
    until(lambda: not lote.task_processes(), "the end of what was coordinated")
    root = lote.nodes_folder / words[1] / "tasks/workitems/j/job-1/talk"
    assert (root / "serve.py").exists()
    assert not (root / "wd/call.py").exists()  # the primary's own


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="there is no mpirun here")
def test_mpirun_reaches_all_nodes(lote: Lote) -> None:
    roots = [{"name": "OMPI_ALLOW_RUN_AS_ROOT", "value": "1"}]  # mpirun asks twice
    roots.append({"name": "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "value": "1"})
    program = lote.folder / "allreduce.py"
    program.write_text(ALLREDUCE)
    command = f"TMPDIR=$PWD mpirun -np 3 -host $AZ_BATCH_HOST_LIST python3 {program}"
    lote.add_tasks({"mpi": gang("true", sh(command), environmentSettings=roots)})
    info = lote.wait_for_end("mpi")
    said = lote.file("stdout.txt", "mpi").body.decode()
    print(lote.file("stderr.txt", "mpi").body.decode())
    assert info["result"] == "success", (info, said)
    assert said.split("\n")[:3] == ["sum 6"] * 3
    until(lambda: not lote.task_processes(), "the end of mpirun and what it started")


def test_what_is_left_running_dies_with_a_terminated_task(lote: Lote) -> None:
    lote.add_tasks({"long": gang(sh("setsid sleep 500 & sleep 400 &"), "sleep 300")})
    lote.wait_for_state("long", "running")
    words = ("sleep 500", "sleep 400")

    def sleeping() -> list[str]:
        found = [lote_command(one.pid) for one in lote.task_processes()]
        return [one for one in found if one in (*words, "sleep 300")]

    until(lambda: sorted(sleeping()) == sorted(["sleep 300", *words * 3]), "all at work")
    lote.call("terminate_task", job_id="j", task_id="long")
    assert lote.task("long")["state"] == "completed"
    until(lambda: not lote.task_processes(), "the end of what was left running")
    until(lambda: {one["state"] for one in lote.nodes()} == {"idle"}, "idle nodes")
    assert {one["failureInfo"]["code"] for one in subtasks(lote, "long")} == {"TaskEnded"}  # type: ignore[index]


def lote_command(pid: int) -> str:
    """The command line of a process, if it has not gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as source:
            return source.read().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_failing_coordination_is_tried_again_on_all_nodes(lote: Lote) -> None:
    log = lote.folder / "tries"
    log.touch()
    log.chmod(0o666)
    coordinate = sh(f"echo $LOTE_NODE_ADDRESS >> {log}; [ $(wc -l < {log}) -ge 6 ]")
    task = gang(coordinate, sh("echo done"), constraints={"maxTaskRetryCount": 5})
    lote.add_tasks({"stubborn": task})
    info = lote.wait_for_end("stubborn")
    assert info["result"] == "success"
    assert 1 <= info["retryCount"] <= 5
    lote.add_tasks({"hopeless": gang(sh("exit 3"), "true")})
    info = lote.wait_for_end("hopeless")
    assert (info["exitCode"], info["failureInfo"]["code"]) == (3, "FailureExitCode")
    for task_id, words in (
        ("unfound", ("no-such-program", "true")),
        ("unfound-later", (sh("sleep 500 &"), "no-such-program")),
    ):
        lote.add_tasks({task_id: gang(*words, constraints={"maxTaskRetryCount": 3})})
        info = lote.wait_for_end(task_id)
        assert info["retryCount"] == 0
        assert info["failureInfo"]["code"] == "CommandProgramNotFound"
        assert "exitCode" not in info
    until(lambda: not lote.task_processes(), "the end of what was left running")


def test_what_all_instances_used_is_in_the_statistics_of_the_task(lote: Lote) -> None:
    told = lote.folder / "told"
    told.mkdir()
    told.chmod(0o777)
    burn = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; times"
    # The first attempt fails everywhere, once it is at work everywhere; what it used counts, too.
    all_here = f"while [ $(ls -d {told}/first.* | wc -l) -lt 3 ]; do sleep 0.02; done"
    first = f"{burn} > {told}/burned.$LOTE_NODE_ADDRESS; {all_here}; exit 1"
    left = f"({burn} > {told}/left.$LOTE_NODE_ADDRESS) &"
    begins = f"mkdir {told}/first.$LOTE_NODE_ADDRESS 2>/dev/null"
    coordinate = sh(f"if {begins}; then {first}; fi; {left}")
    command = sh(f"{burn} > {told}/command; while ! test -e {told}/go; do sleep 0.05; done")
    lote.add_tasks({"busy": gang(coordinate, command, constraints={"maxTaskRetryCount": 1})})

    def spoken() -> list[Path]:
        return [path for path in told.iterdir() if path.name[0] in "lc" and path.stat().st_size]

    until(lambda: len(spoken()) == 4, "the word of three left behind and of the command")
    said = sum(burned_s(path) for path in told.iterdir() if path.is_file())
    (told / "go").touch()
    info = lote.wait_for_end("busy")
    assert (info["result"], info["retryCount"]) == ("success", 1)
    until(lambda: {one["state"] for one in lote.nodes()} == {"idle"}, "idle nodes")
    for path in ("/jobs/j/tasks/busy", "/jobs/j"):
        stats = statistics_of(lote, path)
        assert seconds(stats["userCPUTime"]) + seconds(stats["kernelCPUTime"]) >= said > 0
        assert seconds(stats["wallClockTime"]) > 0


def test_a_coordination_is_counted_also_where_no_command_line_could_follow(lote: Lote) -> None:
    told = lote.folder / "told-alone"
    told.touch()
    told.chmod(0o666)
    burn = sh(f"i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; times > {told}")
    lote.add_tasks({"alone": gang(burn, "no-such-program", instances=1)})
    info = lote.wait_for_end("alone")
    assert info["failureInfo"]["code"] == "CommandProgramNotFound"
    stats = statistics_of(lote, "/jobs/j/tasks/alone")
    assert seconds(stats["userCPUTime"]) + seconds(stats["kernelCPUTime"]) >= burned_s(told) > 0


def statistics_of(lote: Lote, path: str) -> dict[str, str]:
    reply = lote.ask("GET", f"{path}?$expand=stats")
    return dict(msgspec.json.decode(reply.body)["stats"])


@pytest.mark.parametrize("victim", ["server", "primary", "subtask"])
def test_killed_in_the_middle(victim: str) -> None:
    with lote_service() as lote:
        gate, log = lote.folder / "go", lote.folder / "runs"
        log.touch()
        log.chmod(0o666)
        lote.add_pool(nodes=3, slots=1, **INTER_NODE)
        lote.add_job()
        command = sh(f"echo begun >> {log}; while ! test -e {gate}; do sleep 0.05; done")
        lote.add_tasks({"g": gang(sh(f"echo ready >> {log}; sleep 600 &"), command)})
        until(lambda: "begun" in log.read_text(), "the primary at work")
        primary = lote.task("g")["nodeInfo"]["nodeId"]
        if victim == "server":
            lote.kill()
            lote.check_record()
            lote.start()
            lote.wait_for_pool(nodes=3)
        else:
            others = [node_id for node_id in lote.agents() if node_id != primary]
            os.kill(lote.agents()[primary if victim == "primary" else others[0]], signal.SIGKILL)
            until(lambda: log.read_text().count("begun") == 2, "another run")
        gate.touch()
        info = lote.wait_for_end("g")
        runs = 1 if victim == "server" else 2
        assert info["result"] == "success"
        assert (info["retryCount"], info["requeueCount"]) == (0, 0)
        assert (log.read_text().count("begun"), log.read_text().count("ready")) == (runs, 3 * runs)
        until(lambda: not lote.task_processes(), "the end of all processes")
        lote.check_record()
