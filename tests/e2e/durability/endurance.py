"""How long the tests of endurance go on, and their luck; see ``scripts/endurance``."""

from __future__ import annotations

import os

LENGTH = int(os.environ.get("LOTE_ENDURANCE", "1"))
"""Multiplies what is done: 1 in CI."""

SEED = int(os.environ.get("LOTE_SEED", "11"))
"""Decides everything that is left to chance."""
