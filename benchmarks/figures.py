"""One figure of a benchmark: how it is shown, judged and recorded."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec
from reference import Repeated

RUNS = 5
RUNS_SMALL = 2
SMALL_REFERENCE = 1000


class Figure(msgspec.Struct, omit_defaults=True):
    """What was measured. ``ratios`` are to raw spawn, run by run.

    ``must`` and ``aim`` bound the median of the ratios if ``judged`` says so, else of the values.
    """

    question: str
    what: str
    unit: str
    values: list[float]
    ratios: list[float] = []
    references: list[float] = []
    must: float | None = None
    aim: float | None = None
    better: Literal["more", "less"] = "more"
    judged: Literal["value", "ratio"] = "value"
    dropped: int = 0
    is_quiet: bool = True
    note: str = ""
    machine: str = ""
    date: str = ""
    commit: str = ""

    @property
    def decisive(self) -> float:
        """The median that ``must`` and ``aim`` are about."""
        return statistics.median(self.ratios if self.judged == "ratio" else self.values)

    @property
    def verdict(self) -> str:
        """How it stands to its bounds; empty when it has none."""
        if self.must is None:
            return ""
        if self.aim is not None and self._reaches(self.aim):
            return "aim"
        return "must" if self._reaches(self.must) else "MISSED"

    def _reaches(self, bound: float) -> bool:
        return self.decisive >= bound if self.better == "more" else self.decisive <= bound

    def line(self) -> str:
        """One line for a terminal."""
        parts = [f"{self.what}: {spread(self.values)} {self.unit}"]
        if self.ratios:
            parts.append(f"ratio {spread(self.ratios)} to raw spawn {spread(self.references)}/s")
        if self.must is not None:
            parts.append(f"{self.verdict} (must {bound(self.must)}, aim {bound(self.aim)})")
        if self.note:
            parts.append(self.note)
        if self.dropped:
            parts.append(f"{self.dropped} runs dropped")
        if not self.is_quiet:
            parts.append("THE MACHINE WAS NOT QUIET")
        return "; ".join(parts)


def spread(values: Sequence[float]) -> str:
    """min / median / max, or the one value."""
    if len(values) == 1:
        return number(values[0])
    return " / ".join(map(number, (min(values), statistics.median(values), max(values))))


def number(value: float) -> str:
    """With three digits that count, and no more decimals than that needs."""
    size = abs(value)
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 1 else f"{value:.3g}"


def bound(value: float | None) -> str:
    """A bound, or a dash."""
    return "-" if value is None else f"{value:g}"


def from_runs(
    question: str, what: str, unit: str, values: list[float], runs: Repeated, **more: object
) -> Figure:
    """A figure of rates measured in runs between references; its ratios are to those."""
    ratios = []
    if unit == "tasks/s":
        ratios = [value / ref for value, ref in zip(values, runs.references, strict=True)]
    return Figure(
        question,
        what,
        unit,
        values,
        ratios,
        runs.references,
        dropped=runs.dropped,
        is_quiet=runs.is_quiet,
        **more,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def machine() -> str:
    """What this was measured on, in a few words."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return (
        f"{os.cpu_count()} cores {model}, {pages * page_bytes / (1 << 30):.0f} GiB,"
        f" Linux {platform.release()}, Python {platform.python_version()}"
    )


def commit() -> str:
    """The commit that was measured, with a plus when files differ from it."""
    words = ["git", "describe", "--always", "--abbrev=9", "--dirty=+", "--exclude=*"]
    shown = subprocess.run(
        words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return shown.stdout.strip() or "unknown"


def answer(
    document: str | None,
    measure: Callable[[argparse.Namespace], Iterator[Figure]],
    add_options: Callable[[argparse.ArgumentParser], object] = lambda parser: None,
    *,
    runs: int = RUNS,
) -> None:
    """The main program of a benchmark: print each figure as it comes, record it if asked to.

    ``runs``: of each figure, unless another number is asked for."""
    parser = argparse.ArgumentParser(
        description=document, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="try it out: sizes that say nothing")
    parser.add_argument("--runs", type=int, help=f"of each figure; default {runs}")
    parser.add_argument("--record", type=Path, help="append the figures to this file, as JSON")
    add_options(parser)
    given = parser.parse_args()
    given.runs = given.runs or (RUNS_SMALL if given.small else runs)
    facts = {"machine": machine(), "commit": commit()}
    print(f"on {facts['machine']}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {facts['commit']}")
    for figure in measure(given):
        print(figure.line(), flush=True)
        figure.machine, figure.commit = facts["machine"], facts["commit"]
        figure.date = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
        if given.record is not None:
            with given.record.open("ab") as file:
                file.write(msgspec.json.encode(figure) + b"\n")


def reference_count(given: argparse.Namespace) -> dict[str, int]:
    """The option of ``repeat`` for runs that are only tried out."""
    return {"reference_count": SMALL_REFERENCE} if given.small else {}
