"""The owner thread: the one place where the account's state changes.

It takes whatever waits, runs all of it in one transaction, commits, and only then releases the
answers and the frames to agents. Batches grow by themselves when commits are slow.

Rule for everything that runs here: *refuse first, then change*. A ``Refused`` therefore undoes
nothing. Any other exception is our bug or the database's: the whole transaction is rolled back,
memory is made anew from the database, the operation at fault is answered with an error, and the
others are run again.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import queue
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from lote.server.gathered import Gathered
from lote.server.memory import Link, Memory, first_due, pop_due, pop_grace
from lote.settings import Settings
from lote.store.database import Connection, DatabaseError, open_writer
from lote.store.jobs import save_job_counts
from lote.wire.errors import Refused
from lote.wire.frames import ServerFrame
from lote.world import World

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger("lote.owner")

POSTPONE_S = 0.5  # how long an agent's report waits after a commit that failed
CHECK_S = 1.0  # the owner looks at the clock at least this often, because clocks jump


class Tx:
    """One transaction of the owner: the database, the memory, and what to do after the commit."""

    __slots__ = ("_db", "after", "gathered", "memory", "messages", "now_us", "settings", "world")

    def __init__(self, db: Connection, memory: Memory, settings: Settings, world: World) -> None:
        self._db = db
        self.gathered = Gathered()
        self.memory = memory
        self.settings = settings
        self.world = world
        self.now_us = world.now_us()
        self.messages: dict[int, list[ServerFrame]] = {}
        self.after: list[Callable[[], None]] = []

    @property
    def db(self) -> Connection:
        """The database as it is with all that was gathered so far."""
        if not self.gathered.is_empty:
            self.gathered.write(self._db)
        return self._db

    def send(self, node_key: int, frame: ServerFrame) -> None:
        """Send a frame to a node after the commit; a node that is not connected gets nothing."""
        self.messages.setdefault(node_key, []).append(frame)


class _Ask(msgspec.Struct):
    run: Callable[[Tx], Any]
    future: asyncio.Future[Any] | concurrent.futures.Future[Any] | None = None
    is_bulk: bool = False
    result: Any = None
    error: BaseException | None = None


class _Broken(Exception):
    def __init__(self, ask: _Ask | None, cause: BaseException) -> None:
        super().__init__(str(cause))
        self.ask = ask
        self.cause = cause


class Owner:
    """The thread. ``settle`` runs at the end of each transaction, ``load`` makes the memory."""

    def __init__(
        self,
        settings: Settings,
        world: World,
        database_path: Path,
        *,
        load: Callable[[Tx], None],
        settle: Callable[[Tx], None],
        alarm: Callable[[Tx, list[tuple[str, int]], list[int]], None],
    ) -> None:
        self.memory = Memory()
        self._settings = settings
        self._world = world
        self._db = open_writer(database_path)
        self._load, self._settle, self._alarm = load, settle, alarm
        self._queue: queue.SimpleQueue[_Ask | None] = queue.SimpleQueue()
        self._bulk: queue.SimpleQueue[_Ask] = queue.SimpleQueue()
        """Large operations: they take their turn where the small ones leave room, so that a flood
        of them holds up nobody else for longer than a transaction."""
        self._postponed: list[_Ask] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="owner", daemon=True)
        self._stopping = False
        self._is_stale = False
        """The memory could not be made anew after a failure; nothing may run on what it is."""
        self.last_error: str | None = None
        self.commits = 0
        """Transactions that were committed; it grows before anybody is told of one."""

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Load the memory and begin. Answers are released on ``loop``."""
        self._loop = loop
        self.load()
        self._thread.start()
        self.poke()

    def load(self) -> None:
        """Make the memory from the database."""
        self._load(Tx(self._db, self.memory, self._settings, self._world))

    def drain(self) -> None:
        """Run whatever waits, in the calling thread: for an owner whose thread was not started
        (rehearsals on a stepped clock, tests)."""
        asks, self._postponed = self._postponed, []
        while asks or self._has_waiting() or self._is_touched():
            self._take_waiting(asks)
            self._turn(asks)
            asks = []

    def call(
        self, function: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run this in the next transaction and wait for it; not from the owner thread or an event
        loop. Refuses whatever the function refuses."""
        done: concurrent.futures.Future[R] = concurrent.futures.Future()
        ask = _Ask(lambda tx: function(tx, *args, **kwargs), done)
        if self._thread.is_alive():
            self._queue.put(ask)
        else:
            self._turn([ask])
        return done.result()

    def stop(self) -> None:
        """Finish what waits, as far as the database takes it, then end."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join(timeout=30)
        self._db.close()

    def poke(self) -> None:
        """Look at the clock and at what is touched."""
        self._queue.put(None)

    def tell(
        self, function: Callable[Concatenate[Tx, P], object], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Run this in the next transaction; nobody waits for it, but it is not lost: it is tried
        again for as long as the database refuses to commit. From any thread."""
        self._queue.put(_Ask(lambda tx: function(tx, *args, **kwargs)))

    async def ask(
        self, function: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Run this in the next transaction and return its result once that is committed.

        Refuses: ServerBusy when too many wait or the database can't commit.
        """
        self._check_room(self._queue)
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.put(_Ask(lambda tx: function(tx, *args, **kwargs), future))
        return await future

    async def ask_much(
        self, function: Callable[Concatenate[Tx, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """As ``ask``, for what takes milliseconds: it waits its turn behind what is quick."""
        self._check_room(self._bulk)
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._bulk.put(_Ask(lambda tx: function(tx, *args, **kwargs), future, is_bulk=True))
        if self._bulk.qsize() == 1:  # with more there, the thread is awake
            self.poke()
        return await future

    def _check_room(self, waiting: queue.SimpleQueue[Any]) -> None:
        if waiting.qsize() > self._settings.owner_queue_max:
            raise Refused("ServerBusy", headers={"Retry-After": "1"})

    def _is_touched(self) -> bool:
        return bool(self.memory.touched_jobs or self.memory.touched_schedules)

    def _has_waiting(self) -> bool:
        return not (self._queue.empty() and self._bulk.empty())

    # -- the thread -------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            asks = self._take()
            if self._stopping and not asks and not self._has_waiting():
                return
            try:
                self._turn(asks)
            except Exception:
                log.exception("owner_turn_failed")
            if self._stopping and self._postponed and not self._has_waiting():
                # Had its last try. Agents keep what they could not tell, nodes are looked at anew.
                log.error("left_unrecorded", extra={"count": len(self._postponed)})
                return

    def _take(self) -> list[_Ask]:
        asks: list[_Ask] = []
        if self._postponed:
            asks, self._postponed = self._postponed, []
            timeout = POSTPONE_S
        else:
            timeout = self._idle_s()
        try:
            first = self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait()
            if first is not None:
                asks.append(first)
        except queue.Empty:
            pass
        return asks

    def _idle_s(self) -> float:
        memory = self.memory
        if self._stopping:
            return 0.0  # the word to look may have been taken with the group before
        if self._is_touched() or not self._bulk.empty():
            return 0.0
        idle_s = CHECK_S
        due = first_due(memory)
        if due is not None:
            idle_s = min(idle_s, (due - self._world.now_us()) / 1_000_000)
        if memory.grace_timers:
            idle_s = min(idle_s, memory.grace_timers[0][0] - self._world.monotonic())
        return max(idle_s, 0.0)

    def _turn(self, asks: list[_Ask]) -> None:
        """Run these and whatever else waits in one transaction; again without what broke it."""
        if self._is_stale and not self._reload():
            self._take_waiting(asks)
            while not self._bulk.empty():
                asks.append(self._bulk.get_nowait())
            self._fail(asks)
            return
        done: list[_Ask] = []
        more = True
        while True:
            tx = Tx(self._db, self.memory, self._settings, self._world)
            try:
                self._transact(tx, asks, more)
                break
            except _Broken as broken:
                self._recover(broken.cause)
                is_databases = isinstance(broken.cause, DatabaseError)
                if broken.ask is None or is_databases or self._is_stale:
                    self._fail(asks)
                    asks = []
                    tx = Tx(self._db, self.memory, self._settings, self._world)
                    break
                log.error("operation_broken", exc_info=broken.cause)
                broken.ask.error = broken.cause
                done.append(broken.ask)
                asks.remove(broken.ask)
                more = False
        self._release(tx, asks + done)

    def _transact(self, tx: Tx, asks: list[_Ask], more: bool) -> None:
        ask: _Ask | None = None
        try:
            tx.db.execute("BEGIN IMMEDIATE")
            ends_at = self._world.monotonic() + self._settings.group_s
            index = 0
            has_bulk = any(one.is_bulk for one in asks)
            while True:
                while index < len(asks):
                    ask = asks[index]
                    index += 1
                    try:
                        ask.result = ask.run(tx)
                        ask.error = None
                    except Refused as refused:
                        ask.error = refused
                ask = None
                if not more or not self._take_more(asks, ends_at, has_bulk):
                    break
                has_bulk = has_bulk or asks[-1].is_bulk
            due = pop_due(self.memory, tx.now_us)
            lost = pop_grace(self.memory, self._world.monotonic())
            if due or lost:
                self._alarm(tx, due, lost)
            self._settle(tx)
            memory = self.memory
            if memory.dirty_counts:
                jobs = memory.jobs
                save_job_counts(
                    tx.db, [(key, jobs[key].counts) for key in memory.dirty_counts if key in jobs]
                )
                memory.dirty_counts.clear()
            tx.db.execute("COMMIT")
            self.commits += 1
        except Exception as error:
            raise _Broken(ask, error) from error

    def _take_more(self, asks: list[_Ask], ends_at: float, has_bulk: bool) -> bool:
        """All that is quick, else one large operation; each transaction takes one of those."""
        has_time = self._world.monotonic() <= ends_at
        if has_time and self._take_waiting(asks):
            return True
        if (not has_time and has_bulk) or self._bulk.empty():
            return False
        self._take_waiting(asks)
        asks.append(self._bulk.get_nowait())  # no other thread takes
        return True

    def _take_waiting(self, asks: list[_Ask]) -> bool:
        found = False
        for _ in range(self._queue.qsize()):
            try:
                waiting = self._queue.get_nowait()
            except queue.Empty:
                break
            if waiting is not None:
                asks.append(waiting)
                found = True
        return found

    def _recover(self, cause: BaseException) -> None:
        """The transaction failed: undo it and make the memory anew."""
        self.last_error = f"{type(cause).__name__}: {cause}"
        log.error("transaction_failed", extra={"cause": self.last_error})
        self._reload()

    def _reload(self) -> bool:
        """Make the memory anew; false when not even that can be done now, so that it is stale."""
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.memory.clear()
            self.load()
        except Exception:
            log.exception("memory_not_loaded")
            self._is_stale = True
            return False
        self._is_stale = False
        return True

    def _fail(self, asks: list[_Ask]) -> None:
        """Nothing could be committed: clients are told, agents' reports are kept for later."""
        busy = Refused(
            "ServerBusy",
            "The service cannot record changes at this moment. Please try again.",
            headers={"Retry-After": "2"},
        )
        for ask in asks:
            if ask.future is None:
                self._postponed.append(ask)
            else:
                ask.error = busy
        self._release(None, [ask for ask in asks if ask.future is not None])

    def _release(self, tx: Tx | None, asks: list[_Ask]) -> None:
        if tx is not None:
            links = self.memory.links
            calls: list[Callable[[], None]] = [
                partial(links[key].deliver, frames)
                for key, frames in tx.messages.items()
                if key in links
            ]
            for call in calls + tx.after:
                try:
                    call()
                except Exception:  # what is committed is committed: the others must be told
                    log.exception("after_commit_failed")
        waiting: list[_Ask] = []
        for ask in asks:
            if isinstance(ask.future, asyncio.Future):
                waiting.append(ask)
            elif ask.future is not None:
                _resolve([ask])
        if waiting and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(_resolve, waiting)


def _resolve(asks: list[_Ask]) -> None:
    for ask in asks:
        future = ask.future
        if future is None or future.done():
            continue
        if ask.error is not None:
            future.set_exception(ask.error)
        else:
            future.set_result(ask.result)


def forget_link(memory: Memory, node_key: int, link: Link) -> None:
    """The link broke; another one may have taken its place already."""
    if memory.links.get(node_key) is link:
        del memory.links[node_key]
