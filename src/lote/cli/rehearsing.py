"""The commands `lote rehearse …`: have the service fail as the provider's does.

Exit codes: 0 it is done, 1 the service refused or was not found.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lote.cli.app import Data, Format, Output, fail

if TYPE_CHECKING:
    from lote.cli.client import BatchClient

PATH = "/rehearsals"

rehearse = typer.Typer(
    no_args_is_help=True,
    help="Have the service fail on purpose, for a time: preempted nodes, quotas, busy servers.",
)


class Quota(StrEnum):
    """What there can be too much of."""

    POOLS = "pools"
    JOBS = "jobs"
    CORES = "cores"
    LOW_PRIORITY_CORES = "low-priority-cores"


class ResizeError(StrEnum):
    """How a resize can end."""

    TIMEOUT = "AllocationTimedout"
    FAILED = "AllocationFailed"


Pool = Annotated[str, typer.Argument(metavar="POOL", help="Id of the pool.")]
AnyPool = Annotated[
    str | None, typer.Argument(metavar="[POOL]", help="Id of the pool, of one to come too.")
]
Nodes = Annotated[
    int | None, typer.Option("--nodes", min=1, help="How many nodes; those that run tasks first.")
]
Node = Annotated[str | None, typer.Option("--node", metavar="ID", help="This node.")]
For = Annotated[
    float | None, typer.Option("--for", metavar="SECONDS", help="How long; a day at most.")
]
Times = Annotated[int | None, typer.Option("--times", min=1, help="How often at most.")]


@rehearse.command()
def preempt(
    pool: Pool,
    nodes: Nodes = None,
    node: Node = None,
    for_s: For = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Take low-priority nodes away; they come back empty after 60 seconds."""
    _begin(data, output, kind="preempt", poolId=pool, nodes=nodes, nodeId=node, forS=for_s)


@rehearse.command()
def unusable(
    pool: Pool,
    nodes: Nodes = None,
    node: Node = None,
    reason: Annotated[
        str | None,
        typer.Option(
            "--reason",
            metavar="CODE",
            help="Code of the node's error: DiskFull, ApplicationPackageError, "
            "ContainerInvalidImage, MountConfigurationError, any other; none: no error is shown.",
        ),
    ] = None,
    for_s: For = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Make nodes unusable: they take no tasks. They recover after 60 seconds."""
    _begin(
        data,
        output,
        kind="unusable",
        poolId=pool,
        nodes=nodes,
        nodeId=node,
        errorCode=reason,
        forS=for_s,
    )


@rehearse.command()
def lost(
    pool: Pool,
    nodes: Nodes = None,
    node: Node = None,
    for_s: For = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Break the contact with nodes: they are unknown for 30 seconds, and work on meanwhile.

    Longer than the service's node grace, and they are lost for good.
    """
    _begin(data, output, kind="lost", poolId=pool, nodes=nodes, nodeId=node, forS=for_s)


@rehearse.command("start-task")
def start_task(
    pool: AnyPool = None,
    exit_code: Annotated[
        int, typer.Option("--exit-code", min=1, max=255, help="What they end with.")
    ] = 1,
    times: Times = None,
    for_s: For = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Have the start task fail on the next node that boots, or on so many."""
    _begin(
        data, output, kind="start-task", poolId=pool, exitCode=exit_code, times=times, forS=for_s
    )


@rehearse.command()
def quota(
    of: Annotated[Quota, typer.Argument(metavar="WHAT", help="pools, jobs, cores or so.")],
    times: Times = None,
    for_s: For = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Let the account have no more pools, jobs or cores (pools, jobs, cores, low-priority-cores).

    For 10 minutes, or until it was refused so often.
    """
    _begin(data, output, kind="quota", quota=str(of), times=times, forS=for_s)


@rehearse.command()
def throttle(
    status: Annotated[int, typer.Option("--status", help="503 or 429.")] = 503,
    retry_after_s: Annotated[
        int | None, typer.Option("--retry-after", metavar="SECONDS", help="What clients are told.")
    ] = None,
    times: Times = None,
    for_s: For = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Turn requests away as a busy service does: all of 60 seconds, or so many."""
    _begin(
        data,
        output,
        kind="throttle",
        status=status,
        retryAfterS=retry_after_s,
        times=times,
        forS=for_s,
    )


@rehearse.command()
def resize(
    pool: AnyPool = None,
    error: Annotated[ResizeError, typer.Option("--error", help="How it ends.")] = (
        ResizeError.TIMEOUT
    ),
    after_s: Annotated[
        float | None,
        typer.Option("--after", metavar="SECONDS", min=0, help="How long it goes on first."),
    ] = None,
    times: Times = None,
    for_s: For = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """Have the next resize that needs nodes get none, and fail."""
    _begin(
        data,
        output,
        kind="resize",
        poolId=pool,
        errorCode=str(error),
        afterS=after_s,
        times=times,
        forS=for_s,
    )


@rehearse.command("list")
def list_all(data: Data = None, output: Output = Format.TABLE) -> None:
    """List rehearsals, the newest first, those that are over too."""
    with _client(data) as client:
        shown = client.ask("GET", PATH, 200)["value"]
    if output is Format.JSON:
        print(json.dumps(shown, indent=2))
    else:
        _print_table(shown)


@rehearse.command()
def stop(
    number: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Which one; without it, all.")
    ] = None,
    data: Data = None,
    output: Output = Format.TABLE,
) -> None:
    """End a rehearsal before its time, or all of them; what they hold comes back."""
    with _client(data) as client:
        if number is None:
            listed = client.ask("GET", PATH, 200)["value"]
            ids = [one["id"] for one in listed if one["state"] == "active"]
        else:
            ids = [number]
        ended = [client.ask("DELETE", f"{PATH}/{one}", 200) for one in ids]
    if output is Format.JSON:
        print(json.dumps(ended, indent=2))
        return
    for one in ended:
        print(f"{one['id']}: {one['what']}, {_how(one)}")


def _begin(data: Path | None, output: Format, **members: Any) -> None:  # noqa: ANN401
    body = {name: value for name, value in members.items() if value is not None}
    with _client(data) as client:
        made = client.ask("POST", PATH, 201, body)
    if output is Format.JSON:
        print(json.dumps(made, indent=2))
    else:
        print(f"{made['id']}: {made['what']}, {_how(made)}")


@contextmanager
def _client(data: Path | None) -> Iterator[BatchClient]:
    """A client of the service that is meant; what goes wrong is said in words."""
    from lote.cli.client import BatchClient, BatchError, Unreachable
    from lote.cli.ready import NoService, account_of, find_service
    from lote.world import World

    try:
        account = account_of(find_service(os.environ, data))
        with closing(BatchClient(account, World())) as client:
            yield client
    except (BatchError, NoService, Unreachable) as error:
        raise fail(str(error)) from None


def _how(one: dict[str, Any]) -> str:
    """How long it lasts, or why it is over."""
    if one["state"] == "ended":
        return f"over ({one['endedBy']})"
    clock = one["endTime"][11:19]
    left = one.get("timesLeft")
    if left is None:
        return f"until {clock} UTC"
    return f"{'once' if left == 1 else f'{left} times'}, until {clock} UTC at most"


def _print_table(shown: list[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("id", "state", "what", "how long", "acted"):
        table.add_column(name, overflow="fold")
    for one in shown:
        acted = str(one["timesActed"])
        table.add_row(one["id"], one["state"], one["what"], _how(one), acted)
    Console().print(table)
