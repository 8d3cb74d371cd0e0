"""Runs a client's script where the client is installed, and gives what it wrote down."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from data_plane.conftest import fresh

from installed_clients import demand
from lote.cli.ready import Ready

SCRIPTS = Path(__file__).parent / "scripts"
WITHIN_S = 540.0  # on a machine that does much else


class Report(NamedTuple):
    """What became of each operation, None for well, and all that the client offers."""

    errors: Mapping[str, str | None]
    offered: frozenset[str]

    def check(self, operation: str) -> None:
        """The operation was called and nothing was wrong with it."""
        assert operation in self.errors, f"{operation} was not called"
        error = self.errors[operation]
        if error is not None:
            pytest.fail(error, pytrace=False)


def run_script(
    program: Path | str, script: str, service: Ready, folder: Path, **environment: str
) -> Report:
    """Run a script on the service; it gets the ready file, a folder, and a container's URL."""
    demand(Path(program))
    ready_file = folder / "service.json"
    ready_file.write_bytes(msgspec.json.encode(service))
    words = [program, SCRIPTS / script, ready_file, folder, logs_url(service)]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
        env={**os.environ, **environment},
        cwd=folder,
    )
    if done.returncode:
        pytest.fail(f"{script} ended with {done.returncode}:\n{done.stderr}", pytrace=False)
    found = json.loads(done.stdout)
    return Report(found["errors"], frozenset(found["offered"]))


def logs_url(service: Ready) -> str:
    """A new container of the linked account, signed for writing."""
    with BlobServiceClient.from_connection_string(service.storage.connection_string) as storage:
        container = storage.create_container(fresh("logs"))
        sas = generate_container_sas(
            storage.account_name,
            container.container_name,
            account_key=storage.credential.account_key,
            permission=ContainerSasPermissions(write=True, create=True),
            expiry=datetime.now(UTC) + timedelta(hours=1),
        )
        return f"{container.url}?{sas}"
