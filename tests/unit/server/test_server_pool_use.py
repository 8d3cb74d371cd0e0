"""What the nodes of a pool use, as its statistics show it."""

from __future__ import annotations

import pytest
from azure.batch import models as m

from lote.server.channel import Callers
from lote.wire.formats import format_timestamp
from lote.wire.frames import Samples

GIB = 1 << 30
ASKS = {"api-version": "2024-07-01.20.0", "expand": "stats"}
QUIET = Samples(30.0, 0.0, 0, 0, 0)


def measure(bench, *each):
    """The pool's nodes measure something, each its own."""
    callers = Callers(bench.owner, lambda: ("lote", ""), lambda: None)
    for node, samples in zip(list(bench.owner.memory.nodes.values()), each, strict=True):
        callers.take(node.key, node.link, [samples])
    bench.settle()


def stats_of(bench):
    shown = bench.ask("get_pool", query=ASKS, pool_id="p", settled=False)
    listed = bench.ask("list_pools", query=ASKS, settled=False)["value"]
    assert listed[0]["stats"].get("resourceStats") == shown["stats"].get("resourceStats")
    return shown["stats"].get("resourceStats")


def test_means_and_peaks_of_a_node_and_sums_of_all(bench):
    bench.add_pool(nodes=2)
    assert stats_of(bench) is None
    bench.advance(30)
    began_us = bench.world.now_us() - 30_000_000
    busy = Samples(30.0, 90.0, 3 * GIB, 8 * GIB, 0, GIB, 2 * GIB, 5, 7, 3 * GIB, 4 * GIB)
    measure(bench, busy, QUIET)
    bench.advance(30)
    measure(bench, Samples(30.0, 30.0, GIB, 4 * GIB, 0, GIB, 0, 1, 1, GIB, GIB), QUIET)
    bench.advance(30)
    measure(bench, QUIET, QUIET)
    bench.advance(30)
    measure(bench, QUIET, QUIET)
    now_us = bench.world.now_us()
    found = stats_of(bench)
    # The last word of a node is not written yet: of eight, seven count.
    assert found == {
        "startTime": format_timestamp(began_us),
        "lastUpdateTime": format_timestamp(now_us),
        "avgCPUPercentage": pytest.approx(120 / 7),
        "avgMemoryGiB": pytest.approx(4 / 7),
        "peakMemoryGiB": 3.0,
        "avgDiskGiB": pytest.approx(12 / 7),
        "peakDiskGiB": 8.0,
        "diskReadIOps": "6",
        "diskWriteIOps": "8",
        "diskReadGiB": 2.0,
        "diskWriteGiB": 2.0,
        "networkReadGiB": 4.0,
        "networkWriteGiB": 5.0,
    }
    shown = m.BatchPoolResourceStatistics(found)
    assert (shown.disk_read_iops, shown.peak_memory_gib) == (6, 3.0)
    assert shown.avg_cpu_percentage == pytest.approx(120 / 7)
    assert shown.start_time < shown.last_update_time
    bench.check()


def test_over_a_restart_and_gone_with_the_pool(bench):
    bench.add_pool()
    measure(bench, Samples(30.0, 50.0, GIB, GIB, 0))
    bench.restart()
    bench.advance(30)
    measure(bench, Samples(30.0, 100.0, GIB, GIB, 0))
    assert stats_of(bench)["avgCPUPercentage"] == 75.0
    bench.ask("delete_pool", pool_id="p")
    bench.add_pool()
    assert stats_of(bench) is None
    bench.check()


def test_many_words_are_written_together(bench):
    bench.add_pool(nodes=50)

    def measured_s():
        return [row[0] for row in bench.reader.execute("SELECT measured_s FROM pool_use")]

    each = [Samples(30.0, 10.0, GIB, GIB, 0)] * 50
    measure(bench, *each)
    assert measured_s() == [30], "the first word shows that there are figures"
    bench.advance(30)
    measure(bench, *each)
    assert measured_s() == [30 * 51]


def test_a_clock_that_is_set_back_stops_nothing(bench):
    bench.add_pool()
    measure(bench, Samples(30.0, 50.0, GIB, GIB, 0))
    bench.world.advance(-3600)
    measure(bench, Samples(30.0, 100.0, GIB, GIB, 0))
    assert stats_of(bench)["avgCPUPercentage"] == 75.0


def test_figures_of_no_time_do_not_count(bench):
    bench.add_pool()
    measure(bench, Samples(0.0, 50.0, GIB, GIB, 0))
    assert stats_of(bench) is None
    bench.check()
