"""The house rules that a machine can check by reading the sources."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sources import PACKAGE, ROOT, python_files, rooms, shown, tree_of

FUNCTION_LINES_MAX = 60
MODULE_LINES_MAX = 600
CLOCKS = {"time", "uuid", "random", "secrets"}
NOW = {"now", "utcnow", "today"}
SQL = re.compile(
    r"\b(SELECT\s.+\sFROM|INSERT\s+(OR\s+\w+\s+)?INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM|"
    r"CREATE\s+(TABLE|INDEX|VIEW)|PRAGMA\s+\w+)\b",
    re.DOTALL,
)
SQL_ROOMS = ("store", "storage")  # each has its own database
REFUSED_FILES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "data", "info"}
REFUSED_FUNCTIONS = re.compile(r"(process|handle|do_.*)$")
# Spelled in two parts, so that this file does not name them.
WORKPLACE = ("/wo" + "rk/", "/fa" + "rm/", "/opt/py" + "pi", "/tmp/br" + "ief")


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.partition(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module.partition(".")[0]]
    return []


def test_only_world_knows_clock_and_chance():
    guilty = []
    for path in python_files("src"):
        if path == PACKAGE / "world.py":
            continue
        for node in ast.walk(tree_of(path)):
            clock = CLOCKS.intersection(imported(node))
            if isinstance(node, ast.Attribute) and node.attr in NOW:
                clock = clock or "datetime" in ast.dump(node.value) or "date'" in ast.dump(node)
            if clock:
                guilty.append(shown(path, getattr(node, "lineno", 0)))
    assert not guilty


def test_sql_stays_in_its_rooms():
    guilty = []
    for path in python_files("src"):
        if path.relative_to(PACKAGE).parts[0] in SQL_ROOMS:
            continue
        for node in ast.walk(tree_of(path)):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and SQL.search(text):
                guilty.append(shown(path, getattr(node, "lineno", 0)))
    assert not guilty


def test_long_functions_give_a_reason():
    guilty = []
    for path in python_files("src", "examples", "scripts", "benchmarks"):
        lines = path.read_text().splitlines()
        for function in functions(path):
            first, last = function.lineno, function.end_lineno or function.lineno
            if last - first < FUNCTION_LINES_MAX:
                continue
            above = lines[max(first - 2 - len(function.decorator_list), 0) : last]
            if not any("# long:" in line for line in above):
                guilty.append(f"{shown(path, first)} {function.name}: {last - first + 1} lines")
    assert not guilty


def test_long_modules_give_a_reason():
    guilty = []
    for path in python_files():
        text = path.read_text()
        if text.count("\n") > MODULE_LINES_MAX and "# long:" not in text:
            guilty.append(f"{shown(path)}: {text.count(chr(10))} lines")
    assert not guilty


def test_files_and_functions_have_names_that_say_something():
    guilty = [shown(path) for path in python_files() if path.stem in REFUSED_FILES]
    for path in python_files("src"):
        guilty += [
            f"{shown(path, function.lineno)} {function.name}"
            for function in functions(path)
            if REFUSED_FUNCTIONS.match(function.name)
        ]
    assert not guilty


def test_no_exception_is_swallowed():
    guilty = []
    for path in python_files():
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ExceptHandler) or len(node.body) != 1:
                continue
            wide = node.type is None or (
                isinstance(node.type, ast.Name) and node.type.id in ("Exception", "BaseException")
            )
            if wide and isinstance(node.body[0], ast.Pass):
                guilty.append(shown(path, node.lineno))
    assert not guilty


def test_no_test_sleeps():
    guilty = []
    for path in python_files("tests"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "time.sleep":
                guilty.append(shown(path, node.lineno))
    assert not guilty


@pytest.mark.parametrize("path", [ROOT / ".ci" / "run", *sorted((ROOT / "scripts").iterdir())])
def test_scripts_can_be_started(path):
    if path.suffix != ".py" and path.is_file():
        assert path.stat().st_mode & 0o111, path
        assert subprocess.run(["bash", "-n", path], check=False).returncode == 0


@pytest.mark.parametrize("pattern", ["*.py", "*.md", "*.toml", "*.txt", "*.sh", "*.json", "*.sql"])
def test_nothing_names_the_place_where_it_was_made(pattern):
    guilty = []
    for place in ("src", "examples", "scripts", "benchmarks", "tests", "docs", "."):
        folder = ROOT / place
        for path in folder.glob(pattern) if place == "." else folder.rglob(pattern):
            if "node_modules" in path.parts:
                continue
            text = path.read_text(errors="replace")
            guilty += [f"{shown(path)}: {word}" for word in WORKPLACE if word in text]
    assert not guilty


def test_architecture_names_every_room():
    text = (ROOT / "ARCHITECTURE.md").read_text()
    assert [room for room in rooms() if f"`{room}`" not in text] == []
