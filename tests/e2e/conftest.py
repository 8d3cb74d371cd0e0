"""One real service, with real nodes, for the end-to-end tests that only use one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from installed_clients import PROGRAMS
from lote.cli.ready import Ready
from lote.cli.service import temporary_service


@pytest.fixture(scope="session")
def service_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="session")
def service(service_folder: Path) -> Iterator[Ready]:
    with temporary_service(service_folder) as ready:
        yield ready


@pytest.fixture(scope="session")
def shell(
    service: Ready, service_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of a user whose usual folder is the service's, with `lote` on PATH."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AZURE_", "LOTE_", "AZCOPY_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], str(PROGRAMS)])
    notes = tmp_path_factory.mktemp("azcopy")
    ours = {"LOTE_DATA": str(service_folder), "PATH": path}
    theirs = {"AZCOPY_LOG_LOCATION": str(notes), "AZCOPY_JOB_PLAN_LOCATION": str(notes)}
    return {**kept, **ours, **theirs}
