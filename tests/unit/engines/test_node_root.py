from __future__ import annotations

import hashlib
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lote.engines.node_root import make_node_root
from lote.engines.seam import EngineError


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody can reach; pytest's own lies below one of mode 0700."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.chmod(0o755)
        yield folder


def lets_others_pass(folder: Path) -> bool:
    return bool(folder.stat().st_mode & stat.S_IXOTH)


def reachable(folder: Path) -> bool:
    return all(lets_others_pass(p) for p in [folder, *folder.parents])


def test_a_service_that_keeps_its_user_changes_no_mode(open_folder: Path):
    data = open_folder / "data"
    data.mkdir(mode=0o700)
    root = make_node_root(data / "nodes", shared=False)
    assert root == data / "nodes"
    assert not lets_others_pass(data)


def test_the_data_folder_alone_is_opened_for_passing(open_folder: Path):
    data = open_folder / "data"
    data.mkdir(mode=0o700)
    root = make_node_root(data / "nodes", shared=True)
    assert root == data / "nodes"
    assert reachable(root)
    assert not data.stat().st_mode & stat.S_IROTH


def test_behind_a_closed_parent_nodes_live_in_the_system_root(open_folder: Path):
    home = open_folder / "home"
    home.mkdir(mode=0o700)
    node_root = home / "data" / "nodes"
    system_root = open_folder / "var" / "nodes"
    root = make_node_root(node_root, shared=True, system_root=system_root)
    assert root == system_root / hashlib.sha256(str(node_root).encode()).hexdigest()[:12]
    assert reachable(root)
    assert node_root.is_symlink()
    assert node_root.resolve() == root
    assert not lets_others_pass(home)
    again = make_node_root(node_root, shared=True, system_root=open_folder / "elsewhere")
    assert again == root, "the link is followed from then on"


def test_an_empty_closed_node_root_is_replaced_by_a_link(open_folder: Path):
    node_root = open_folder / "home" / "data" / "nodes"
    node_root.mkdir(parents=True)
    (open_folder / "home").chmod(0o700)
    root = make_node_root(node_root, shared=True, system_root=open_folder / "var")
    assert node_root.resolve() == root == open_folder / "var" / root.name


def test_a_closed_node_root_with_nodes_is_refused(open_folder: Path):
    node_root = open_folder / "home" / "data" / "nodes"
    (node_root / "node-1").mkdir(parents=True)
    (open_folder / "home").chmod(0o700)
    with pytest.raises(EngineError, match=r"home does not let others pass"):
        make_node_root(node_root, shared=True, system_root=open_folder / "var")


def test_a_home_is_never_opened(open_folder: Path, monkeypatch: pytest.MonkeyPatch):
    home = open_folder / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    root = make_node_root(home / "nodes", shared=True, system_root=open_folder / "var")
    assert root.parent == open_folder / "var"
    assert not lets_others_pass(home)


def test_a_link_whose_target_was_cleared_away_is_made_anew(open_folder: Path):
    home = open_folder / "home"
    (home / "data").mkdir(parents=True)
    home.chmod(0o700)
    node_root = home / "data" / "nodes"
    root = make_node_root(node_root, shared=True, system_root=open_folder / "var")
    root.rmdir()
    assert make_node_root(node_root, shared=True, system_root=open_folder / "var") == root
    assert reachable(root)
