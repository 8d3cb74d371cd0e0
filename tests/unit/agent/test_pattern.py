"""Patterns of output files."""

from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.agent.pattern import Pattern, PatternError, expand_variables, has_wildcard

TASK = "/node/tasks/workitems/job/job-1/task"


def matches(pattern: str, path: str) -> bool:
    return Pattern(pattern, TASK).matches(path.split("/"))


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("out.txt", "wd/out.txt", True),
        ("out.txt", "out.txt", False),
        ("../std*.txt", "stdout.txt", True),
        ("../std*.txt", "wd/stdout.txt", False),
        ("./a//b.txt", "wd/a/b.txt", True),
        ("*.txt", "wd/a.txt", True),
        ("*.txt", "wd/a/b.txt", False),
        ("*.txt", "wd/.txt", False),
        ("*", "wd/.hidden", False),
        (".*", "wd/.hidden", True),
        ("?hidden", "wd/.hidden", False),
        ("[.]hidden", "wd/.hidden", True),
        ("**/*.txt", "wd/a.txt", True),
        ("**/*.txt", "wd/a/b/c.txt", True),
        ("**/*.txt", "wd/a/.git/c.txt", False),
        ("**/.git/*.txt", "wd/a/.git/c.txt", True),
        ("**", "wd/a/b", True),
        ("a/**/b", "wd/a/b", True),
        ("a/**/b", "wd/a/x/y/b", True),
        ("a/**/b", "wd/a/x/y/c", False),
        ("**/a/**/a", "wd/a/a", True),
        ("**/a/**/a", "wd/a", False),
        ("a?c", "wd/abc", True),
        ("a?c", "wd/ac", False),
        ("[abc].log", "wd/b.log", True),
        ("[a-c].log", "wd/d.log", False),
        ("[!a-c].log", "wd/d.log", True),
        ("[!a-c].log", "wd/b.log", False),
        ("a[*]b", "wd/a*b", True),
        ("a[*]b", "wd/axb", False),
        ("a[?]b", "wd/axb", False),
        ("a[", "wd/a[", True),
        ("[z-a]", "wd/m", False),
        ("[a-]", "wd/-", True),
        ("a+b.(c)", "wd/a+b.(c)", True),
        (f"{TASK}/wd/x", "wd/x", True),
        ("new\nline", "wd/new\nline", True),
    ],
)
def test_matching(pattern, path, expected):
    assert matches(pattern, path) is expected


@pytest.mark.parametrize("pattern", ["../../x", "/etc/passwd", "a/../../../x", TASK + "x/y"])
def test_patterns_that_lead_out(pattern):
    with pytest.raises(PatternError):
        Pattern(pattern, TASK)


@pytest.mark.parametrize(
    ("pattern", "fixed", "is_plain"),
    [
        ("a/b/*.txt", ["wd", "a", "b"], False),
        ("a/b/c.txt", ["wd", "a", "b"], True),
        ("../stdout.txt", [], True),
        ("../std*", [], False),
        ("a[*]/x*", ["wd", "a*"], False),
        ("a[*]/x", ["wd", "a*"], True),
        ("**/x", ["wd"], False),
    ],
)
def test_fixed_directories(pattern, fixed, is_plain):
    found = Pattern(pattern, TASK)
    assert (found.fixed, found.is_plain) == (fixed, is_plain)


def test_variables_are_expanded():
    variables = {"A": "1", "AB": "2"}
    text = "$A/${A}x/%AB%/$AB/$C/%C%/100%"
    assert expand_variables(text, variables) == "1/1x/2/2/$C/%C%/100%"


NAMES = st.text("ab.-", min_size=1, max_size=4).filter(lambda name: name not in (".", ".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4)


@given(PATHS)
def test_a_plain_path_matches_itself_only(parts):
    pattern = Pattern("/".join(parts), TASK)
    assert pattern.matches(["wd", *parts])
    assert not pattern.matches(["wd", *parts, "x"])
    assert not pattern.matches(parts[1:])


@given(st.text("ab*?[]!-.", min_size=1, max_size=6), NAMES)
def test_a_segment_agrees_with_fnmatch(segment, name):
    """Where no dot is at stake the language is that of fnmatch (but for a ']' right after '[')."""
    if "." in segment + name or "[]" in segment or "[!]" in segment or "**" in segment:
        return
    if "[" in segment and "-" in segment:
        return  # ranges with odd ends differ and are tested by themselves
    assert matches(segment, f"wd/{name}") is fnmatch.fnmatchcase(name, segment)


@given(PATHS, st.integers(0, 4), st.integers(0, 4))
def test_two_stars_stand_for_any_directories(parts, start, stop):
    visible = [part.replace(".", "b") for part in parts]
    start = min(start, len(visible) - 1)
    stop = max(start, min(stop, len(visible) - 1))
    pattern = "/".join([*visible[:start], "**", *visible[stop:]])
    assert matches(pattern, "/".join(["wd", *visible]))


@given(st.text("ab*[", min_size=1, max_size=5))
def test_wildcards_are_seen(part):
    if has_wildcard(part):
        assert set(part) & set("*?[")
