"""The one who writes: all changes that wait go into one transaction, then one commit.

A change is a function of ``Tx`` and returns what the answer needs, or raises ``Refused``; a
savepoint undoes a refused one alone. Answers are released after the commit. If the transaction
itself fails, each change is tried again in one of its own, so that one bad change (or a full
disk) fails no more than it must.

A thread does it, and chores between groups, a slice at a time. A change or two that come alone are
committed in the event loop's own thread, as long as the disk is quick: to wake another thread and
be woken by it costs more processor time than is won by what the loop might do meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, TypeVar

from lote.storage.database import Etags, NotPrompt, Transaction, Tx
from lote.storage.reserve import Reserve, is_full
from lote.storage.waiting import Change, Outcome, Waiting, attempt, resolve
from lote.world import World

GROUP_MAX = 256
PROMPT_MAX = 2  # more at once: requests enough to be read while a thread waits for the disk
ALONE_S = 0.0002  # after the last: what comes sooner is of many, and waits for others
BUSY_S = 0.02  # some turns of both, in which more may come
PROMPT_S = 0.004  # a commit takes 0.3 ms, of which the disk has the half
CAREFUL_TIMES = 200  # so many times what it took longer, the thread commits
LOG_PAGES_MAX = 1000  # as SQLite itself has it
CHANGE_PAGES = 6  # of the log, besides those that ``Tx`` counts: rows, indexes, the file's head
FREE_PAGES_MIN = 2048  # of 4 KiB: as much as is kept on the disk
CHORE_EVERY_GROUPS = 64  # chores wait for an idle moment, but not for ever

Word = Literal["tidy", "look", "close"]  # look: there is something to do, as it knows
T = TypeVar("T")
Chore = Callable[[Tx], bool]
log = logging.getLogger(__name__)


class Writer:
    """Runs changes in groups. ``chore(tx)`` tidies one slice and says whether more is left.

    ``unlink`` removes content files after the commit that dropped their rows; ``run`` does such
    work in a thread.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        world: World,
        chore: Chore,
        unlink: Callable[[Sequence[str]], None],
        run: Callable[[Callable[[], None]], asyncio.Future[None]],
        reserve: Reserve,
    ) -> None:
        self._connection = connection
        self._world = world
        self._chore = chore
        self._unlink = unlink
        self._run_in_thread = run
        self._reserve = reserve
        self._etags = Etags(connection)
        connection.execute("PRAGMA wal_autocheckpoint = 0")  # that is the thread's, see below
        self._lock = threading.Lock()  # of the connection and of what follows
        self._doomed: list[str] = []  # content files to be unlinked
        self._log_pages = 0  # about, since the log was last written back
        self._has_chores = True  # what a crash left behind
        self._queue: queue.SimpleQueue[Waiting | Word] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="storage-writer", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fresh: list[Waiting] = []  # of this turn of the loop
        self._given = self._done = 0  # changes, to the thread and by it
        self._ended_s = 0.0
        self._careful_until_s = 0.0

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Finish what waits, then end the thread and close the database."""
        self._queue.put("close")
        self._thread.join()
        self._connection.close()

    async def apply(self, change: Change[T], *, frees: bool = False, prompt: bool = False) -> T:
        """Run a change; returns after its commit. Raises what the change refused.

        One that ``frees`` room on the disk may have that which is kept for such. One that is
        ``prompt`` is of a few rows, however large the blob, or raises ``NotPrompt``; then it is
        run again where it may take its time."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # one after another, as in tests
            self._loop, self._fresh = loop, []
        future: asyncio.Future[T] = loop.create_future()
        self._fresh.append(Waiting(change, future, loop, frees, prompt))
        if len(self._fresh) == 1:
            if self._world.monotonic() - self._ended_s > ALONE_S:
                self._begin()
            else:  # others may come in this turn of the loop
                loop.call_soon(self._begin)
        return await future

    def tidy(self) -> None:
        """Say that there are chores."""
        self._queue.put("tidy")

    # -- in the loop's thread -----------------------------------------------------------------

    def _begin(self) -> None:
        """Commit what this turn of the loop brought, or leave it to the thread."""
        group, self._fresh = self._fresh, []
        if not group:  # they were of a loop that has ended
            return
        begun_s = self._ended_s = self._world.monotonic()
        is_prompt = (
            len(group) <= PROMPT_MAX
            and begun_s >= self._careful_until_s
            and all(waiting.prompt for waiting in group)
            and self._given == self._done  # none that came before is overtaken
        )
        if not is_prompt or not self._lock.acquire(blocking=False):
            self._give(group)
            if self._queue.qsize() > PROMPT_MAX:  # they are worth a thread, and so are the next
                self._careful_until_s = max(self._careful_until_s, begun_s + BUSY_S)
            return
        try:
            outcomes = self._commit(group, is_prompt=True)
            doomed = self._take_doomed()
            if self._has_chores or self._log_pages >= LOG_PAGES_MAX:
                self._queue.put("look")
        finally:
            self._lock.release()
        self._ended_s = self._world.monotonic()
        spent_s = self._ended_s - begun_s
        if spent_s > PROMPT_S:
            self._careful_until_s = self._ended_s + spent_s * CAREFUL_TIMES
        self._settle(outcomes, doomed)

    def _settle(self, outcomes: Sequence[Outcome], doomed: Sequence[str]) -> None:
        self._give([one.waiting for one in outcomes if isinstance(one.error, NotPrompt)])
        done = [one for one in outcomes if not isinstance(one.error, NotPrompt)]
        if doomed:
            unlinking = self._run_in_thread(partial(self._unlink, doomed))
            unlinking.add_done_callback(lambda _: resolve(done))
        else:
            resolve(done)

    def _give(self, group: Sequence[Waiting]) -> None:
        self._given += len(group)
        for waiting in group:
            self._queue.put(waiting)

    # -- in the thread ------------------------------------------------------------------------

    def _run(self) -> None:
        groups = 0
        open_ = True
        while open_:
            if self._has_chores and (self._queue.empty() or groups % CHORE_EVERY_GROUPS == 0):
                with self._lock:
                    self._run_chore()
                    doomed = self._take_doomed()
                self._unlink(doomed)
                groups += 1
                continue
            group, open_ = self._take()
            groups += 1
            with self._lock:
                outcomes = self._commit(group) if group else []
                doomed = self._take_doomed()
                self._done += len(group)
                if self._log_pages >= LOG_PAGES_MAX:
                    self._write_back()
            self._unlink(doomed)
            if outcomes:
                self._release(outcomes)

    def _take(self) -> tuple[list[Waiting], bool]:
        """What waits, at least one thing; False when the end was asked for."""
        items = [self._queue.get()]
        while len(items) < GROUP_MAX and not self._queue.empty():
            items.append(self._queue.get())
        if "tidy" in items:
            self._has_chores = True
        return [one for one in items if isinstance(one, Waiting)], "close" not in items

    def _run_chore(self) -> None:
        self._has_chores = False
        try:
            with Transaction(self._connection, self._world.now_us(), self._etags) as tx:
                more = self._chore(tx)
        except sqlite3.Error as error:  # most likely a full disk: tidied at the next occasion
            self._has_chores = is_full(error) and self._reserve.give_up()
            log.error("tidying failed: %s", error)
            return
        except Exception:  # our bug, which must not end this thread: changes wait for it
            log.exception("tidying failed")
            return
        self._after(tx, 1)
        self._has_chores = more

    def _write_back(self) -> None:
        """Copy the log into the database's own file, as far as readers allow. SQLite would do it
        in the commit after them, at once and however much it has become, for instance when a
        backup has ended: that would be the loop's."""
        self._log_pages = 0
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            log.error("the log could not be written back: %s", error)

    def _release(self, outcomes: Sequence[Outcome]) -> None:
        loop = outcomes[0].waiting.loop
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve, outcomes)

    # -- with the lock ------------------------------------------------------------------------

    def _commit(self, group: Sequence[Waiting], *, is_prompt: bool = False) -> list[Outcome]:
        try:
            return self._transact(group, is_prompt)
        except (sqlite3.Error, OSError) as error:
            if len(group) > 1:
                return [
                    outcome for one in group for outcome in self._commit([one], is_prompt=is_prompt)
                ]
            if group[0].frees and is_full(error) and self._reserve.give_up():
                return self._commit(group, is_prompt=is_prompt)
            log.error("a change could not be written: %s", error)
            return [Outcome(group[0], None, error)]
        except Exception as bug:  # ours, which must not keep anybody waiting
            log.exception("changes could not be written")
            return [Outcome(waiting, None, bug) for waiting in group]

    def _transact(self, group: Sequence[Waiting], is_prompt: bool) -> list[Outcome]:
        if not all(waiting.frees for waiting in group):
            self._demand_room()
        transaction = Transaction(
            self._connection, self._world.now_us(), self._etags, is_prompt=is_prompt
        )
        if len(group) > 1:
            with transaction as tx:
                outcomes = [attempt(tx, waiting) for waiting in group]
        else:
            try:
                with transaction as tx:
                    outcomes = [Outcome(group[0], group[0].change(tx), None)]
            except (sqlite3.Error, OSError):
                raise
            except Exception as problem:  # as in a group; all that was done is undone
                return [Outcome(group[0], None, problem)]
        self._after(tx, len(group))
        return outcomes

    def _demand_room(self) -> None:
        """Refuses (``OSError``): what would take the room that is left to deletes."""
        if self._reserve.fill():
            return
        pages = self._connection.execute("PRAGMA freelist_count").fetchone()[0]
        if pages < FREE_PAGES_MIN:  # that deletes have left in the database's own file
            self._reserve.demand()

    def _take_doomed(self) -> list[str]:
        doomed, self._doomed = self._doomed, []
        return doomed

    def _after(self, tx: Tx, changes: int) -> None:
        self._has_chores = self._has_chores or tx.unused
        self._log_pages += tx.pages + changes * CHANGE_PAGES
        self._doomed += tx.unlink
