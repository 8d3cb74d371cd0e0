"""Reports: batches, acknowledgements, and what is told again."""

from __future__ import annotations

import errno
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.agent.ending import Ending
from lote.agent.journal import Journal
from lote.agent.outbox import REPORT_DELAY_S, REPORT_ENTRIES, Outbox
from lote.wire.frames import Confirm, Ended, NodeTrouble, Report, Returned, Started
from lote.world import World


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def ending(key: int, start_s: float = 90.0, end_s: float = 95.0) -> Ending:
    return Ending(key, 1, start_s, end_s, 0)


def sent(outbox: Outbox) -> Report:
    report = outbox.next_report()
    assert report is not None
    return report


def test_when_a_batch_goes(clock):
    outbox = Outbox(clock)
    assert outbox.delay_s(is_idle=True) is None
    outbox.add_start((1, 1), 99.0)
    assert outbox.delay_s(is_idle=False) == REPORT_DELAY_S
    assert outbox.delay_s(is_idle=True) == 0
    for key in range(REPORT_ENTRIES):
        outbox.add_ending(ending(key + 1))
    assert outbox.delay_s(is_idle=False) == 0
    sent(outbox)
    outbox.add_urgent(Returned(5, 1))
    assert outbox.delay_s(is_idle=False) is None  # one batch at a time
    assert outbox.next_report() is None
    assert outbox.acknowledge(1) is not None
    assert outbox.delay_s(is_idle=False) == 0  # somebody waits for it


def test_an_end_says_the_start_too(clock):
    outbox = Outbox(clock)
    outbox.add_start((1, 1), 98.0)
    outbox.add_start((2, 1), 99.0)
    outbox.add_ending(ending(1, 98.0, 99.5))
    report = sent(outbox)
    assert report.entries == [
        Started(2, 1, 1_000_000),
        Ended(1, 1, 2_000_000, 500_000, 0),
    ]


def test_ages_are_of_the_moment_of_sending(clock):
    outbox = Outbox(clock)
    outbox.add_ending(ending(1, 90.0, 95.0))
    first = sent(outbox).entries[0]
    outbox.take_back()
    clock.now_s += 10
    second = sent(outbox).entries[0]
    assert isinstance(first, Ended)
    assert isinstance(second, Ended)
    assert second.end_age_us - first.end_age_us == 10_000_000


def test_acknowledgements_of_other_batches_mean_nothing(clock):
    outbox = Outbox(clock)
    outbox.add_urgent(Confirm(3, 1))
    assert sent(outbox).seq == 1
    assert outbox.acknowledge(7) is None
    batch = outbox.acknowledge(1)
    assert batch is not None
    assert batch.confirms() == [(3, 1)]
    assert outbox.acknowledge(1) is None


def test_forgetting(clock):
    outbox = Outbox(clock)
    outbox.add_start((1, 1), 99.0)
    outbox.add_ending(ending(2))
    outbox.add_urgent(Confirm(3, 1))
    outbox.add_urgent(NodeTrouble([]))
    for key in (1, 2, 3):
        outbox.forget((key, 1))
    assert sent(outbox).entries == [NodeTrouble([])]


STEPS = st.lists(st.sampled_from(["start", "end", "send", "ack", "break"]), max_size=60)


@given(STEPS)
def test_every_end_arrives_and_none_twice_without_a_break(steps):
    """Whatever happens to the channel, each end is acknowledged in the end, in order."""
    outbox = Outbox(Clock())
    arrived: list[int] = []
    ended = started = 0
    on_way: Report | None = None
    for step in [*steps, "break", "send", "ack", "send", "ack"]:
        if step == "start":
            started += 1
            outbox.add_start((started, 1), 99.0)
        elif step == "end" and ended < started:
            ended += 1
            outbox.add_ending(ending(ended))
        elif step == "send":
            on_way = outbox.next_report() or on_way
        elif step == "ack" and on_way is not None:
            if outbox.acknowledge(on_way.seq) is not None:
                arrived += [one.key for one in on_way.entries if isinstance(one, Ended)]
            on_way = None
        elif step == "break":
            outbox.take_back()
            on_way = None
    assert arrived == list(range(1, ended + 1))
    assert outbox.unacknowledged() == []


class ShiftedWorld(World):
    """Another life: its monotonic clock begins elsewhere."""

    def __init__(self, monotonic_s: float, now_us: int) -> None:
        self.monotonic_s = monotonic_s
        self.fixed_us = now_us

    def monotonic(self) -> float:
        return self.monotonic_s

    def now_us(self) -> int:
        return self.fixed_us


def test_the_journal_survives_a_restart(tmp_path):
    path = str(tmp_path / "journal")
    first = Journal(path, ShiftedWorld(100.0, 1_000_000_000))
    first.add([ending(1, 90.0, 95.0)])
    first.add([ending(1, 90.0, 95.0), ending(2, 91.0, 96.0)])
    with open(path, "ab") as target:
        target.write(b"[1,[3,1,")  # torn by a crash
    later = Journal(path, ShiftedWorld(5.0, 1_010_000_000))  # ten seconds later
    loaded = later.load()
    assert [(one.key, one.start_s, one.end_s) for one in loaded] == [
        (1, -15.0, -10.0),
        (2, -14.0, -9.0),
    ]
    later.acknowledged(loaded[1:])
    assert len(Journal(path, ShiftedWorld(5.0, 1_010_000_000)).load()) == 2
    later.acknowledged([])
    assert Journal(path, ShiftedWorld(5.0, 1_010_000_000)).load() == []
    assert Journal(str(tmp_path / "none"), World()).load() == []


def test_endings_pass_through_json():
    one = ending(4)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Ending) == one


def test_a_journal_on_a_full_disk_is_written_when_there_is_room(tmp_path, monkeypatch):
    path = str(tmp_path / "journal")
    journal = Journal(path, World())
    journal.add([ending(1)])
    whole_write, room_bytes = os.write, [20]

    def write(descriptor: int, content: bytes) -> int:
        if not room_bytes[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        part, room_bytes[0] = content[: room_bytes[0]], 0
        return whole_write(descriptor, part)

    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        journal.add([ending(1), ending(2)])  # a part of it goes in, and is taken out again
        journal.add([ending(1), ending(2), ending(3)])
        assert [one.key for one in Journal(path, World()).load()] == [1]
    journal.add([ending(1), ending(2), ending(3)])
    assert [one.key for one in Journal(path, World()).load()] == [1, 2, 3]


def test_a_torn_line_costs_only_itself(tmp_path):
    path = tmp_path / "journal"
    Journal(str(path), World()).add([ending(1), ending(2)])
    path.write_bytes(path.read_bytes()[:-5])  # killed while it wrote
    journal = Journal(str(path), World())
    assert [one.key for one in journal.load()] == [1]
    journal.add([ending(1), ending(3)])
    assert [one.key for one in Journal(str(path), World()).load()] == [1, 3]
