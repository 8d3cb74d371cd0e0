"""The files these tests read: every Python file of the project, parsed once."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "lote"
PLACES = ("src", "examples", "scripts", "benchmarks", "tests")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def python_files(*places: str) -> list[Path]:
    """The Python files below these folders of the project, or below all of them."""
    found = []
    for place in places or PLACES:
        found += (p for p in (ROOT / place).rglob("*.py") if "node_modules" not in p.parts)
    return sorted(found)


def shown(path: Path, line: int = 0) -> str:
    return f"{path.relative_to(ROOT)}:{line}" if line else str(path.relative_to(ROOT))


def rooms() -> list[str]:
    """The packages directly below ``lote``."""
    return sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py"))
