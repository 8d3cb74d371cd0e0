"""One real service, with real nodes, for the end-to-end tests that only use one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

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
def shell(service: Ready, service_folder: Path) -> dict[str, str]:
    """The environment of a user whose usual folder is the service's, with `lote` on PATH."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AZURE_", "LOTE_"))}
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**kept, "LOTE_DATA": str(service_folder), "PATH": path}
