"""Changes that wait for their transaction, and what became of them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from lote.storage.database import Tx

T = TypeVar("T")
Change = Callable[[Tx], T]


class Waiting(NamedTuple):
    """A change that waits for its transaction, and the future of its answer."""

    change: Change[Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    frees: bool
    prompt: bool


class Outcome(NamedTuple):
    """What became of a change: its value, or why it failed."""

    waiting: Waiting
    value: Any
    error: Exception | None


def attempt(tx: Tx, waiting: Waiting) -> Outcome:
    """Run a change among others: what it refuses, or breaks, undoes it alone. Raises what may be
    the transaction's (``sqlite3.Error``, ``OSError``)."""
    tx.execute("SAVEPOINT change")
    unlinked = len(tx.unlink)
    value: Any = None
    error: Exception | None = None
    try:
        value = waiting.change(tx)
    except (sqlite3.Error, OSError):
        raise  # the transaction as a whole may be broken, for instance by a full disk
    except Exception as problem:  # refused, or our bug: either way only this change's business
        tx.execute("ROLLBACK TO change")
        del tx.unlink[unlinked:]
        error = problem
    tx.execute("RELEASE change")
    return Outcome(waiting, value, error)


def resolve(outcomes: Sequence[Outcome]) -> None:
    """Tell those who wait, in their loop's thread."""
    for waiting, value, error in outcomes:
        if waiting.future.done():  # its request was cancelled meanwhile
            continue
        if error is None:
            waiting.future.set_result(value)
        else:
            waiting.future.set_exception(error)
