"""What a pool's autoscale formula came to, evaluation by evaluation, for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from itertools import islice
from pathlib import Path

import msgspec

from lote.cli.client import BatchClient, BatchError, Json, Unreachable
from lote.cli.ready import NoService, account_of, find_service
from lote.world import World


def line_of(evaluation: Json) -> str:
    """One evaluation: when, the targets, then the variables, or what went wrong."""
    error = evaluation.get("error")
    if error is None:
        told = "  ".join(f"{name}={value}" for name, value in evaluation["variables"].items())
    else:
        places = [value["value"] for value in error.get("values") or ()]
        told = f"{error['code']}: {' '.join(places) or error.get('message', '')}"
    targets = f"{evaluation['targetDedicatedNodes']:>5}  {evaluation['targetLowPriorityNodes']:>5}"
    line = f"{evaluation['timestamp'][:19]}Z  {targets}  {told}"
    return "".join(letter if letter.isprintable() else "?" for letter in line).rstrip()


def print_evaluations(
    pool_id: str,
    last: int,
    environment: Mapping[str, str],
    folder: Path | None,
    notify: Callable[[str], None],
    *,
    as_json: bool,
) -> int:
    """Print the newest evaluations of a pool, the newest last; gives the exit code."""
    try:
        client = BatchClient(account_of(find_service(environment, folder)), World())
        found = list(islice(client.each("list_pool_evaluations", {"pool_id": pool_id}), last))
    except (NoService, BatchError, Unreachable) as error:
        notify(str(error))
        return 1
    found.reverse()
    if as_json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
        return 0
    if not found:
        notify(f"no formula of {pool_id} has been evaluated")
        return 0
    print(f"{'evaluated':<20}  {'dedic.':>5} {'low p.':>6}  variables")
    for evaluation in found:
        print(line_of(evaluation))
    return 0
