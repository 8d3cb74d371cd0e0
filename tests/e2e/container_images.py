"""An image for tests of containers, and whether this machine can run one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lote.agent.container_groups import Groups

APPLETS = ("sh", "cat", "echo", "env", "false", "id", "ls", "pwd", "sleep", "test", "touch", "true")
# What some machines need before they let podman start anything, and none minds.
OPTIONS = "--network none --ulimit nofile=1024:1024 --ulimit nproc=1024:1024"
ENTRY = ("CMD ['/bin/echo', 'said by the image']", "ENV MADE_BY=image", "WORKDIR /tmp")


@contextmanager
def busybox_image() -> Iterator[str]:
    """The name of an image that is there for the length of the block; skips where none can be."""
    name = f"lote.test/base-{os.getpid()}:1"
    with tempfile.TemporaryDirectory(prefix="lote-image-") as folder:
        reason = make_image(name, Path(folder))
    if reason is not None:
        pytest.skip(reason)
    try:
        yield name
    finally:
        remove_image(name)


def make_image(name: str, folder: Path) -> str | None:
    """Import an image of busybox alone; gives why that or running it does not work here."""
    podman, busybox = shutil.which("podman"), shutil.which("busybox")
    if podman is None or busybox is None:
        return f"{'podman' if podman is None else 'busybox'} is not installed"
    archive = folder / "image.tar"
    with tarfile.open(archive, "w") as target:
        target.add(os.path.realpath(busybox), "bin/busybox")
        for path in APPLETS:
            target.addfile(_link(f"bin/{path}"))
        target.addfile(_directory("tmp", 0o1777))
    changes = [word for change in ENTRY for word in ("--change", change.replace("'", '"'))]
    for words in (
        ["import", *changes, str(archive), name],
        ["run", "--rm", *OPTIONS.split(), name, "true"],
    ):
        done = subprocess.run([podman, *words], capture_output=True, text=True, check=False)
        if done.returncode:
            return f"podman cannot run here: {done.stderr.strip()[-300:]}"
    return None


def remove_image(name: str) -> None:
    """Remove the image and what was made of it."""
    subprocess.run(["podman", "rmi", "--force", name], capture_output=True, check=False)


def containers_of(root: Path) -> list[str]:
    """The containers that are there of a node, running or not."""
    words = ["podman", "ps", "--all", "--quiet", "--filter", f"label=lote.node={root}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def counts_use() -> bool:
    """Whether podman takes control groups of the agent's on this machine."""
    words = ["podman", "info", "--format", "{{.Host.CgroupManager}}"]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    is_allowed = os.geteuid() == 0 and Groups("/lote-test").are_allowed()
    return is_allowed and told.strip() == "cgroupfs"


def _link(path: str) -> tarfile.TarInfo:
    found = tarfile.TarInfo(path)
    found.type, found.linkname = tarfile.SYMTYPE, "busybox"
    return found


def _directory(path: str, mode: int) -> tarfile.TarInfo:
    found = tarfile.TarInfo(path)
    found.type, found.mode = tarfile.DIRTYPE, mode
    return found
