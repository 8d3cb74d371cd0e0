"""The node's health: its directory, its disk, how much of it is used."""

from __future__ import annotations

import os

from lote.agent.environment import RESERVED_DISK_BYTES
from lote.agent.failures import failure
from lote.agent.layout import Layout
from lote.agent.log import Log
from lote.agent.outbox import Outbox
from lote.agent.traffic import read_traffic
from lote.wire.frames import Failure, NodeTrouble, Samples

LOOK_INTERVAL_S = 2.0  # how soon a full disk or a vanished directory is noticed
SAMPLE_INTERVAL_S = 30.0  # the provider's nodes are sampled every 30 s


class Vitals:
    """Looks at the node every ``interval_s``; reports trouble when it comes and when it goes."""

    interval_s = LOOK_INTERVAL_S

    def __init__(self, layout: Layout, outbox: Outbox, log: Log) -> None:
        self._layout = layout
        self._outbox = outbox
        self._log = log
        self._identity = os.stat(layout.node_dir).st_ino
        self._is_full = False
        self._errors: dict[str, list[Failure]] = {}
        self._looks = 0
        self._busy_ticks, self._all_ticks = _processor_ticks()
        self._traffic = read_traffic()

    def node_dir_is_there(self) -> bool:
        """Whether the node's directory is still the one the agent began in."""
        try:
            return os.stat(self._layout.node_dir).st_ino == self._identity
        except FileNotFoundError:
            return False

    def look(self) -> Samples | None:
        """Check the disk; every ``SAMPLE_INTERVAL_S`` give samples of the node's use."""
        try:
            disk = os.statvfs(self._layout.node_dir)
        except FileNotFoundError:
            return None
        free_bytes = disk.f_bavail * disk.f_frsize
        self._judge_disk(free_bytes)
        self._looks += 1
        if self._looks * LOOK_INTERVAL_S < SAMPLE_INTERVAL_S:
            return None
        self._looks = 0
        return self._sample(disk.f_blocks * disk.f_frsize, free_bytes)

    def _judge_disk(self, free_bytes: int) -> None:
        is_full = free_bytes < RESERVED_DISK_BYTES
        if is_full == self._is_full:
            return
        self._is_full = is_full
        self._log.event("disk_full" if is_full else "disk_well", free_bytes=free_bytes)
        errors = [failure("DiskFull", ("FreeBytes", str(free_bytes)))] if is_full else []
        self.tell("disk", errors)

    def tell(self, subject: str, errors: list[Failure]) -> None:
        """What is wrong with one part of the node now; all that is wrong is reported."""
        self._errors[subject] = errors
        self._outbox.add_urgent(
            NodeTrouble([one for all_ in self._errors.values() for one in all_])
        )

    def _sample(self, disk_bytes: int, free_bytes: int) -> Samples:
        busy, total = _processor_ticks()
        passed = max(1, total - self._all_ticks)
        percent = 100.0 * (busy - self._busy_ticks) / passed
        self._busy_ticks, self._all_ticks = busy, total
        traffic = read_traffic()
        passed_through = traffic.since(self._traffic)
        self._traffic = traffic
        return Samples(
            SAMPLE_INTERVAL_S,
            percent,
            _used_memory_bytes(),
            disk_bytes - free_bytes,
            free_bytes,
            *passed_through,
        )


def _processor_ticks() -> tuple[int, int]:
    """Ticks that the machine's processors were busy, and all of them."""
    with open("/proc/stat", encoding="ascii") as source:
        ticks = [int(one) for one in source.readline().split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # without idle and iowait


def _used_memory_bytes() -> int:
    with open("/proc/meminfo", encoding="ascii") as source:
        fields = {line.split(":")[0]: int(line.split()[1]) for line in source}
    return (fields["MemTotal"] - fields["MemAvailable"]) * 1024
