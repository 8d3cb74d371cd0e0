"""Splitting command lines and finding programs."""

from __future__ import annotations

import os
import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.agent.command_line import DEFAULT_PATH, find_program, split_command_line


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), min_size=1))
def test_quoted_words_come_back(words):
    assert split_command_line(shlex.join(words)) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("a b\tc\n d", ["a", "b", "c", "d"]),
        ("echo # not a comment", ["echo", "#", "not", "a", "comment"]),
        ("""/bin/sh -c 'echo "$X" | cat'""", ["/bin/sh", "-c", 'echo "$X" | cat']),
        ('a "b\\"c" d\\ e', ["a", 'b"c', "d e"]),
        ("a*b ~ $x", ["a*b", "~", "$x"]),
    ],
)
def test_words(line, words):
    assert split_command_line(line) == words


@pytest.mark.parametrize("line", ["", "  \n", "'open", 'a "b'])
def test_lines_without_sense(line):
    with pytest.raises(ValueError, match=r"quot|empty"):
        split_command_line(line)


def test_programs_are_found(tmp_path):
    here = os.fsencode(tmp_path)
    program = tmp_path / "program"
    program.touch(0o755)
    locked = tmp_path / "locked"
    locked.mkdir()
    assert find_program("sh", DEFAULT_PATH, here).endswith(b"/sh")
    assert find_program("./program", DEFAULT_PATH, here) == here + b"/./program"
    assert find_program("/x/y", DEFAULT_PATH, here) == b"/x/y"
    assert find_program("program", f"/nowhere:{tmp_path}", here) == here + b"/program"
    assert find_program("program", "/nowhere:.", here) == here + b"/./program"
    for word in ("program", "locked"):
        with pytest.raises(FileNotFoundError):
            find_program(word, DEFAULT_PATH, here)
    program.chmod(0o644)
    with pytest.raises(PermissionError):
        find_program("program", str(tmp_path), here)
