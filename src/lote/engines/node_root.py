"""The folder of all local nodes, where users that tasks run as can reach it."""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path

from lote.engines.seam import EngineError

SYSTEM_ROOT = Path("/var/lib/lote/nodes")
FOLDER_MODE = 0o711  # others may pass through, not look around


def make_node_root(node_root: Path, *, shared: bool, system_root: Path = SYSTEM_ROOT) -> Path:
    """Make the folder of nodes and return its real path.

    ``shared`` says that tasks run as other users than the service. Then every folder above must
    let others pass. If only the data folder (the parent of ``node_root``) does not, it is opened
    for passing, not for listing: what is secret in it has its own mode. If another one does not
    (a home, a private working folder), the nodes live in ``system_root/<12 hex of the SHA-256
    of node_root>`` and ``node_root`` is a symbolic link to there.

    Refuses (EngineError): a folder that users of tasks can't reach and that holds something.
    """
    node_root = Path(node_root).absolute()
    if node_root.is_symlink() and not node_root.exists():
        node_root.unlink()  # what it pointed to was cleared away; begin anew
    if not shared or node_root.is_symlink():
        node_root.mkdir(parents=True, exist_ok=True)
        return node_root.resolve()
    node_root.parent.mkdir(parents=True, exist_ok=True)
    closed = _closed_above(node_root)
    if closed == [node_root.parent.resolve()] and closed != [Path.home()]:
        _open_for_passing(closed[0])
    elif closed:
        return _link_to_system_root(node_root, system_root, closed[0])
    node_root.mkdir(exist_ok=True)
    _open_for_passing(node_root)
    return node_root.resolve()


def _closed_above(folder: Path) -> list[Path]:
    return [p for p in folder.parent.resolve().joinpath("x").parents if not _lets_others_pass(p)]


def _lets_others_pass(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def _open_for_passing(folder: Path) -> None:
    folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXOTH)


def _link_to_system_root(node_root: Path, system_root: Path, closed: Path) -> Path:
    if node_root.exists():
        try:
            node_root.rmdir()
        except OSError as error:
            raise EngineError(
                f"{node_root} holds nodes, but users of tasks can't reach it because {closed} "
                f"does not let others pass (chmod o+x), or choose another node root"
            ) from error
    name = hashlib.sha256(str(node_root).encode()).hexdigest()[:12]
    real = system_root / name
    for folder in reversed([real, *real.parents]):
        if not folder.exists():
            folder.mkdir()
            folder.chmod(FOLDER_MODE)
    node_root.symlink_to(real)
    return real.resolve()
