"""The page of promises names tests that exist."""

from __future__ import annotations

import ast
import re

import pytest
from sources import ROOT, tree_of

PAGE = (ROOT / "docs" / "durability.md").read_text()
NAMED = re.compile(r"\[(test_\w+)\]\(\.\./(tests/[\w/]+\.py)\)")
SECTIONS = re.split(r"^### ", PAGE.partition("## How far")[0], flags=re.MULTILINE)[1:]


@pytest.mark.parametrize(("name", "path"), sorted(set(NAMED.findall(PAGE))))
def test_a_named_test_exists(name, path):
    tree = tree_of(ROOT / path)
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_test_on_the_page_is_a_link():
    assert len(re.findall(r"\btest_\w+(?!\w*\.py)\b", NAMED.sub("", PAGE))) == 0


@pytest.mark.parametrize("section", SECTIONS, ids=lambda text: text.partition("\n")[0])
def test_every_promise_names_a_test(section):
    assert NAMED.search(section)
