"""What the programs of peers share: they run as many tasks as they are told, and say how long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def obey(run: Callable[[int], None]) -> None:
    """A number on a line of standard input is so many tasks; answered with seconds."""
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        run(int(line))
        print(f"took {time.perf_counter() - began:.6f}", flush=True)
