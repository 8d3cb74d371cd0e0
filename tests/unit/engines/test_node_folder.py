"""The folder of a node goes, whatever tasks left there."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lote.engines.node_folder import make_folder, remove_folder


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    # Left to pytest, what a failure leaves here would break its cleaning up, runs later.
    subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)


def nest(folder: Path, depth: int) -> None:
    """Directories in each other, each made from the one above it."""
    here = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)


def test_directories_that_are_nested_deeply_go(root):
    folder = make_folder(root, "tvm-1")
    nest(folder, sys.getrecursionlimit() + 100)
    remove_folder(folder)
    assert not list(root.iterdir())


def test_a_folder_that_is_not_there_is_removed(root):
    remove_folder(root / "tvm-1")
