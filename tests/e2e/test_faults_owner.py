"""The owner thread when its database fails it: everybody gets an answer, nothing runs on a memory
that is not the record's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lote.server.owner import Owner, Tx
from lote.settings import Settings
from lote.store.database import Connection, DatabaseError
from lote.wire.errors import Refused
from lote.world import World


class Moody:
    """A way to load the memory that fails when told to."""

    def __init__(self) -> None:
        self.failures = 0
        self.loads = 0

    def load(self, tx: Tx) -> None:
        if self.failures:
            self.failures -= 1
            raise DatabaseError("disk I/O error")
        self.loads += 1
        row = tx.db.execute("SELECT value FROM fact WHERE name = 'n'").fetchone()
        tx.memory.next_task_key = row[0] if row else 0


@pytest.fixture
def moody() -> Moody:
    return Moody()


def make_owner(folder: Path, load: Callable[[Tx], None]) -> Owner:
    """An owner of nothing but one number."""
    return Owner(
        Settings(folder=folder),
        World(),
        folder / "account.db",
        load=load,
        settle=lambda tx: None,
        alarm=lambda tx, due, lost: None,
    )


@pytest.fixture
def owner(tmp_path: Path, moody: Moody) -> Iterator[Owner]:
    owner = make_owner(tmp_path, moody.load)
    owner.load()
    yield owner
    owner._db.close()


def add(tx: Tx, amount: int) -> int:
    tx.memory.next_task_key += amount
    value = tx.memory.next_task_key
    tx.db.execute("INSERT OR REPLACE INTO fact VALUES ('n', ?)", (value,))
    return value


def break_commit(tx: Tx) -> None:
    add(tx, 1000)
    raise DatabaseError("database or disk is full")


def fact(db: Connection) -> int:
    return int(db.execute("SELECT value FROM fact WHERE name = 'n'").fetchone()[0])


def test_a_failed_transaction_leaves_record_and_memory_alone(owner: Owner) -> None:
    assert owner.call(add, 1) == 1
    with pytest.raises(Refused) as refused:
        owner.call(break_commit)
    assert (refused.value.code, refused.value.status) == ("ServerBusy", 503)
    assert refused.value.headers["Retry-After"]
    assert owner.call(add, 1) == 2
    assert fact(owner._db) == 2


def test_a_memory_that_cannot_be_made_anew_is_not_used(owner: Owner, moody: Moody) -> None:
    assert owner.call(add, 1) == 1
    moody.failures = 3
    for function in (break_commit, lambda tx: add(tx, 1), lambda tx: add(tx, 1)):
        with pytest.raises(Refused) as refused:
            owner.call(function)
        assert refused.value.code == "ServerBusy"
    assert moody.failures == 0
    assert owner.call(add, 1) == 2
    assert fact(owner._db) == 2
    assert owner.memory.next_task_key == 2


def test_what_nobody_waits_for_is_done_once_it_can_be(owner: Owner, moody: Moody) -> None:
    moody.failures = 2
    with pytest.raises(Refused):
        owner.call(break_commit)
    owner.tell(add, 5)
    with pytest.raises(Refused):
        owner.call(add, 1)
    owner.drain()
    assert fact(owner._db) == 5


def test_one_that_is_broken_does_not_harm_the_others(owner: Owner) -> None:
    def broken(tx: Tx) -> None:
        add(tx, 1000)
        raise KeyError("a bug")

    owner.tell(add, 1)
    owner.tell(broken)
    owner.tell(add, 1)
    owner.drain()
    assert fact(owner._db) == 2
    with pytest.raises(KeyError):
        owner.call(broken)
    assert owner.call(add, 1) == 3


def test_a_call_after_the_commit_that_fails_keeps_nobody_waiting(owner: Owner) -> None:
    done = []

    def careless(tx: Tx) -> int:
        tx.after.append(lambda: done.append(1 // 0))
        tx.after.append(lambda: done.append(1))
        return add(tx, 1)

    assert owner.call(careless) == 1
    assert done == [1]


def test_a_stop_does_not_wait_for_a_database_that_fails(tmp_path: Path, moody: Moody) -> None:
    owner = make_owner(tmp_path, moody.load)

    async def fail_and_stop() -> float:
        owner.start(asyncio.get_running_loop())
        owner.tell(break_commit)
        with pytest.raises(Refused):
            await owner.ask(break_commit)
        begun_s = World().monotonic()
        await asyncio.to_thread(owner.stop)
        return World().monotonic() - begun_s

    assert asyncio.run(fail_and_stop()) < 10
    assert not owner._thread.is_alive()
