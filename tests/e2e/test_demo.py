"""The demonstrations, from one command to checked films and prices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

LOTE = [sys.executable, "-m", "lote.main"]


def test_demos_are_listed():
    done = subprocess.run([*LOTE, "demo", "-o", "json"], capture_output=True, check=True)
    assert [demo["name"] for demo in json.loads(done.stdout)] == ["transcode", "sweep"]


def test_transcode(tmp_path: Path):
    done = subprocess.run(
        [*LOTE, "demo", "transcode", "--keep", str(tmp_path)],
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[15/15] join completed" in done.stdout  # 7 segments of each film, and the join
    assert "vp9" in done.stdout
    assert "examples/transcode/demo.py:" in done.stdout
    assert {path.name for path in tmp_path.glob("*.webm")} == {"bigbuckbunny.webm", "bikes.webm"}


def test_sweep(tmp_path: Path):
    done = subprocess.run(
        [*LOTE, "demo", "sweep", "--tasks", "60", "--keep", str(tmp_path)],
        env={**os.environ, "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[60/60] tasks completed" in done.stdout
    assert "9.413 by the formula" in done.stdout
    assert "examples/sweep/demo.py:" in done.stdout
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize("name", ["transcode", "sweep"])
def test_without_account_it_says_how(tmp_path: Path, name: str):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("AZURE_")}
    done = subprocess.run(
        [sys.executable, "-m", f"{name}.demo"],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2] / "examples")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "lote env" in done.stderr
