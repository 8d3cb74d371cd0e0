"""@azure/storage-blob on Node.js, unmodified: its whole surface for batch work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from installed_clients import INSTALLED, demand

SCRIPT = Path(__file__).parent / "scripts" / "storage_script.mjs"
CLIENT = INSTALLED / "js"
WITHIN_S = 100.0
STEPS = (
    "containers",
    "service",
    "upload and download",
    "large, in blocks",
    "append blobs",
    "conditions",
    "leases",
    "snapshots, tags, tiers",
    "copies",
    "lists",
    "batches",
    "signatures",
    "stored policies",
    "wrong key",
    "deletes",
)


@pytest.fixture(scope="module")
def errors(storage):
    demand(CLIENT / "node_modules/@azure/storage-blob")
    done = subprocess.run(
        [shutil.which("node") or "node", SCRIPT, storage.connection_string],
        env={**os.environ, "LOTE_CLIENT": str(CLIENT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["errors"]


@pytest.mark.parametrize("step", STEPS)
def test_step(errors, step):
    assert errors[step] is None, errors[step]


def test_every_step_is_listed(errors):
    assert sorted(errors) == sorted(STEPS)
