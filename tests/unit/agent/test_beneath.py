"""Paths that must not leave their folder; what a cached file is known by."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.agent.beneath import Escapes, create_beneath, open_beneath, path_parts
from lote.agent.cache import without_signature
from lote.agent.copying import copy_file
from lote.agent.orders import Unpacker, pack


@pytest.fixture
def folder(tmp_path):
    inside = tmp_path / "inside"
    (inside / "a").mkdir(parents=True)
    (inside / "a" / "file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (inside / "to-file").symlink_to("a/file")
    (inside / "to-a").symlink_to("a")
    (inside / "out").symlink_to(tmp_path)
    (inside / "out-file").symlink_to(tmp_path / "secret")
    return inside


@pytest.mark.parametrize("path", ["a/file", "./a//file", "to-file", "to-a/file"])
def test_what_lies_inside_opens(folder, path):
    with os.fdopen(open_beneath(str(folder), path, os.O_RDONLY)) as source:
        assert source.read() == "inside"


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "a/../../secret", "out/secret", "out-file", "a\0b"]
)
def test_what_leads_out_does_not(folder, path):
    with pytest.raises(Escapes):
        open_beneath(str(folder), path, os.O_RDONLY)


def test_files_are_made_without_following_links(folder, tmp_path):
    os.close(create_beneath(str(folder), "new/deep/file", 0o640, None))
    assert (folder / "new/deep/file").stat().st_mode & 0o777 == 0o640
    os.close(create_beneath(str(folder), "out-file", 0o600, None))
    assert not (folder / "out-file").is_symlink()
    assert (tmp_path / "secret").read_text() == "outside"
    with pytest.raises(NotADirectoryError):
        create_beneath(str(folder), "out/new", 0o600, None)
    with pytest.raises(NotADirectoryError):
        create_beneath(str(folder), "to-a/new", 0o600, None)
    for path in ("../x", "/x", "", "a/.."):
        with pytest.raises(Escapes):
            create_beneath(str(folder), path, 0o600, None)
    assert not (tmp_path / "new").exists()


@given(st.lists(st.sampled_from(["a", "..", ".", "", "b c"]), max_size=5))
def test_parts_never_climb(parts):
    path = "/".join(parts)
    if path.startswith("/") or ".." in parts:
        with pytest.raises(Escapes):
            path_parts(path)
    else:
        assert path_parts(path) == [part for part in parts if part not in ("", ".")]


@pytest.mark.parametrize(
    ("url", "known"),
    [
        ("https://a.b/c/d?sv=1&sig=x%3D&se=2", "https://a.b/c/d"),
        ("https://a.b/c/d?sv=1&sig=x&snapshot=7", "https://a.b/c/d?snapshot=7"),
        ("https://a.b/c/d?se=2&sv=1", "https://a.b/c/d?se=2&sv=1"),  # not a SAS: part of the name
        ("https://a.b/c/d", "https://a.b/c/d"),
    ],
)
def test_signatures_do_not_name_contents(url, known):
    assert without_signature(url) == known


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_copies_are_whole(tmp_path, size):
    content = os.urandom(size)
    (tmp_path / "source").write_bytes(content)
    source = os.open(tmp_path / "source", os.O_RDONLY)
    target = os.open(tmp_path / "target", os.O_WRONLY | os.O_CREAT)
    copy_file(source, target)
    os.close(source)
    os.close(target)
    assert (tmp_path / "target").read_bytes() == content


@given(st.lists(st.tuples(st.text(), st.binary())), st.lists(st.integers(1, 40)))
def test_messages_survive_being_cut(messages, cuts):
    stream = b"".join(pack(one) for one in messages)
    unpacker = Unpacker()
    received = []
    for size in [*cuts, len(stream) + 1]:
        received.extend(unpacker.feed(stream[:size]))
        stream = stream[size:]
    assert received == messages
