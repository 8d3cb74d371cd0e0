"""Runs `az batch` commands in this interpreter, as the `az` program does.

The first word of the command line is the service's ready file, the second a folder to write in, the
third a container's URL.
"""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr
from pathlib import Path

from azure.cli.core import get_default_cli
from ledger import Ledger

READY = json.loads(Path(sys.argv[1]).read_text())
FOLDER = Path(sys.argv[2])
LOGS_URL = sys.argv[3]
ACCOUNT = READY["batch"]
GROUPS = ("application summary", "pool", "node", "job", "job-schedule", "task")
IMAGE = "canonical:ubuntu-24_04-lts:server"
AGENT = "batch.node.ubuntu 24.04"
POOL, JOB, SCHEDULE = "az-pool", "az-job", "az-schedule"
LONG_AGO, LATER = "2020-01-01T00:00:00Z", "2040-01-01T00:00:00Z"
MET = ("--if-modified-since", LONG_AGO, "--if-unmodified-since", LATER)
PRINTED = io.StringIO()  # the first command's log handlers stay for all
ledger = Ledger()


class AzFailed(Exception):
    """A command ended badly; the text is what it printed."""


def az(command: str, *words: str) -> object:
    """Run `az batch <command>`; gives what it printed, decoded."""
    named = ("--account-name", ACCOUNT["account"], "--account-key", ACCOUNT["key"])
    line = ["batch", *command.split(), *words, *named, "--account-endpoint", ACCOUNT["endpoint"]]
    out, code = io.StringIO(), None
    PRINTED.seek(0)
    PRINTED.truncate()
    with redirect_stderr(PRINTED):
        try:
            code = get_default_cli().invoke(line, out_file=out)
        except SystemExit as end:
            code = end.code
    if code:
        raise AzFailed(f"az batch {command} {words}: {code}\n{PRINTED.getvalue()}")
    text = out.getvalue().strip()
    return json.loads(text) if text else None


def refused(code: str, command: str, *words: str) -> None:
    """A command that the service refuses with this code."""
    try:
        az(command, *words)
    except AzFailed as error:
        assert code in str(error), f"no {code} in {error}"  # noqa: PT017, no pytest here
    else:
        raise AssertionError(f"az batch {command} {words} was not refused")


def conditional(command: str, etag: str, *words: str) -> object:
    """Refused with a stale ETag, carried out with the right one."""
    refused("ConditionNotMet", command, *words, "--if-match", "0x8D0000000000000")
    if not command.endswith("show"):
        refused("ConditionNotMet", command, *words, "--if-none-match", etag)
    return az(command, *words, "--if-match", etag, *MET)


def file_of(name: str, content: object) -> str:
    """A JSON file for a command to read."""
    path = FOLDER / f"{name}.json"
    path.write_text(json.dumps(content))
    return str(path)


def ids(found: object) -> list[str]:
    return [one["id"] for one in found]


def offered() -> list[str]:
    """The commands of the data plane."""
    cli = get_default_cli()
    cli.invocation = cli.invocation_cls(
        cli_ctx=cli,
        parser_cls=cli.parser_cls,
        commands_loader_cls=cli.commands_loader_cls,
        help_cls=cli.help_cls,
    )
    loader = cli.invocation.commands_loader
    loader.load_command_table(["batch"])
    names = (name.removeprefix("batch ") for name in loader.command_table)
    return [name for name in names if name.startswith(tuple(f"{one} " for one in GROUPS))]
