"""Each row of the operations table is carried out and tested; generated pages are current."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from sources import PACKAGE, ROOT, python_files, tree_of

from lote.wire.operations import OPERATIONS

REAL = [row.name for row in OPERATIONS if row.real]


def handler_names() -> set[str]:
    files = (PACKAGE / "server" / "handlers").glob("*.py")
    return {node.name for path in files for node in tree_of(path).body if hasattr(node, "name")}


def test_every_real_operation_has_a_handler():
    assert sorted(set(REAL) - handler_names()) == []


def test_no_handler_is_without_a_real_operation():
    """A handler that the table does not carry out would be dead, or the table would be wrong."""
    planned = {row.name for row in OPERATIONS if not row.real}
    assert sorted(planned & handler_names()) == []


def test_every_real_operation_has_a_contract_test():
    text = "\n".join(path.read_text() for path in python_files("tests/contract"))
    # The SDK spells the long-running ones begin_delete_pool; the table has no begin_.
    missing = [name for name in REAL if not re.search(rf"\b(begin_)?{name}\b", text)]
    assert missing == []


@pytest.mark.parametrize(
    ("script", "document"),
    [("support.py", "support.md"), ("settings_page.py", "settings.md")],
)
def test_generated_page_is_current(script, document):
    code = (
        f"import runpy; print(runpy.run_path({str(ROOT / 'scripts' / script)!r})['page'](), end='')"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert made.stdout == (ROOT / "docs" / document).read_text()


def test_rooms_import_only_what_lies_below():
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stdout


def test_state_diagrams_are_current():
    script = ROOT / "scripts" / "diagrams.py"
    done = subprocess.run([sys.executable, script, "--check"], timeout=60, check=False)
    assert done.returncode == 0
