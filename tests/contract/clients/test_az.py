"""`az batch`, unmodified: every command of its data plane."""

from __future__ import annotations

import pytest

from installed_clients import INSTALLED

from .covered import column
from .foreign import Report, run_script

pytestmark = pytest.mark.timeout(600)  # the first test waits for the whole script
COMMANDS = sorted({word.partition(" --")[0] for word in column("az")})


@pytest.fixture(scope="module")
def report(service, tmp_path_factory) -> Report:
    folder = tmp_path_factory.mktemp("az")
    settings = {
        "AZURE_CONFIG_DIR": str(folder / "config"),
        "AZURE_CORE_COLLECT_TELEMETRY": "0",
        "AZURE_CORE_NO_COLOR": "1",
    }
    program = INSTALLED / "az" / "bin" / "python"
    return run_script(program, "az_script.py", service, folder, **settings)


@pytest.mark.parametrize("command", COMMANDS)
def test_command(report, command):
    report.check(command)


def test_every_command_is_in_the_table(report):
    assert sorted(report.offered) == COMMANDS


def test_no_step_ended_early(report):
    for name in report.errors:
        report.check(name)
