"""The engine suite over every engine, and what only processes can show."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.board import Board, serve_board
from conformance.engine_suite import LONG, NodeSuite, RunSuite, start, states
from conformance.rigs import REAL_COMMAND, STUB_COMMAND, FakeRig, LocalRig, order
from lote.engines.local import LocalEngine
from lote.engines.process import read_command, read_environment
from lote.engines.registry import ENGINES
from lote.engines.seam import EngineError
from lote.world import SteppedWorld, World


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board()
    yield board
    assert board.faults == []


@pytest.fixture
def local_rig(board: Board, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[LocalRig]:
    with serve_board(board) as url:
        rig = LocalRig(board, url, tmp_path / "nodes", request.cls.command)
        yield rig
        rig.engine.close(leave_nodes=False)


class TestFakeEngine(NodeSuite, RunSuite):
    @pytest.fixture
    def rig(self, board: Board) -> FakeRig:
        return FakeRig(board, SteppedWorld())


class TestLocalEngine(NodeSuite, RunSuite):
    command = REAL_COMMAND

    @pytest.fixture
    def rig(self, local_rig: LocalRig) -> LocalRig:
        return local_rig


class TestLocalEngineAlone(NodeSuite):
    """With an agent that leaves its tasks behind, so that the engine has to sweep them."""

    command = STUB_COMMAND

    @pytest.fixture
    def rig(self, local_rig: LocalRig) -> LocalRig:
        return local_rig

    def test_the_secret_is_nowhere_to_be_seen(self, rig: LocalRig):
        start(rig, "one")
        secret = order("one").secret
        pid = rig.pid("one")
        assert secret not in " ".join(read_command(pid) or [])
        assert set(read_environment(pid) or {}) == {b"PATH"}
        for path in (rig.node_root / "one").rglob("*"):
            assert secret not in path.read_text()
        assert (rig.node_root / "one" / "agent.json").stat().st_mode & 0o777 == 0o600

    def test_agents_inherit_no_descriptor(self, rig: LocalRig):
        with open(os.devnull) as file:
            os.set_inheritable(file.fileno(), True)
            start(rig, "one")
            links = [os.readlink(p) for p in Path(f"/proc/{rig.pid('one')}/fd").iterdir()]
        assert os.devnull not in links

    def test_a_killed_daemon_of_a_task_is_swept_by_its_marker(self, rig: LocalRig):
        start(rig, "one")
        rig.board.send_runs("one", {1: f"setsid sh -c '{LONG} & {LONG}'"})
        rig.until(lambda: rig.running("one") == 3, "shell and sleeps are at work")
        rig.kill_agent("one")
        rig.until(lambda: rig.told, "the death is told")
        assert rig.running("one") == 0

    def test_another_services_node_of_the_same_name_is_let_alone(
        self, rig: LocalRig, board: Board, tmp_path: Path
    ):
        start(rig, "one")
        rig.board.send_runs("one", {1: LONG})
        rig.until(lambda: rig.running("one") == 1, "the run is at work")
        with serve_board(other_board := Board()) as url:
            other = LocalRig(other_board, url, tmp_path / "other", STUB_COMMAND)
            start(other, "one")
            other.kill_agent("one")
            other.until(lambda: other.told, "the death is told")
            other.engine.close(leave_nodes=False)
        assert rig.running("one") == 1

    def test_a_reused_pid_is_not_taken_for_the_agent(self, rig: LocalRig):
        start(rig, "one")
        rig.engine.close(leave_nodes=True)
        path = rig.node_root / "one" / "agent.json"
        record = json.loads(path.read_text())
        agent_pid = record["pid"]
        path.write_text(json.dumps(record | {"pid": os.getpid()}))
        rig.restart()
        assert states(rig) == {"one": False}
        path.write_text(json.dumps(record))
        rig.restart()
        assert states(rig) == {"one": True}
        assert rig.pid("one") == agent_pid

    def test_a_torn_record_is_a_dead_node_and_other_folders_are_let_alone(self, rig: LocalRig):
        rig.engine.close(leave_nodes=True)
        for name in ("torn", "foreign"):
            (rig.node_root / name).mkdir()
        (rig.node_root / "torn" / "agent.json").write_text('{"pid": 1')
        rig.restart()
        assert states(rig) == {"torn": False}
        rig.engine.stop_nodes(["torn", "foreign"])
        assert [p.name for p in rig.node_root.iterdir()] == ["foreign"]

    def test_folders_that_a_task_closed_are_removed(self, rig: LocalRig):
        start(rig, "one")
        closed = rig.node_root / "one" / "tasks" / "closed"
        closed.mkdir(parents=True)
        (closed / "file").write_text("x")
        closed.chmod(0)
        rig.engine.stop_nodes(["one"])
        assert not (rig.node_root / "one").exists()

    @pytest.mark.parametrize("node_id", ["", "..", "a/b", ".hidden"])
    def test_an_id_that_is_no_name_is_refused(self, rig: LocalRig, node_id: str):
        with pytest.raises(EngineError, match="not a node id"):
            rig.engine.start_nodes([order(node_id)])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run tasks as other users")
def test_users_of_tasks_reach_nodes_of_a_private_folder(tmp_path: Path, board: Board):
    tmp_path.chmod(0o700)
    with serve_board(board) as url, tempfile.TemporaryDirectory() as system_root:
        os.chmod(system_root, 0o755)
        engine = LocalEngine(
            tmp_path / "data" / "nodes",
            lambda: url,
            World(),
            task_uid_base=64000,
            system_root=Path(system_root),
        )
        rig = LocalRig(board, url, tmp_path / "data" / "nodes", REAL_COMMAND, engine)
        start(rig, "one")
        board.send_runs("one", {1: "/bin/sh -c 'test $(id -u) -ge 64000 && echo x > file'"})
        rig.until(lambda: board.ended(1), "the run ends")
        assert board.ended(1).exit_code == 0
        assert (tmp_path / "data" / "nodes").is_symlink()
        engine.close(leave_nodes=False)


def test_an_agent_that_breaks_says_why(tmp_path: Path, board: Board):
    with serve_board(board) as url:
        command = (*STUB_COMMAND[:1], "-c", "raise SystemExit('no such wheel')")
        rig = LocalRig(board, url, tmp_path / "nodes", command)
        rig.engine.start_nodes([order("one")])
        rig.until(lambda: rig.told, "the end is told")
        rig.engine.close(leave_nodes=False)
    assert rig.told[0][1].endswith("ended with exit code 1: no such wheel")


def test_a_command_that_is_missing_is_an_engine_error(tmp_path: Path):
    engine = LocalEngine(tmp_path, lambda: "", World(), command=("/no/such/agent",))
    try:
        with pytest.raises(EngineError, match=r"/no/such/agent did not start: .*No such file"):
            engine.start_nodes([order("one")])
        assert engine.list_nodes() == []
        assert list(tmp_path.iterdir()) == []
    finally:
        engine.close(leave_nodes=False)


def test_engines_are_known_by_their_names():
    assert {name: engine.name for name, engine in ENGINES.items()} == {
        "local": "local",
        "fake": "fake",
    }
