"""The reference of every figure: bare process starts in C, measured around each run.

A figure of one machine and day means little; its ratio to what the machine could do just before
and just after means more. A run whose two references differ by more than 15 % met other work on
the machine: it is dropped and repeated, up to a bound.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

REFERENCE_COUNT = 6000  # processes: 1.5 s on two cores
WORKERS = 2
DIFFERENCE_MAX = 0.15
ATTEMPTS_A_RUN = 3


def built(source: str, *flags: str) -> Path:
    """A program of this folder, compiled if it is newer than what was compiled before."""
    path = Path(__file__).with_name(source)
    program = Path(tempfile.gettempdir()) / f"lote-{path.stem}-{os.getuid()}"
    if not program.exists() or program.stat().st_mtime < path.stat().st_mtime:
        subprocess.run(["cc", "-O2", *flags, "-o", program, path], check=True)
    return program


def raw_spawn(count: int = REFERENCE_COUNT, workers: int = WORKERS) -> float:
    """Processes a second of bare /bin/true, by two workers in C."""
    words = [str(built("raw_spawn.c")), str(count), str(workers)]
    return float(subprocess.run(words, check=True, capture_output=True).stdout)


class Repeated(msgspec.Struct, Generic[T]):
    """What runs gave, the reference of each (the mean of before and after), how many runs were
    dropped, and whether what is left was measured on a quiet machine."""

    results: list[T]
    references: list[float]
    dropped: int
    is_quiet: bool


def repeat(
    prepare: Callable[[], AbstractContextManager[Callable[[], T]]],
    runs: int,
    *,
    reference_count: int = REFERENCE_COUNT,
) -> Repeated[T]:
    """Run a measurement several times, each between two references.

    ``prepare`` gives what is to be run, as a context, so that setting up is outside the references.
    When not one run met a quiet machine, all of them are given, and marked.
    """
    kept: list[tuple[T, float]] = []
    dropped: list[tuple[T, float]] = []
    while len(kept) < runs and len(kept) + len(dropped) < runs * ATTEMPTS_A_RUN:
        with prepare() as once:
            before = raw_spawn(reference_count)
            result = once()
            after = raw_spawn(reference_count)
        reference = (before + after) / 2
        is_quiet = abs(before - after) <= DIFFERENCE_MAX * max(before, after)
        (kept if is_quiet else dropped).append((result, reference))
    used = kept or dropped
    return Repeated([r for r, _ in used], [ref for _, ref in used], len(dropped), bool(kept))
