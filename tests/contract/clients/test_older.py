"""azure-batch 14.2, unmodified: every operation of every group, with every option."""

from __future__ import annotations

import pytest

from installed_clients import INSTALLED

from .covered import column
from .foreign import Report, run_script

pytestmark = pytest.mark.timeout(600)  # the first test waits for the whole script


@pytest.fixture(scope="module")
def report(service, tmp_path_factory) -> Report:
    program = INSTALLED / "older" / "bin" / "python"
    return run_script(program, "older_script.py", service, tmp_path_factory.mktemp("older"))


@pytest.mark.parametrize("operation", column("older"))
def test_operation(report, operation):
    report.check(operation)


def test_every_operation_is_in_the_table(report):
    assert sorted(report.offered) == sorted(column("older"))


def test_no_step_ended_early(report):
    for name in report.errors:
        report.check(name)
