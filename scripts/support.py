"""Writes docs/support.md: what of the protocol this release carries out. ``--check`` compares."""

from __future__ import annotations

import sys
from pathlib import Path

from lote.wire.operations import OPERATIONS, Operation

PAGE = Path(__file__).parents[1] / "docs" / "support.md"
INTRODUCTION = """# Supported operations

*Written by `scripts/support.py` from the table of operations; change that table instead.*

Names are the methods of the official Python SDK 15.1. Every api-version from 2016-02-01.3.0 on is
accepted. What is not carried out yet answers `501 NotImplemented`.
"""
GROUPS = {
    "pools": "Pools",
    "nodes": "Nodes",
    "jobs": "Jobs",
    "tasks": "Tasks",
    "files": "Files",
    "jobschedules": "Job schedules",
    "certificates": "Certificates",
    "": "Account",
}


def group_of(row: Operation) -> str:
    """The last part of the path that names a group."""
    parts = [part.partition("(")[0] for part in row.path.split("/")]
    return next((part for part in reversed(parts) if part in GROUPS and part), "")


def versions(row: Operation) -> str:
    """When an operation is not in all api-versions."""
    since = f"since {row.since.partition('.')[0]}" if row.since else ""
    until = f"until {row.until.partition('.')[0]}" if row.until else ""
    return f"{since} {until}".strip()


def page() -> str:
    """The whole page."""
    real = sum(row.real for row in OPERATIONS)
    lines = [INTRODUCTION, f"{real} of {len(OPERATIONS)} operations are carried out.", ""]
    for group, title in GROUPS.items():
        lines += [f"## {title}", "", "| operation | request | carried out | api-versions |"]
        lines.append("|---|---|---|---|")
        for row in OPERATIONS:
            if group_of(row) == group:
                done = "yes" if row.real else "not yet"
                lines.append(
                    f"| `{row.name}` | `{row.method} {row.path}` | {done} | {versions(row)} |"
                )
        lines.append("")
    return "\n".join(lines)


def main(words: list[str]) -> int:
    """Write the page, or say whether it is current."""
    if "--check" in words:
        return 0 if PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
