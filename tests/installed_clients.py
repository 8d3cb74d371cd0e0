"""Where ``scripts/prepare tests`` puts other people's clients."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

INSTALLED = Path(os.environ.get("LOTE_CLIENTS_DIR", Path.home() / ".cache" / "lote-clients"))
PROGRAMS = INSTALLED / "bin"


def demand(program: Path) -> Path:
    """The program, or a failure that says how to get it."""
    if not program.exists():
        pytest.fail(f"{program} is missing: run scripts/prepare tests", pytrace=False)
    return program
