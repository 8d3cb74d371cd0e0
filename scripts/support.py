"""Writes docs/support.md: the operations and properties of the protocol that this release carries
out. ``--check`` compares."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from lote.wire.operations import OPERATIONS, Operation
from lote.wire.properties import DONE, LATER, RECORDED, REFUSED, fates
from lote.wire.properties import GROUPS as GROUPS_OF_PROPERTIES

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "support.md"
COVERED = ROOT / "tests" / "contract" / "clients" / "covered.py"
CLIENTS_INTRODUCTION = """# Clients

Unmodified clients call these operations, in these words, in the tests of this release; an empty
cell is an operation that the client has no word for. `tests/contract/clients` compares each column
with all that the client offers.
"""
INTRODUCTION = """# Supported operations

*Written by `scripts/support.py` from the tables of operations and of properties; change those
instead.*

Names are the methods of the official Python SDK 15.1. Every api-version from 2016-02-01.3.0 on is
accepted and answered in its own words: members under the names they had then, and none that it does
not know. An operation is carried out in every version, outside those that have it too: what the
provider's service answers there is not documented, and a client that asks for it wants it. What is
not carried out yet answers `501 NotImplemented`. Two are additions: `list_pool_evaluations`, what
the formula of a pool came to, time after time, and `explain_task`, why a task does not run yet.
"""
FATES = (DONE, RECORDED, REFUSED, LATER)
PROPERTIES_INTRODUCTION = """# Supported properties

Each property that a client can send, by the model that has it.

- *carried out*: it does what the protocol says;
- *recorded only*: it is checked, kept and shown again, and has no other effect, as the nodes of an
  engine are not the provider's virtual machines;
- *refused*: it refers to what only the provider's cloud can have, such as a subnet;
- *not yet*: the request is refused, or the task that needs it fails.

Properties that only older api-versions have are read in all of them and shown in theirs.
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
    return "\n".join(
        [*lines, CLIENTS_INTRODUCTION, *clients(), PROPERTIES_INTRODUCTION, *properties()]
    )


def clients() -> list[str]:
    """The section about clients: a line an operation, a column a client."""
    tested = runpy.run_path(str(COVERED))
    names, covered = tested["CLIENTS"], tested["COVERED"]
    lines = [f"| operation | {' | '.join(names.values())} |", "|---" * (len(names) + 1) + "|"]
    for row in OPERATIONS:
        words = covered.get(row.name, ("",) * len(names))
        cells = " | ".join(f"`{word}`" if word else "" for word in words)
        lines.append(f"| `{row.name}` | {cells} |")
    return [*lines, ""]


def properties() -> list[str]:
    """The section about properties: a table a group, a line a model."""
    lines = []
    for group, rows in GROUPS_OF_PROPERTIES.items():
        lines += [f"### {group}", "", f"| model | {' | '.join(FATES)} |"]
        lines.append("|---" * (len(FATES) + 1) + "|")
        for row in rows:
            found = fates(row)
            cells = [
                " ".join(f"`{name}`" for name, one in found.items() if one == fate)
                for fate in FATES
            ]
            lines.append(f"| {row.struct.__name__} | {' | '.join(cells)} |")
        lines.append("")
    return lines


def main(words: list[str]) -> int:
    """Write the page, or say whether it is current."""
    if "--check" in words:
        return 0 if PAGE.read_text() == page() else 1
    PAGE.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
