"""All benchmarks, one after another; rewrites RESULTS.md. On a machine with nothing else to do.

Each runs in a process of its own. `--small` tries them all out in a few minutes, and shows the page
instead of writing it.

    python benchmarks/all.py [--small] [--only NAME]... [--runs N]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import HERE, KEPT, PAGE, page_of, read_figures

NAMES = (
    "end_to_end",
    "latency",
    "acceptance",
    "plane",
    "decode",
    "million_queued",
    "footprint",
    "place",
    "chains",
    "scripted_nodes",
    "agent_spawn",
    "autoscale",
    "storage",
    "staging",
    "peers",
)


def run(name: str, record: Path, given: argparse.Namespace) -> bool:
    """One benchmark; whether it went well."""
    words = [sys.executable, str(HERE / f"{name}.py"), "--record", str(record)]
    words += ["--small"] if given.small else []
    words += ["--runs", str(given.runs)] if given.runs else []
    print(f"== {name}", flush=True)
    began = time.monotonic()
    ended = subprocess.run(words, check=False).returncode
    print(f"== {name}: {time.monotonic() - began:.0f} s", flush=True)
    return ended == 0


def main() -> int:
    """Run, then write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="try them out; writes nothing")
    parser.add_argument("--runs", type=int)
    parser.add_argument("--only", action="append", choices=NAMES)
    given = parser.parse_args()
    failed: list[str] = []
    with tempfile.TemporaryDirectory(prefix="lote-bench-") as folder:
        record = Path(folder) / "figures.jsonl"
        failed += [name for name in given.only or NAMES if not run(name, record, given)]
        figures = read_figures(record)
        if given.small:
            print(page_of(figures))
        elif figures:
            with KEPT.open("ab") as file:
                file.write(record.read_bytes())
            PAGE.write_text(page_of(read_figures(KEPT)))
    missed = [figure.what for figure in figures if figure.verdict == "MISSED"]
    for what in missed:
        print(f"missed: {what}")
    for name in failed:
        print(f"failed: {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
