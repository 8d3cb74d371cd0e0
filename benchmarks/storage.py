"""How fast is the built-in blob storage: beside Azurite, beside the bare disk, and at its limit?

Each run starts our storage process and Azurite on fresh folders and asks both for the same, one
after the other, through the official SDK (storage_sdk.py). Beside them the same client meets a
server that does nothing (blob_null.py), which shows the client's own limit, and `dd` with fsync the
disk's. Then ours alone meets a client that costs next to nothing (blob_pump.py), a 4 GiB blob, and
a million blobs.

    python benchmarks/storage.py [--part sdk|lean|large|million]...
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import storage_limits
import storage_million
import storage_sdk
from figures import Figure, answer

QUESTION = "storage"
RUNS = 3  # the whole takes some minutes
PARTS = ("sdk", "lean", "large", "million")


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """All parts, or those that were asked for."""
    parts = given.part or PARTS
    if "sdk" in parts:
        yield from storage_sdk.sdk_figures(given)
    if "lean" in parts:
        yield from storage_limits.lean_figures(given)
    if "large" in parts:
        yield from storage_limits.large_figures(given)
    if "million" in parts:
        yield from storage_million.million_figures(given)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What only this benchmark takes."""
    parser.add_argument("--part", action="append", choices=PARTS, help="only these figures")


if __name__ == "__main__":
    answer(__doc__, measure, add_options, runs=RUNS)
