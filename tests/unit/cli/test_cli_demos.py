"""A demonstration whose packages are missing says so."""

from __future__ import annotations

import pytest

from lote.cli import demos


@pytest.mark.parametrize("name", demos.DEMOS)
def test_a_missing_package_is_named(name, monkeypatch, tmp_path):
    monkeypatch.setattr(demos, "find_spec", lambda part: None)
    said: list[str] = []
    assert demos.run_demo(name, tmp_path, {}, live=False, notify=said.append) == 1
    assert "azure.batch" in said[0]
    assert "lote[demo]" in said[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", demos.DEMOS)
def test_what_is_there_is_found(name):
    demos.check_parts(name)
