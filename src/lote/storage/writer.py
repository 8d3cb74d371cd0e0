"""The one thread that writes: all changes that wait go into one transaction, then one commit.

A change is a function of ``Tx`` and returns what the answer needs, or raises ``Refused``; a
savepoint undoes a refused one alone. Answers are released after the commit. If the transaction
itself fails, each change is tried again in one of its own, so that one bad change (or a full
disk) fails no more than it must. Between groups the thread does chores, a slice at a time.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple, TypeVar

from lote.storage.database import Tx
from lote.storage.reserve import Reserve, is_full
from lote.world import World

GROUP_MAX = 256
FREE_PAGES_MIN = 2048  # of 4 KiB: as much as is kept on the disk
CHORE_EVERY_GROUPS = 64  # chores wait for an idle moment, but not for ever

Word = Literal["tidy", "close"]
T = TypeVar("T")
Change = Callable[[Tx], T]
Chore = Callable[[Tx], bool]
log = logging.getLogger(__name__)


class Waiting(NamedTuple):
    """A change that waits for its transaction, and the future of its answer."""

    change: Change[Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    frees: bool


class Outcome(NamedTuple):
    """What became of a change: its value, or why it failed."""

    waiting: Waiting
    value: Any
    error: Exception | None


class Writer:
    """Runs changes in groups. ``chore(tx)`` tidies one slice and says whether more is left.

    ``unlink`` removes content files after the commit that dropped their rows.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        world: World,
        chore: Chore,
        unlink: Callable[[Sequence[str]], None],
        reserve: Reserve,
    ) -> None:
        self._connection = connection
        self._world = world
        self._chore = chore
        self._unlink = unlink
        self._reserve = reserve
        self._queue: queue.SimpleQueue[Waiting | Word] = queue.SimpleQueue()
        self._has_chores = True  # what a crash left behind
        self._thread = threading.Thread(target=self._run, name="storage-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish what waits, then end the thread and close the database."""
        self._queue.put("close")
        self._thread.join()
        self._connection.close()

    async def apply(self, change: Change[T], *, frees: bool = False) -> T:
        """Run a change; returns after its commit. Raises what the change refused.

        One that ``frees`` room on the disk may have that which is kept for such."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._queue.put(Waiting(change, future, loop, frees))
        return await future

    def tidy(self) -> None:
        """Say that there are chores."""
        self._queue.put("tidy")

    def _run(self) -> None:
        groups = 0
        open_ = True
        while open_:
            if self._has_chores and (self._queue.empty() or groups % CHORE_EVERY_GROUPS == 0):
                self._run_chore()
                groups += 1
                continue
            group, open_ = self._take()
            groups += 1
            if group:
                self._release(self._commit(group))

    def _take(self) -> tuple[list[Waiting], bool]:
        """What waits, at least one thing; False when the end was asked for."""
        items = [self._queue.get()]
        while len(items) < GROUP_MAX and not self._queue.empty():
            items.append(self._queue.get())
        self._has_chores = self._has_chores or "tidy" in items
        return [one for one in items if isinstance(one, Waiting)], "close" not in items

    def _commit(self, group: Sequence[Waiting]) -> list[Outcome]:
        try:
            return self._transact(group)
        except (sqlite3.Error, OSError) as error:
            if len(group) > 1:
                return [outcome for one in group for outcome in self._commit([one])]
            if group[0].frees and is_full(error) and self._reserve.give_up():
                return self._commit(group)
            log.error("a change could not be written: %s", error)
            return [Outcome(group[0], None, error)]

    def _transact(self, group: Sequence[Waiting]) -> list[Outcome]:
        if not all(waiting.frees for waiting in group):
            self._demand_room()
        with Transaction(self._connection, self._world.now_us()) as tx:
            outcomes = [_attempt(tx, waiting) for waiting in group]
        self._after(tx)
        return outcomes

    def _demand_room(self) -> None:
        """Refuses (``OSError``): what would take the room that is left to deletes."""
        if self._reserve.fill():
            return
        pages = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
        if pages < FREE_PAGES_MIN:  # that deletes have left in the database's own file
            self._reserve.demand()

    def _run_chore(self) -> None:
        self._has_chores = False
        try:
            with Transaction(self._connection, self._world.now_us()) as tx:
                more = self._chore(tx)
        except sqlite3.Error as error:  # most likely a full disk: tidied at the next occasion
            self._has_chores = is_full(error) and self._reserve.give_up()
            log.error("tidying failed: %s", error)
            return
        except Exception:  # our bug, which must not end this thread: changes wait for it
            log.exception("tidying failed")
            return
        self._after(tx)
        self._has_chores = more

    def _after(self, tx: Tx) -> None:
        self._has_chores = self._has_chores or tx.unused
        if tx.unlink:
            self._unlink(tx.unlink)

    def _release(self, outcomes: Sequence[Outcome]) -> None:
        loop = outcomes[0].waiting.loop
        if not loop.is_closed():
            loop.call_soon_threadsafe(_resolve, outcomes)


class UnsureCommit(sqlite3.OperationalError):
    """A commit failed, perhaps with its end in the log already: should the process die before the
    next commit, the next start may take it for done. So what it names must not be removed."""


class Transaction:
    """``with Transaction(…) as tx``: committed at the end, rolled back by an exception."""

    def __init__(self, connection: sqlite3.Connection, now_us: int) -> None:
        self._connection = connection
        self._tx = Tx(connection, now_us)

    def __enter__(self) -> Tx:
        self._connection.execute("BEGIN IMMEDIATE")
        return self._tx

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._tx.finish()
                self._commit()
        finally:
            if self._connection.in_transaction:  # SQLite itself may have rolled back
                self._connection.execute("ROLLBACK")

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if is_full(error):  # the log has no end of this transaction
                raise
            raise UnsureCommit(str(error)) from error


def _attempt(tx: Tx, waiting: Waiting) -> Outcome:
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


def _resolve(outcomes: Sequence[Outcome]) -> None:
    for waiting, value, error in outcomes:
        if waiting.future.done():  # its request was cancelled meanwhile
            continue
        if error is None:
            waiting.future.set_result(value)
        else:
            waiting.future.set_exception(error)
