"""The folder of one local node: made, kept small, removed."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

from lote.engines.seam import EngineError

FOLDER_MODE = 0o711  # users of tasks may pass through, not look around
OUTPUT_NAME = "agent.out"  # what the agent prints: nothing, unless it breaks
OUTPUT_BYTES_MAX = 1 << 20
OUTPUT_SHOWN_BYTES = 300


def make_folder(root: Path, node_id: str) -> Path:
    """The node's folder, made if need be. Refuses (EngineError) an id that is no plain name."""
    if not node_id or "/" in node_id or "\0" in node_id or node_id.startswith("."):
        raise EngineError(f"not a node id: {node_id!r}")
    folder = root / node_id
    try:
        folder.mkdir(exist_ok=True)
        folder.chmod(FOLDER_MODE)  # mkdir's mode is cut by the umask
    except OSError as error:
        raise EngineError(f"the folder of node {node_id} can't be made: {error}") from error
    return folder


def open_output(folder: Path) -> int:
    """A descriptor for what the agent prints, emptied; the caller closes it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    return os.open(folder / OUTPUT_NAME, flags, 0o600)


def bound_output(folder: Path) -> None:
    """Empty what an agent printed when it is too much; it appends, so it goes on at the start."""
    output = folder / OUTPUT_NAME
    try:
        if output.stat().st_size > OUTPUT_BYTES_MAX:
            os.truncate(output, 0)
    except FileNotFoundError:
        return  # the agent removed its folder when it left


def last_words(folder: Path) -> str:
    """The last line the agent printed, for people; empty when there is none."""
    try:
        with open(folder / OUTPUT_NAME, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - OUTPUT_SHOWN_BYTES))
            lines = file.read().decode(errors="replace").split("\n")
    except FileNotFoundError:
        return ""
    words = [line.strip() for line in lines if line.strip()]
    return words[-1] if words else ""


def remove_folder(folder: Path) -> None:
    """Remove a node's folder, if it is there, with directories that a task has closed to us."""
    try:
        try:
            _remove_tree(folder)
        except PermissionError:
            for parent, names, _ in os.walk(folder):
                for path in [os.path.join(parent, n) for n in names]:
                    if not os.path.islink(path):
                        os.chmod(path, stat.S_IRWXU)
            _remove_tree(folder)
    except (OSError, RecursionError) as error:
        raise EngineError(f"the folder of node {folder.name} can't be removed: {error}") from error


def _remove_tree(folder: Path) -> None:
    if not os.path.lexists(folder):
        return
    try:
        shutil.rmtree(folder)
    except RecursionError:  # a task may nest directories deeper than the library goes
        done = subprocess.run(
            ["rm", "-rf", "--", folder], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise OSError(done.stderr.partition("\n")[0]) from None
