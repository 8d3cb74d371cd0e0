"""Why a task does not run yet, for the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from lote.cli.client import BatchClient, BatchError, Json, Unreachable
from lote.cli.ready import NoService, account_of, find_service
from lote.world import World


def lines_of(waiting: Json) -> list[str]:
    """The reasons as sentences, the weightiest first; the state when nothing is in the way."""
    if not waiting["reasons"]:
        return [f"The task is {waiting['state']}."]
    lines = []
    for reason in waiting["reasons"]:
        named = ", ".join(reason.get("tasks", ()))
        lines.append(f"{reason['text']} ({named})" if named else reason["text"])
    return lines


def print_reasons(
    job_id: str,
    task_id: str,
    environment: Mapping[str, str],
    folder: Path | None,
    notify: Callable[[str], None],
    *,
    as_json: bool,
) -> int:
    """Ask the service and print; gives the exit code."""
    try:
        client = BatchClient(account_of(find_service(environment, folder)), World())
        waiting = client.get("explain_task", {"job_id": job_id, "task_id": task_id})
    except (NoService, BatchError, Unreachable) as error:
        notify(str(error))
        return 1
    if as_json:
        shown = {"state": waiting["state"], "reasons": waiting["reasons"]}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n")
    else:
        print("\n".join(lines_of(waiting)))
    return 0
