"""File systems of a test's own: small ones that fill up, and one that refuses to be written to."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

CHUNK_BYTES = 64 * 1024


def mounted_here() -> bool:
    """Whether this machine lets us mount."""
    return (
        os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0
    )


needs_mounts = pytest.mark.skipif(not mounted_here(), reason="needs to mount file systems")


@contextlib.contextmanager
def small_disk(folder: Path, size: str, *options: str) -> Iterator[Path]:
    """A file system in memory of this size, such as ``32m``."""
    folder.mkdir(exist_ok=True)
    mode = folder.stat().st_mode & 0o777
    words = ",".join([f"size={size}", f"mode={mode:o}", *options])
    subprocess.run(["mount", "-t", "tmpfs", "-o", words, "lote-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextlib.contextmanager
def image_disk(folder: Path, size_mib: int) -> Iterator[Path]:
    """An ext4 file system in a file; skips the test where that can't be had."""
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("needs mkfs.ext4")
    image = folder.with_name(f"{folder.name}.img")
    with image.open("wb") as file:
        file.truncate(size_mib << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    folder.mkdir(exist_ok=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=False).returncode:
        pytest.skip("needs loop devices")
    try:
        folder.chmod(0o711)
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> list[Path]:
    """Leave no byte and no name free; gives the files to be removed."""
    filler = folder / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        size = CHUNK_BYTES
        while size:
            try:
                if file.write(bytes(size)) < size:
                    size //= 2
            except OSError:
                size //= 2
    files = [filler]
    with contextlib.suppress(OSError):
        while len(files) < 5000:  # not for file systems without such a limit
            files.append(folder / f"filler{len(files)}")
            files[-1].touch()
    return files


def clear(files: list[Path]) -> None:
    """Give the space back."""
    for file in files:
        file.unlink(missing_ok=True)


def set_writable(path: Path, *, allowed: bool) -> None:
    """Let the file system refuse all writes to a file, by those too who have it open."""
    flag = "-i" if allowed else "+i"
    subprocess.run(["chattr", flag, str(path)], check=True)


def remount(folder: Path, how: str) -> None:
    """``ro`` or ``rw``; refused by the kernel while a file is open for writing."""
    subprocess.run(["mount", "-o", f"remount,{how}", str(folder)], check=True)
