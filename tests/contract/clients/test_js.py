"""@azure/batch on Node.js, unmodified: every operation of every group, with every option."""

from __future__ import annotations

import shutil

import pytest

from installed_clients import INSTALLED

from .covered import column
from .foreign import Report, run_script

pytestmark = pytest.mark.timeout(600)  # the first test waits for the whole script


@pytest.fixture(scope="module")
def report(service, tmp_path_factory) -> Report:
    folder, installed = tmp_path_factory.mktemp("js"), INSTALLED / "js"
    program = shutil.which("node") or "node"
    return run_script(program, "js_script.mjs", service, folder, LOTE_CLIENT=str(installed))


@pytest.mark.parametrize("operation", column("js"))
def test_operation(report, operation):
    report.check(operation)


def test_every_operation_is_in_the_table(report):
    assert sorted(report.offered) == sorted(column("js"))


def test_no_step_ended_early(report):
    for name in report.errors:
        report.check(name)
