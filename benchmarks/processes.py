"""What processes of the service cost: processor time and memory, read from /proc."""

from __future__ import annotations

from pathlib import Path

import msgspec


class OwnProcesses(msgspec.Struct):
    """Pids of the server, its storage process, and of each agent with its spawners."""

    server: int
    storage: list[int] = []
    agents: list[list[int]] = []

    @property
    def agent_pids(self) -> list[int]:
        """All of all agents."""
        return [pid for agent in self.agents for pid in agent]


def own_processes(server_pid: int) -> OwnProcesses:
    """The processes of a service, by their command lines."""
    found = OwnProcesses(server_pid)
    for child in children_of(server_pid):
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        if b"lote.storage" in words:
            found.storage.append(child)
        elif b"lote.agent" in words:
            found.agents.append([child, *children_of(child)])
    return found


def children_of(pid: int) -> list[int]:
    """Pids of the direct children of a process."""
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (thread / "children").read_text().split())
    return found


def cpu_s(pids: list[int]) -> float:
    """Processor time of these processes, without their children, in seconds.

    From the scheduler's own count, so not in ticks. Threads that have ended are not in it.
    """
    total_ns = 0
    for pid in pids:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total_ns += int((thread / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def thread_cpu_s(pid: int) -> dict[str, float]:
    """Processor time of a process by the names of its threads."""
    found: dict[str, float] = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        name = (thread / "comm").read_text().strip()
        spent_ns = int((thread / "schedstat").read_text().split()[0])
        found[name] = found.get(name, 0.0) + spent_ns / 1e9
    return found


def rss_bytes(pid: int) -> int:
    """Resident memory of a process."""
    return _status_kib(pid, "VmRSS") * 1024


def peak_rss_bytes(pid: int) -> int:
    """The most resident memory a process had."""
    return _status_kib(pid, "VmHWM") * 1024


def pss_bytes(pids: list[int]) -> int:
    """Memory of these processes; what several processes share is counted by shares."""
    return sum(_rollup_kib(pid, "Pss") for pid in pids) * 1024


def family_bytes(pids: list[int]) -> int:
    """Memory of a process and those it forked: the first one's resident memory, and what the
    others have for themselves. Errs on the high side, and does not depend on who else runs."""
    own = ("Private_Clean", "Private_Dirty")
    private = sum(_rollup_kib(pid, name) for pid in pids[1:] for name in own)
    return rss_bytes(pids[0]) + private * 1024


def _status_kib(pid: int, name: str) -> int:
    return _kib(Path(f"/proc/{pid}/status"), name)


def _rollup_kib(pid: int, name: str) -> int:
    return _kib(Path(f"/proc/{pid}/smaps_rollup"), name)


def _kib(path: Path, name: str) -> int:
    lines = path.read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
