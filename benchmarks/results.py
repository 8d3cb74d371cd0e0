"""RESULTS.md from figures.jsonl: the newest figure of each kind, and below it the earlier ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from figures import Figure, bound, number, spread

HERE = Path(__file__).parent
KEPT = HERE / "figures.jsonl"
PAGE = HERE / "RESULTS.md"
EARLIER_MAX = 400  # lines of earlier figures shown; figures.jsonl has them all

INTRODUCTION = """# Results

Written by `python benchmarks/all.py` from `figures.jsonl`; not by hand.

Figures are min / median / max of the runs. The reference, *raw spawn*, is `posix_spawn` and wait of
bare `/bin/true` by two workers in C ([raw_spawn.c](raw_spawn.c)), measured before and after each
run; runs whose two references differ by more than 15 % were dropped and repeated. Ratios are to
it, and are what to compare between machines and days. *Must* and *aim* bound the median of the
ratio where there is one in the same row in bold, else of the figure.
"""

RETIRED = ("or 0.75 of the client's limit",)  # ends of figures that are measured no more

_decoder = msgspec.json.Decoder(Figure)


def read_figures(path: Path) -> list[Figure]:
    """All figures of a file, in the order in which they were measured."""
    if not path.exists():
        return []
    return [_decoder.decode(line) for line in path.read_bytes().splitlines() if line]


def newest(figures: Iterable[Figure]) -> tuple[list[Figure], list[Figure]]:
    """(the last figure of each kind, all earlier and retired ones with the newest first)."""
    last: dict[tuple[str, str], Figure] = {}
    earlier: list[Figure] = []
    for figure in figures:
        if figure.what.endswith(RETIRED):
            earlier.append(figure)
            continue
        kind = (figure.question, figure.what)
        if kind in last:
            earlier.append(last[kind])
        last[kind] = figure
    return list(last.values()), earlier[::-1]


def page_of(figures: list[Figure]) -> str:
    """The page."""
    now, earlier = newest(figures)
    parts = [INTRODUCTION]
    gated = [figure for figure in now if figure.must is not None]
    good = sum(one.verdict != "MISSED" and one.is_quiet for one in gated)
    parts.append(f"{good} of {len(gated)} bounds that must be reached are, on a quiet machine.\n")
    for question in dict.fromkeys(figure.question for figure in now):
        rows = [figure for figure in now if figure.question == question]
        parts.append(f"## {question.capitalize()}\n\n{table(rows)}")
    if earlier:
        shown = table(earlier[:EARLIER_MAX], with_question=True)
        parts.append(f"## Earlier figures, newest first\n\n{shown}")
    return "\n".join(parts)


def table(figures: list[Figure], *, with_question: bool = False) -> str:
    """Figures as a table; notes and machines go below it, numbered, as they repeat."""
    machines = list(dict.fromkeys(figure.machine for figure in figures))
    lines = [
        "| figure | min / median / max | unit | ratio to raw spawn | must | aim | reached |"
        " machine, date, commit |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for figure in figures:
        what = f"{figure.question}: {figure.what}" if with_question else figure.what
        is_ratio = figure.judged == "ratio" and figure.must is not None
        ratio = spread(figure.ratios) if figure.ratios else ""
        cells = [
            f"{what} ({figure.note})" if figure.note else what,
            spread(figure.values),
            figure.unit,
            f"**{ratio}**" if is_ratio else ratio,
            bound(figure.must) if figure.must is not None else "",
            bound(figure.aim) if figure.aim is not None else "",
            reached(figure),
            f"[{machines.index(figure.machine) + 1}] {figure.date}, {figure.commit}",
        ]
        lines.append("| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |")
    lines.append("")
    lines += [f"[{place}] {machine}  " for place, machine in enumerate(machines, 1)]
    return "\n".join([*lines, ""])


def reached(figure: Figure) -> str:
    """The verdict, with what speaks against trusting it."""
    words = [{"MISSED": "**no**"}.get(figure.verdict, figure.verdict)]
    if figure.dropped:
        words.append(f"{number(figure.dropped)} dropped")
    if not figure.is_quiet:
        words.append("machine not quiet")
    return ", ".join(word for word in words if word)
