"""The commands of the terminal that need no server code. ``lote.main`` adds ``serve`` to them."""

from __future__ import annotations

import os
import shlex
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

import lote

# Locals in a traceback would show keys; the plain traceback of Python is what bug reports need.
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A batch computing service that speaks the Azure Batch protocol.",
)
demo = typer.Typer(no_args_is_help=False, help="Run a demonstration of the service.")
app.add_typer(demo, name="demo")


class Format(StrEnum):
    """How a list is printed."""

    TABLE = "table"
    JSON = "json"


class ListFormat(StrEnum):
    """How a list that may be long is printed."""

    TABLE = "table"
    JSON = "json"
    TSV = "tsv"


Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Data folder of the service.")
]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to print the list.")]


def notify(text: str) -> None:
    """A word for the person at the terminal; standard output is for results."""
    print(f"lote: {text}", file=sys.stderr, flush=True)


def fail(text: str, code: int = 1) -> typer.Exit:
    """Say why it went wrong; raise what this returns."""
    notify(text)
    return typer.Exit(code)


@app.command()
def version() -> None:
    """Print the version."""
    print(lote.__version__)


@app.command()
def env(data: Data = None, output: Output = Format.TABLE) -> None:
    """Print the variables that official clients read, for `eval "$(lote env)"`."""
    from lote.cli.ready import NoService, exports, read_ready
    from lote.settings import settings_from

    folder = settings_from(os.environ, folder=data).folder
    try:
        values = exports(read_ready(folder))
    except NoService as error:
        raise fail(str(error)) from None
    if output is Format.JSON:
        import json

        print(json.dumps(values, indent=2))
        return
    for name, value in values.items():
        print(f"export {name}={shlex.quote(value)}")


@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
def run(
    command: Annotated[list[str], typer.Argument(help="The command and its arguments, after --.")],
    pool: Annotated[str | None, typer.Option(help="Pool to run in; default the first.")] = None,
    job: Annotated[str | None, typer.Option(help="Job to add the task to; made if new.")] = None,
    resource: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="File to put beside the command; may be repeated."),
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME=VALUE", help="Environment variable of the task."),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave job and uploaded files.")] = False,
    data: Data = None,
) -> None:
    """Run a command as a task: its output as it comes, its exit code as it was.

    Without --data the service is the one that AZURE_BATCH_ACCOUNT, AZURE_BATCH_ACCESS_KEY and
    AZURE_BATCH_ENDPOINT name, else the one on this machine.
    """
    from lote.cli.run import Command, run_command

    wanted = Command(
        words=command,
        pool=pool,
        job=job,
        resources=tuple(resource or ()),
        environment=tuple(split_variable(text) for text in variable or ()),
        keep=keep,
    )
    raise typer.Exit(run_command(wanted, os.environ, data, notify))


@app.command()
def evaluations(
    pool: Annotated[str, typer.Argument(help="A pool that scales by a formula.")],
    last: Annotated[int, typer.Option("--last", "-n", min=1, help="How many at most.")] = 20,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """List what a pool's autoscale formula came to: targets, variables, errors; newest last.

    With -o json also the samples that each evaluation found newest. The service is found as with
    `lote run`.
    """
    from lote.cli.evaluations import print_evaluations

    as_json = output is Format.JSON
    raise typer.Exit(print_evaluations(pool, last, os.environ, data, notify, as_json=as_json))


@app.command()
def why(
    job: Annotated[str, typer.Argument(help="The task's job.")],
    task: Annotated[str, typer.Argument(help="The task.")],
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Say why a task does not run yet. The service is found as with `lote run`."""
    from lote.cli.why import print_reasons

    as_json = output is Format.JSON
    raise typer.Exit(print_reasons(job, task, os.environ, data, notify, as_json=as_json))


def split_variable(text: str) -> tuple[str, str]:
    """``NAME=VALUE`` taken apart."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise typer.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
    return name, value


@demo.callback(invoke_without_command=True)
def list_demos(context: typer.Context, output: Output = Format.TABLE) -> None:
    """Run a demonstration; without a name, list them."""
    if context.invoked_subcommand is not None:
        return
    from lote.cli.demos import DEMOS, print_demos

    print_demos(DEMOS, as_json=output is Format.JSON)


Keep = Annotated[
    Path | None,
    typer.Option(
        "--keep", metavar="DIR", help="Put results and the service's folder here and leave it."
    ),
]
Bars = Annotated[bool, typer.Option("--progress/--no-progress", help="Live bars, on a terminal.")]


@demo.command()
def transcode(keep: Keep = None, progress: Bars = True) -> None:
    """Convert two films on two nodes with the official SDK: cut, convert in parallel, join."""
    from lote.cli.demos import run_demo

    raise typer.Exit(run_demo("transcode", keep, os.environ, live=progress, notify=notify))


@demo.command()
def sweep(
    tasks: Annotated[int, typer.Option(min=20, max=100_000, help="How many.")] = 2000,
    keep: Keep = None,
    progress: Bars = True,
) -> None:
    """Price options in 2,000 short tasks with the official SDK; a picture of prices and speed."""
    from lote.cli.demos import run_demo

    words = ("--tasks", str(tasks))
    raise typer.Exit(run_demo("sweep", keep, os.environ, live=progress, notify=notify, words=words))
