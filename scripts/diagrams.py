"""Write the state diagrams of ARCHITECTURE.md from the tables in `lote.domain`.

`python scripts/diagrams.py` rewrites them; `--check` only says whether they are current.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lote.domain.job import JOB
from lote.domain.job_schedule import JOB_SCHEDULE
from lote.domain.node import NODE
from lote.domain.pool import ALLOCATION, POOL
from lote.domain.task import TASK

PAGE = Path(__file__).parent.parent / "ARCHITECTURE.md"
BEGIN, END = "<!-- state diagrams: written by scripts/diagrams.py -->", "<!-- end -->"


def diagrams() -> str:
    """All machines as Mermaid diagrams."""
    machines = (TASK, JOB, JOB_SCHEDULE, POOL, ALLOCATION, NODE)
    return "\n".join(f"### {one.name}\n\n```mermaid\n{one.mermaid()}\n```\n" for one in machines)


def page(text: str) -> str:
    """The page with its diagrams current."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return f"{head}{BEGIN}\n\n{diagrams()}\n{END}{tail}"


def main() -> int:
    """Rewrite or check the page."""
    text = PAGE.read_text()
    current = page(text)
    if "--check" in sys.argv:
        return int(text != current)
    PAGE.write_text(current)
    return 0


if __name__ == "__main__":
    sys.exit(main())
