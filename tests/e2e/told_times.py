"""Times as shells and the service tell them, in seconds."""

from __future__ import annotations

from pathlib import Path


def burned_s(output: Path) -> float:
    """What the ``times`` of a shell told first: what it used of the processor itself. The kernel
    tells that in hundredths, cut off."""
    return sum(float(span.partition("m")[2].rstrip("s")) for span in output.read_text().split()[:2])


def seconds(duration: str) -> float:
    """A duration below an hour, as the service shows it."""
    minutes, _, rest = duration.removeprefix("PT").rpartition("M")
    return 60 * int(minutes or 0) + float(rest.removesuffix("S") or 0)
