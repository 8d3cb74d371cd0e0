"""A scripted agent keeps the protocol to the letter: slots, order, batches, ages."""

from __future__ import annotations

import pytest

from engines.switchboard import JOB, START_US, Switchboard, Wire, order, run, runs, setup
from lote.engines.fake import FakeEngine
from lote.engines.script import Outcome, Script
from lote.wire.frames import (
    Ack,
    Ended,
    Failure,
    Held,
    Kill,
    Leave,
    Open,
    Returned,
    Revoke,
    Started,
    StartTaskReport,
)
from lote.world import SteppedWorld

S = 1_000_000


class Bench:
    """One node, its engine and its wire."""

    def __init__(self, slots: int = 2, script: Script | None = None) -> None:
        self.world = SteppedWorld()
        self.board = Switchboard()
        self.opened: list[tuple[str, Open]] = []
        self.engine = FakeEngine(
            self.board, self.world, script, on_open=lambda n, o: self.opened.append((n, o))
        )
        self.engine.start_nodes([order()])
        self.wire.send(setup(slots), JOB)

    @property
    def wire(self) -> Wire:
        return self.board.wires[-1]

    def advance(self, seconds: float) -> None:
        self.engine.advance_to(self.world.now_us() + round(seconds * S))


def test_start_and_end_in_one_batch_are_one_entry():
    bench = Bench()
    bench.wire.send(runs(run(1), run(2, "exit 3")))
    (report,) = bench.wire.reports
    assert report.seq == 1
    assert [type(e) for e in report.entries] == [Ended, Ended]
    assert [e.exit_code for e in report.entries] == [0, 3]
    assert report.entries[1].failure.code == "FailureExitCode"


def test_a_busy_node_reports_after_twenty_milliseconds():
    bench = Bench()
    bench.wire.send(runs(run(1, "sleep 5"), run(2)))
    assert bench.wire.reports == []
    bench.advance(0.019)
    assert bench.wire.reports == []
    bench.advance(0.001)
    (report,) = bench.wire.reports
    assert report.entries == [Started(1, 1, 20_000), Ended(2, 1, 20_000, 20_000, 0)]


def test_a_busy_node_reports_at_sixty_four_entries():
    bench = Bench()
    bench.wire.send(runs(run(1, "sleep 5"), *[run(k) for k in range(2, 64)]))
    assert bench.wire.reports == []
    bench.wire.send(runs(run(64)))
    assert len(bench.wire.reports[0].entries) == 64


def test_ages_are_counted_back_from_the_sending():
    bench = Bench(slots=1)
    bench.wire.send(runs(run(1)))  # its report is not acknowledged
    bench.wire.send(runs(run(2, "sleep 3")))
    bench.advance(10)
    bench.wire.send(Ack(1, []))
    entry = bench.wire.reports[1].entries[0]
    assert (entry.key, entry.start_age_us, entry.end_age_us) == (2, 10 * S, 7 * S)
    assert entry.run_us == 3 * S


def test_entries_wait_for_the_ack_of_the_batch_before():
    bench = Bench()
    bench.wire.send(runs(run(1)))
    bench.wire.send(runs(run(2), run(3)))
    bench.advance(1)
    assert bench.wire.ends() == [1]
    bench.wire.send(Ack(7, []))
    assert bench.wire.ends() == [1], "another batch's Ack frees nothing"
    bench.wire.send(Ack(1, []))
    assert bench.wire.ends() == [1, 2, 3]
    assert [r.seq for r in bench.wire.reports] == [1, 2]


def test_a_wide_task_waits_at_the_head_until_it_fits():
    bench = Bench(slots=2)
    bench.wire.send(runs(run(1, "sleep 1"), run(2, "sleep 1", requiredSlots=2), run(3, "sleep 1")))
    assert bench.engine.count_running("one") == 1
    bench.advance(1)
    assert bench.engine.count_running("one") == 1
    bench.advance(1)
    bench.wire.send(Ack(1, []))
    bench.advance(1)
    bench.wire.send(Ack(2, []))
    assert bench.wire.ends() == [1, 2, 3]
    assert bench.world.now_us() == START_US + 3 * S


def test_revoked_runs_come_back_and_begun_ones_do_not():
    bench = Bench(slots=1)
    bench.wire.send(runs(run(1, "sleep 1"), run(2), run(3)))
    bench.wire.send(Revoke([(1, 1), (3, 1), (2, 9)]))
    bench.advance(0.02)
    assert bench.wire.reports[0].entries == [Started(1, 1, 20_000), Returned(3, 1)]
    bench.wire.send(Ack(1, []))
    bench.advance(2)
    assert bench.wire.ends() == [1, 2]


def test_killed_runs_give_their_slots_back():
    bench = Bench(slots=1)
    bench.wire.send(runs(run(1, "sleep 9"), run(2), run(3)))
    bench.wire.send(Kill([(1, 1), (2, 1), (1, 2)]))
    entries = {e.key: e for e in bench.wire.reports[0].entries}
    assert entries[1].exit_code == -9
    assert entries[1].failure.code == "TaskEnded"
    assert entries[2].exit_code is None
    assert entries[3].exit_code == 0
    bench.wire.send(Ack(1, []))
    bench.advance(20)
    assert len(bench.wire.reports) == 1, "the end that was due before the kill tells nothing"


def test_a_run_sent_twice_runs_once():
    bench = Bench()
    bench.wire.send(runs(run(1, "sleep 1"), run(1, "sleep 1")))
    assert bench.engine.count_running("one") == 1


def test_retries_stay_on_the_node_and_take_time():
    bench = Bench()
    spec = {"constraints": {"maxTaskRetryCount": 3}}
    bench.wire.send(runs(run(1, "sleep 2; exit 1", **spec)))
    bench.advance(0.02)
    bench.wire.send(Ack(1, []))
    bench.advance(10)
    (entry,) = bench.wire.reports[1].entries
    assert (entry.retries, entry.exit_code) == (3, 1)
    # Sent at 8 s, when the last of four attempts of 2 s ended.
    assert (entry.start_age_us, entry.end_age_us, entry.last_retry_age_us) == (8 * S, 0, 2 * S)


def test_an_attempt_may_go_otherwise_than_the_one_before():
    outcomes = {0: Outcome(1, 1), 1: Outcome(1, 0)}
    bench = Bench(script=Script(outcome=lambda task, retries: outcomes[retries]))
    bench.wire.send(runs(run(1, constraints={"maxTaskRetryCount": -1})))
    bench.advance(0.02)
    bench.wire.send(Ack(1, []))
    bench.advance(5)
    assert bench.wire.reports[1].entries[0].exit_code == 0
    assert bench.wire.reports[1].entries[0].retries == 1


def test_endless_retries_of_a_run_without_length_let_the_clock_go_on():
    bench = Bench()
    bench.wire.send(runs(run(1, "exit 1", constraints={"maxTaskRetryCount": -1})))
    bench.advance(0.05)
    assert bench.engine.count_running("one") == 1


def test_a_run_that_can_not_start_is_not_retried():
    why = Failure("usererror", "CommandProgramNotFound", "no such program")
    script = Script(outcome=lambda task, retries: Outcome(0, None, why))
    bench = Bench(script=script)
    bench.wire.send(runs(run(1, constraints={"maxTaskRetryCount": 5})))
    (entry,) = bench.wire.reports[0].entries
    assert (entry.exit_code, entry.failure, entry.retries) == (None, why, 0)


def test_the_start_task_is_reported_with_its_retries():
    bench = Bench()
    task = b'{"commandLine":"sleep 2; exit 5","maxTaskRetryCount":1}'
    bench.wire.send(setup(2, start_task=task, start_task_due=True))
    assert bench.wire.reports[0].entries == [StartTaskReport("running", 0)]
    bench.wire.send(Ack(1, []))
    bench.advance(4)
    (entry,) = bench.wire.reports[1].entries
    assert (entry.state, entry.exit_code, entry.retries) == ("completed", 5, 1)
    assert (entry.start_age_us, entry.end_age_us) == (4 * S, 0)
    assert entry.failure.code == "FailureExitCode"


def test_what_was_unacknowledged_is_sent_again_after_the_setup():
    bench = Bench(slots=2)
    bench.wire.send(runs(run(1, "sleep 1"), run(2)))
    bench.advance(0.02)  # [Started 1, Ended 2] goes and is never acknowledged
    bench.engine.cut("one")
    bench.advance(2)  # 1 ends meanwhile
    bench.engine.mend("one")
    assert bench.wire.hello.held == [Held(1, 1, 2), Held(2, 1, 2)]
    assert bench.wire.reports == [], "nothing is reported before the Setup"
    bench.wire.send(setup(2, confirmed=[(1, 1), (2, 1)]))
    assert bench.wire.ends() == [2, 1]
    assert all(isinstance(e, Ended) for e in bench.wire.reports[0].entries)
    assert bench.wire.reports[0].seq == 2
    bench.wire.send(Ack(2, []))
    bench.engine.cut("one")
    bench.engine.mend("one")
    assert bench.wire.hello.held == []


def test_held_runs_that_are_not_confirmed_are_dropped_without_a_word():
    bench = Bench(slots=2)
    bench.wire.send(runs(run(1, "sleep 5"), run(2, "sleep 5"), run(3, "sleep 5"), run(4)))
    bench.engine.cut("one")
    bench.engine.mend("one")
    bench.wire.send(setup(2, confirmed=[(2, 1)]))
    assert bench.engine.count_running("one") == 1
    bench.advance(6)
    bench.wire.send(Ack(1, []))
    assert bench.wire.ends() == [2]


def test_a_later_setup_changes_slots_and_confirms_nothing():
    bench = Bench(slots=1)
    bench.wire.send(runs(run(1, "sleep 5"), run(2, "sleep 5")))
    bench.wire.send(setup(2))
    assert bench.engine.count_running("one") == 2
    bench.wire.send(setup(1))
    bench.wire.send(runs(run(3, "sleep 5")))
    bench.advance(5)
    assert bench.engine.count_running("one") == 1


def test_frames_of_a_broken_connection_are_not_obeyed():
    bench = Bench()
    old = bench.wire
    bench.engine.cut("one")
    bench.engine.mend("one")
    bench.wire.send(setup(2))
    old.send(runs(run(1)))
    assert bench.wire.hello.held == []
    assert bench.wire.reports == []


def test_leave_ends_the_node_at_once():
    bench = Bench()
    told = []
    bench.engine.watch = lambda node_id, why: told.append((node_id, why))
    bench.wire.send(runs(run(1, "sleep 5")))
    bench.wire.send(Leave("shrinking"), runs(run(2)))
    assert told == [("one", "left its pool: shrinking")]
    assert not bench.wire.open
    bench.advance(9)
    assert len(told) == 1


def test_files_are_asked_for_in_vain():
    bench = Bench()
    request = Open("stream-1", "get", "shared/a")
    bench.wire.send(request)
    assert bench.opened == [("one", request)]


def test_a_run_of_an_unknown_job_is_a_fault_of_the_server():
    board = Switchboard()
    engine = FakeEngine(board, SteppedWorld())
    engine.start_nodes([order()])
    with pytest.raises(KeyError):
        board.wires[0].send(setup(1), runs(run(1)))
