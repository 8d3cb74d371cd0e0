"""What went through the machine's disks and networks since it was booted."""

from __future__ import annotations

import os
from typing import NamedTuple

SECTOR_BYTES = 512  # Linux: Documentation/block/stat, whatever the disk's own sectors are
_DISKS = "/sys/block"
_NETWORKS = "/proc/net/dev"


class Traffic(NamedTuple):
    """Counters; the difference of two is what passed between them."""

    disk_read_bytes: int
    disk_write_bytes: int
    disk_reads: int
    disk_writes: int
    network_in_bytes: int
    network_out_bytes: int

    def since(self, before: Traffic) -> Traffic:
        """What passed since then; a device that was taken out counts nothing."""
        return Traffic(*(max(0, now - then) for now, then in zip(self, before, strict=True)))


def read_traffic() -> Traffic:
    """All disks (their partitions and what is made of them not counted twice), and all network
    interfaces but the loopback. What this machine does not show is 0."""
    read_bytes, write_bytes, reads, writes = 0, 0, 0, 0
    for fields in _disk_fields():
        reads += fields[0]
        read_bytes += fields[2] * SECTOR_BYTES
        writes += fields[4]
        write_bytes += fields[6] * SECTOR_BYTES
    in_bytes, out_bytes = _network_bytes()
    return Traffic(read_bytes, write_bytes, reads, writes, in_bytes, out_bytes)


def _disk_fields() -> list[list[int]]:
    try:
        names = os.listdir(_DISKS)
    except OSError:  # a container without /sys
        return []
    found = []
    for name in names:
        if os.path.exists(f"{_DISKS}/{name}/device"):  # not loop, ram, md or dm
            with open(f"{_DISKS}/{name}/stat", encoding="ascii") as source:
                found.append([int(one) for one in source.read().split()])
    return found


def _network_bytes() -> tuple[int, int]:
    in_bytes = out_bytes = 0
    try:
        with open(_NETWORKS, encoding="ascii") as source:
            lines = source.readlines()[2:]  # two lines of headings
    except OSError:
        return 0, 0
    for line in lines:
        name, _, rest = line.partition(":")
        if name.strip() != "lo":
            fields = rest.split()
            in_bytes += int(fields[0])
            out_bytes += int(fields[8])
    return in_bytes, out_bytes
