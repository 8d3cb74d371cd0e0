"""The commands `lote storage …`: options, printing, exit codes. The SDK is loaded by none of them
before it is needed.

Exit codes: 0 all done, 1 something failed (each said on standard error), 2 not understood,
130 interrupted, 141 the reader of the output went away.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lote.cli.app import Data, Format, ListFormat, Output, fail, notify

if TYPE_CHECKING:
    from lote.cli.storage.accounts import Accounts

storage = typer.Typer(
    no_args_is_help=True,
    help="Look into blob storage, copy, delete, sign. Names there begin with az://.",
)

NOT_UNDERSTOOD = 2
INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE
THREADS = 8
THREADS_MAX = 64

ConnectionString = Annotated[
    str | None,
    typer.Option(
        "--connection-string",
        metavar="TEXT",
        help="The account that az:// means, with a key or a SAS; else AZURE_STORAGE_"
        "CONNECTION_STRING, else the running service's.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No bar and no summary.")]
Threads = Annotated[
    int, typer.Option("--parallel", min=1, max=THREADS_MAX, help="Files at a time.")
]
Listed = Annotated[ListFormat, typer.Option("--output", "-o", help="How to print the list.")]


@storage.command()
def ls(
    name: Annotated[
        str, typer.Argument(metavar="[az://CONTAINER[/PREFIX]]", help="Folder, blob or pattern.")
    ] = "az://",
    long: Annotated[bool, typer.Option("--long", "-l", help="Sizes, times, types.")] = False,
    deep: Annotated[bool, typer.Option("--recursive", "-r", help="All below, not runs.")] = False,
    in_bytes: Annotated[bool, typer.Option("--bytes", help="Sizes as exact numbers.")] = False,
    connection_string: ConnectionString = None,
    data: Data = None,
    output: Listed = ListFormat.TABLE,
) -> None:
    """List containers, or the blobs and folders of one.

    Without a name the containers. Printed as the pages come: millions are no trouble.
    """
    from lote.cli.storage.look import list_entries, printer_for, shown_name
    from lote.cli.storage.names import parse_remote

    with _accounts(data, connection_string) as accounts:
        place = parse_remote(name)
        printer = printer_for(output, sys.stdout, long=long, in_bytes=in_bytes)
        for entry in list_entries(accounts, place, deep=deep):
            printer.entry(entry, shown_name(accounts, place, entry))
        printer.close()
        sys.stdout.flush()


# long: one parameter a flag, and each is passed on under its own name
@storage.command()
def cp(
    places: Annotated[
        list[str], typer.Argument(metavar="SOURCE... TARGET", help="Paths, az:// names, URLs, -.")
    ],
    deep: Annotated[bool, typer.Option("--recursive", "-r", help="Folders with all in.")] = False,
    update: Annotated[
        bool, typer.Option("--update", "-u", help="Skip what is the same (size and MD5).")
    ] = False,
    no_clobber: Annotated[
        bool, typer.Option("--no-clobber", "-n", help="Never replace; skip what exists.")
    ] = False,
    create: Annotated[bool, typer.Option("--create", help="Make the container.")] = False,
    content_type: Annotated[
        str | None, typer.Option("--content-type", metavar="TYPE", help="Instead of guessing.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what goes where.")] = False,
    parallel: Threads = THREADS,
    quiet: Quiet = False,
    connection_string: ConnectionString = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Copy files into storage, out of it, or within it.

    A TARGET that ends with / is a folder to put things into, else it is the new name. A source
    folder that ends with / stands for its contents. - is standard input or output.
    """
    from lote.cli.storage.copying import Copying, Request
    from lote.cli.storage.transfers import Wishes
    from lote.world import World

    if len(places) < 2:
        raise fail("cp needs a source and a target", NOT_UNDERSTOOD)
    *sources, target = places
    request = Request(
        sources=sources,
        target=target,
        deep=deep,
        wishes=Wishes(clobber=not no_clobber, update=update, content_type=content_type),
        create=create,
        dry=dry_run,
        threads=parallel,
        quiet=quiet or output is Format.JSON,
    )
    with _accounts(data, connection_string) as accounts:
        copying = Copying(request, accounts, World(), notify)
        try:
            copying.run()
        except KeyboardInterrupt:
            notify(f"interrupted: {copying.summary_line()}")
            raise
        if output is Format.JSON and not dry_run and target != "-":
            print(json.dumps(copying.summary(), indent=2))
        elif not quiet and not dry_run:
            notify(copying.summary_line())
    if copying.tally.problems:
        raise typer.Exit(1)


@storage.command()
def rm(
    names: Annotated[
        list[str], typer.Argument(metavar="az://CONTAINER[/BLOB]...", help="Blobs, patterns.")
    ],
    deep: Annotated[bool, typer.Option("--recursive", "-r", help="Folders, containers.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    parallel: Threads = THREADS,
    quiet: Quiet = False,
    connection_string: ConnectionString = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Remove blobs with their snapshots; with -r also folders and containers.

    On a terminal it asks before more than one blob goes.
    """
    from lote.cli.storage.removing import Removing, description

    with _accounts(data, connection_string) as accounts:
        removing = Removing(names, accounts, notify, deep=deep)
        doomed = removing.find()
        if dry_run:
            for one in doomed:
                print(one.shown)
            return
        is_more = len(doomed) > 1 or any(not one.name for one in doomed)
        if is_more and not yes and sys.stdin.isatty() and not _agreed(description(doomed)):
            raise fail("nothing was removed")
        removing.carry_out(doomed, parallel, quiet=quiet or output is Format.JSON)
        summary = removing.summary()
        if output is Format.JSON:
            print(json.dumps(summary, indent=2))
        elif not quiet:
            notify(f"{summary['removed']} removed, {summary['failed']} failed")
    if removing.tally.problems:
        raise typer.Exit(1)


@storage.command()
def sas(
    name: Annotated[str, typer.Argument(metavar="az://CONTAINER[/BLOB]")],
    permissions: Annotated[
        str, typer.Option("--permissions", "-p", help="Letters: r a c w d l …; default r, or rl.")
    ] = "",
    expiry: Annotated[
        str, typer.Option("--expiry", "-e", metavar="WHEN", help="2h, 7d, or a date (UTC).")
    ] = "1h",
    start: Annotated[
        str, typer.Option("--start", metavar="WHEN", help="Not before; default at once.")
    ] = "",
    ip: Annotated[str, typer.Option("--ip", metavar="ADDRESS", help="Only from there.")] = "",
    https_only: Annotated[bool, typer.Option("--https-only", help="Never over HTTP.")] = False,
    connection_string: ConnectionString = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Print a URL that lets its holder use a container or a blob for a time, and nothing else."""
    from lote.cli.storage.names import parse_remote
    from lote.cli.storage.signing import Wanted, sign
    from lote.world import World

    with _accounts(data, connection_string) as accounts:
        wanted = Wanted(permissions, expiry, start, ip, https_only)
        signed = sign(accounts, parse_remote(name), wanted, World())
        print(json.dumps(signed.members(), indent=2) if output is Format.JSON else signed.url)


def _agreed(what: str) -> bool:
    """Whether the person says yes to it."""
    print(f"Remove {what}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


@contextmanager
def _accounts(data: Path | None, connection_string: str | None) -> Iterator[Accounts]:
    """The accounts of one command. Says in one line why it could not be carried out, and ends it
    with the exit code of that."""
    from lote.blobs.failure import BlobError
    from lote.cli.interrupts import signals_interrupt
    from lote.cli.storage.accounts import Accounts, NoAccount
    from lote.cli.storage.failures import explain
    from lote.cli.storage.look import NothingThere
    from lote.cli.storage.names import BadName
    from lote.cli.storage.signing import BadSignature
    from lote.cli.storage.sources import NoSource
    from lote.cli.storage.spans import BadTime
    from lote.cli.storage.targets import Unclear

    try:
        with signals_interrupt(), closing(Accounts(os.environ, data, connection_string)) as found:
            yield found
    except (BadName, BadTime, BadSignature, Unclear) as error:
        raise fail(str(error), NOT_UNDERSTOOD) from None
    except (NoAccount, NoSource, NothingThere) as error:
        raise fail(str(error)) from None
    except BlobError as error:
        raise fail(f"{error.url}: {explain(error)}") from None
    except BrokenPipeError:
        # The reader of our output has gone, as in `| head`: nothing is left to write at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(BROKEN_PIPE) from None
    except KeyboardInterrupt:
        # A thread may wait for a silent network; the interpreter would wait for it.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)
