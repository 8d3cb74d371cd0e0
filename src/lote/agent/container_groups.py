"""What containers used of the processor, counted by the kernel in control groups of the agent's.

A container's own group goes with the container, and what it counted with it. So the container of
an attempt is made below a group that is the agent's: a group counts what all beneath it used, what
is gone included, so it can be read when all is over. The runtime makes it, the agent removes it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator

MOUNT = "/sys/fs/cgroup"
NAME_DIGITS = 16  # of the hash of the node's root directory: nodes of one machine share the tree


class Groups:
    """The groups of one node, below ``name``, as the container command is given it.

    The tree is one (version 2), one a controller (version 1), or both (hybrid).
    """

    def __init__(self, root: str, mount: str = MOUNT) -> None:
        self._mount = mount
        self._name = f"lote-{hashlib.sha256(os.fsencode(root)).hexdigest()[:NAME_DIGITS]}"

    def are_allowed(self) -> bool:
        """Whether groups can be made here: not where the trees are shown read-only, as to a
        machine that is a container itself."""
        trees = list(self._trees())
        try:
            for tree in trees:
                os.makedirs(f"{tree}/{self._name}", exist_ok=True)
        except OSError:
            return False
        finally:
            self.sweep()
        return bool(trees)

    def name(self, key: int, run: int, attempt: int) -> str:
        """The group above the container of an attempt; it need not be there."""
        return f"/{self._name}/{key}.{run}.{attempt}"

    def take(self, name: str) -> tuple[float, float] | None:
        """Seconds of user and kernel mode that were used in a group, which goes. None if no tree
        has counted any: then nothing ran there."""
        found = self._read(name)
        for tree in self._trees():
            _remove(f"{tree}{name}")
        return found

    def sweep(self) -> None:
        """Remove what an earlier life of the node, or this one, has left empty."""
        for tree in self._trees():
            top = f"{tree}/{self._name}"
            with contextlib.suppress(OSError):  # as a rule, it is not there
                for one in os.scandir(top):
                    if one.is_dir():
                        _remove(one.path)
            _remove(top)

    def _trees(self) -> Iterator[str]:
        if os.path.exists(f"{self._mount}/cgroup.controllers"):
            yield self._mount
            return
        with contextlib.suppress(FileNotFoundError):
            yield from (one.path for one in os.scandir(self._mount) if one.is_dir())

    def _read(self, name: str) -> tuple[float, float] | None:
        for tree in (self._mount, f"{self._mount}/unified"):
            found = _used_in_v2(f"{tree}{name}")
            if found is not None:
                return found
        return _used_in_v1(f"{self._mount}/cpuacct{name}")


def _used_in_v2(group: str) -> tuple[float, float] | None:
    counted = _counted(f"{group}/cpu.stat")
    user_us, kernel_us = counted.get("user_usec", 0), counted.get("system_usec", 0)
    return (user_us / 1e6, kernel_us / 1e6) if user_us or kernel_us else None


def _used_in_v1(group: str) -> tuple[float, float] | None:
    """The sum is exact there, its parts are in ticks."""
    try:
        with open(f"{group}/cpuacct.usage", encoding="ascii") as source:
            total_s = int(source.read()) / 1e9
    except FileNotFoundError:
        return None
    counted = _counted(f"{group}/cpuacct.stat")
    user, kernel = counted.get("user", 0), counted.get("system", 0)
    user_s = total_s * user / (user + kernel) if user or kernel else total_s
    return (user_s, total_s - user_s) if total_s else None


def _counted(path: str) -> dict[str, int]:
    try:
        with open(path, encoding="ascii") as source:
            lines = [line.split() for line in source]
    except FileNotFoundError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) == 2}


def _remove(group: str) -> None:
    # Not there, in a tree without groups, or with a container that its runtime is yet to remove:
    # that group goes when the node's containers are looked for again.
    with contextlib.suppress(OSError):
        os.rmdir(group)
