"""What passes through disks and networks is counted, and what is not there is 0."""

from __future__ import annotations

from lote.agent import traffic
from lote.agent.traffic import SECTOR_BYTES, Traffic, read_traffic

HEADINGS = "Inter-|   Receive  |  Transmit\n face |bytes packets |bytes packets\n"


def counters(in_bytes: int, out_bytes: int) -> str:
    return f"{in_bytes} 1 0 0 0 0 0 0 {out_bytes} 1 0 0 0 0 0 0\n"


def test_disks_and_networks_are_summed(tmp_path, monkeypatch):
    disks = tmp_path / "block"
    for name in ("sda/device", "sdb/device", "loop0/loop"):
        (disks / name).mkdir(parents=True)
        (disks / name).with_name("stat").write_text("  10 0 200 0 30 0 400 0 0 0 0\n")
    networks = tmp_path / "dev"
    lines = f"    lo: {counters(7, 7)}  eth0:{counters(100, 20)}  eth1: {counters(1, 2)}"
    networks.write_text(HEADINGS + lines)
    monkeypatch.setattr(traffic, "_DISKS", str(disks))
    monkeypatch.setattr(traffic, "_NETWORKS", str(networks))
    read_bytes, write_bytes = 400 * SECTOR_BYTES, 800 * SECTOR_BYTES
    assert read_traffic() == Traffic(read_bytes, write_bytes, 20, 60, 101, 22)


def test_a_machine_that_shows_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(traffic, "_DISKS", str(tmp_path / "none"))
    monkeypatch.setattr(traffic, "_NETWORKS", str(tmp_path / "none"))
    assert read_traffic() == Traffic(0, 0, 0, 0, 0, 0)


def test_this_machine_can_be_read():
    first = read_traffic()
    assert min(read_traffic().since(first)) >= 0


def test_counters_that_fell_count_nothing():
    assert Traffic(1, 5, 5, 5, 5, 5).since(Traffic(3, 1, 5, 4, 0, 9)) == Traffic(0, 4, 0, 1, 5, 0)
