"""The node's health: a full disk is told once, and once that it is well again."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from lote.agent.layout import Layout
from lote.agent.log import LOG_BYTES_MAX, Log
from lote.agent.outbox import Outbox
from lote.agent.vitals import LOOK_INTERVAL_S, SAMPLE_INTERVAL_S, Vitals
from lote.wire.frames import NodeTrouble


@pytest.fixture
def layout(tmp_path):
    made = Layout(str(tmp_path / "node"))
    made.make(None)
    return made


@pytest.fixture
def log(layout):
    return Log(layout.log, lambda: 5)


def troubles(outbox: Outbox) -> list[list[str]]:
    report = outbox.next_report()
    if report is None:
        return []
    outbox.acknowledge(report.seq)
    return [
        [error.code for error in entry.errors]
        for entry in report.entries
        if isinstance(entry, NodeTrouble)
    ]


def test_a_full_disk(layout, log, monkeypatch):
    outbox = Outbox(lambda: 0.0)
    vitals = Vitals(layout, outbox, log)
    free = [10**9]
    monkeypatch.setattr(
        os, "statvfs", lambda path: SimpleNamespace(f_bavail=free[0], f_frsize=1, f_blocks=10**10)
    )
    seen = []
    for free[0] in (10**9, 999_999, 999_998, 1_000_000, 10**9):
        vitals.look()
        seen.append(troubles(outbox))
    assert seen == [[], [["DiskFull"]], [], [[]], []]


def test_samples_come_at_their_interval(layout, log):
    vitals = Vitals(layout, Outbox(lambda: 0.0), log)
    looks = int(SAMPLE_INTERVAL_S / LOOK_INTERVAL_S)
    samples = [vitals.look() for _ in range(looks)]
    assert samples[:-1] == [None] * (looks - 1)
    last = samples[-1]
    assert last is not None
    assert 0 <= last.cpu_percent <= 100
    assert last.memory_bytes > 0
    assert last.disk_free_bytes > 0
    assert min(last.disk_reads, last.network_in_bytes) >= 0


def test_a_vanished_or_exchanged_directory(layout, log):
    vitals = Vitals(layout, Outbox(lambda: 0.0), log)
    assert vitals.node_dir_is_there()
    os.rename(layout.node_dir, layout.node_dir + "-old")
    assert not vitals.node_dir_is_there()
    assert vitals.look() is None
    os.mkdir(layout.node_dir)
    assert not vitals.node_dir_is_there()


def test_the_log_is_bounded_and_has_one_line_an_event(layout, log):
    log.event("one", text="a\nb")
    log.flush()
    with open(layout.log, encoding="utf-8") as source:
        assert source.read() == "time_us=5 event=one text=a\\nb\n"
    for _ in range(3):
        log.event("big", text="x" * LOG_BYTES_MAX)
        log.flush()
    assert os.path.getsize(layout.log) <= 2 * LOG_BYTES_MAX
    assert sorted(name for name in os.listdir(layout.node_dir) if "log" in name) == [
        "agent.log", "agent.log.1",
    ]  # fmt: skip
    assert os.stat(layout.log).st_mode & 0o777 == 0o600
