"""The owner: one transaction for all that waits, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import threading

import pytest
from bench import a_job, a_pool, a_task

from lote.server.load import load_memory
from lote.server.owner import Owner
from lote.server.request import Answer
from lote.server.settle import settle, take_alarms
from lote.settings import Settings
from lote.store.events import add_event, list_events
from lote.wire.errors import Refused
from lote.world import World


def note(tx, text):
    add_event(tx.db, tx.now_us, "note", text, "")


def break_everything(tx):
    """Changes the record and the memory, then shows its bug."""
    note(tx, "never")
    tx.memory.pools.clear()
    tx.memory.view.pools.clear()
    tx.after.append(lambda: pytest.fail("of a transaction that failed"))
    raise ZeroDivisionError("a bug")


def notes(bench):
    return [event[2] for event in list_events(bench.reader) if event[1] == "note"][::-1]


def whole(bench):
    """Everything of the record that anyone can see."""
    names = ("pool", "node", "job", "job_count", "task", "dependency", "satisfied_number")
    return {name: bench.reader.execute(f"SELECT * FROM {name}").fetchall() for name in names}


# -- groups ---------------------------------------------------------------------------------


def test_all_that_waits_is_one_transaction(bench):
    before = bench.database.commits
    for number in range(5):
        bench.owner.tell(note, str(number))
    bench.owner.drain()
    assert bench.database.commits == before + 1
    assert notes(bench) == list("01234")


def test_a_refusal_undoes_nothing_else(bench):
    def refuse(tx):
        raise Refused("JobNotFound")

    bench.owner.tell(note, "before")
    bench.owner.tell(refuse)
    bench.owner.tell(note, "after")
    with pytest.raises(Refused, match="JobNotFound"):
        bench.owner.call(refuse)
    assert notes(bench) == ["before", "after"]


def test_what_is_broken_is_left_out_and_the_rest_goes_on(bench):
    bench.add_pool()
    bench.owner.tell(note, "before")
    bench.owner.tell(break_everything)
    bench.owner.tell(note, "after")
    bench.owner.drain()
    assert notes(bench) == ["before", "after"]
    assert "ZeroDivisionError" in (bench.owner.last_error or "")
    bench.check()


def test_who_asked_for_what_is_broken_is_told(bench):
    bench.add_pool()
    with pytest.raises(ZeroDivisionError):
        bench.owner.call(break_everything)
    bench.check()
    bench.add_job()
    bench.add_task("t", seconds=0)
    assert bench.task_states() == {"t": "completed"}
    bench.check()


def test_a_call_after_the_commit_that_fails_holds_nobody_up(bench):
    done = []

    def commit(tx):
        tx.after.append(lambda: 1 // 0)
        tx.after.append(lambda: done.append("next"))
        return "answer"

    assert bench.owner.call(commit) == "answer"
    assert done == ["next"]


# -- a database that fails ------------------------------------------------------------------

OPERATIONS = {
    "create_pool": lambda bench: bench.ask("create_pool", a_pool("q"), settled=False),
    "create_job": lambda bench: bench.ask("create_job", a_job("k"), settled=False),
    "create_task_collection": lambda bench: bench.ask(
        "create_task_collection",
        {"value": [a_task("u"), a_task("v", dependsOn={"taskIds": ["u"]})]},
        job_id="j",
        settled=False,
    ),
    "disable_job": lambda bench: bench.ask(
        "disable_job", {"disableTasks": "terminate"}, job_id="j", settled=False
    ),
    "terminate_job": lambda bench: bench.ask("terminate_job", job_id="j", settled=False),
    "delete_job": lambda bench: bench.ask("delete_job", job_id="j", settled=False),
    "update_job": lambda bench: bench.ask(
        "update_job", {"priority": 9, "maxParallelTasks": 1}, job_id="j", settled=False
    ),
    "terminate_task": lambda bench: bench.ask(
        "terminate_task", job_id="j", task_id="t0", settled=False
    ),
    "delete_task": lambda bench: bench.ask("delete_task", job_id="j", task_id="t0", settled=False),
    "resize_pool": lambda bench: bench.ask(
        "resize_pool",
        {"targetDedicatedNodes": 0, "nodeDeallocationOption": "terminate"},
        pool_id="p",
        settled=False,
    ),
    "delete_pool": lambda bench: bench.ask("delete_pool", pool_id="p", settled=False),
}


def refusal_of(operation, bench):
    try:
        operation(bench)
    except Refused as refused:
        return refused
    return None


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_request_is_carried_out_whole_or_not_at_all(bench, name):
    """The database fails at the first statement, at the second, and so on until it need not."""
    bench.add_pool(nodes=2)
    bench.add_job(usesTaskDependencies=True)
    bench.add_tasks(3)
    before = whole(bench)
    for good in range(1000):
        failed = bench.database.failed
        bench.database.break_down(good)
        refused = refusal_of(OPERATIONS[name], bench)
        if refused is None:
            break
        assert (refused.code, refused.headers) == ("ServerBusy", {"Retry-After": "2"})
        assert bench.database.failed == failed + 1
        assert whole(bench) == before
        bench.check()
    assert good > 3
    bench.database.mend()
    assert bench.database.failed == failed
    assert whole(bench) != before
    bench.advance(60)
    bench.check()


@pytest.mark.parametrize("good", range(25))
def test_reports_that_could_not_be_recorded_are_not_lost(bench, good):
    bench.add_pool(nodes=2, slots=2)
    bench.add_job(usesTaskDependencies=True)
    bench.add_tasks(6, seconds=1)
    bench.add_task("last", seconds=1, dependsOn={"taskIds": ["t0", "t5"]})
    for _ in range(8):
        bench.database.break_down(good)
        bench.advance(0.5)
    bench.database.mend()
    bench.advance(5)
    assert bench.counts()["succeeded"] == 7
    rows = bench.reader.execute("SELECT DISTINCT run, requeues, reruns FROM task").fetchall()
    assert rows == [(1, 0, 0)]
    bench.check()


def test_a_memory_that_cannot_be_made_anew_is_not_used(bench):
    bench.add_pool()
    bench.add_job()
    bench.database.break_down(3, times=3)
    asked = bench.refusal("create_task", a_task("t"), job_id="j", settled=False)
    assert asked == "ServerBusy"
    asked = bench.refusal("create_task", a_task("t"), job_id="j", settled=False)
    assert asked == "ServerBusy"
    assert bench.database.failed == 3
    bench.add_task("t")
    assert bench.running() == ["t"]
    bench.check()


def test_alarms_of_a_transaction_that_failed_go_off_again(bench):
    bench.add_pool()
    bench.add_job(constraints={"maxWallClockTime": "PT1M"})
    bench.add_task("t", seconds=1000)
    (node,) = bench.nodes()
    bench.engine.cut(node["id"])
    bench.settle()
    bench.database.break_down(4, times=1)
    bench.advance(200)
    assert bench.database.failed == 1
    assert bench.job()["state"] == "completed"
    assert node["id"] not in [one["id"] for one in bench.nodes()]
    bench.check()


# -- the thread -----------------------------------------------------------------------------


def make_owner(tmp_path, **settings):
    return Owner(
        Settings(folder=tmp_path, **settings),
        World(),
        tmp_path / "account.db",
        load=load_memory,
        settle=settle,
        alarm=take_alarms,
    )


def test_the_thread_answers_on_the_loop(tmp_path):
    owner = make_owner(tmp_path)

    def where(tx):
        return threading.current_thread().name, Answer().status

    async def ask():
        owner.start(asyncio.get_running_loop())
        answers = await asyncio.gather(*(owner.ask(where) for _ in range(20)))
        with pytest.raises(ZeroDivisionError):
            await owner.ask(lambda tx: 1 // 0)
        return answers, await asyncio.to_thread(owner.call, where)

    answers, called = asyncio.run(ask())
    assert {*answers, called} == {("owner", None)}
    owner.stop()


def test_stopping_finishes_what_waits(tmp_path):
    owner = make_owner(tmp_path)
    done = []

    async def begin():
        owner.start(asyncio.get_running_loop())
        for number in range(100):
            owner.tell(lambda tx, number=number: done.append(number))

    asyncio.run(begin())
    owner.stop()
    assert done == list(range(100))


def test_quick_operations_pass_a_flood_of_large_ones(tmp_path):
    """Each transaction takes some of the large ones, and before each of them all quick ones."""
    owner = make_owner(tmp_path, group_s=0.0)
    order = []

    async def flood():
        large = [
            asyncio.ensure_future(owner.ask_much(lambda tx, n=n: order.append(f"large {n}")))
            for n in range(5)
        ]
        quick = [
            asyncio.ensure_future(owner.ask(lambda tx, n=n: order.append(f"quick {n}")))
            for n in range(3)
        ]
        await asyncio.sleep(0)  # all have asked; now the thread begins
        owner.start(asyncio.get_running_loop())
        await asyncio.gather(*large, *quick)

    asyncio.run(flood())
    owner.stop()
    assert order == ["quick 0", "quick 1", "quick 2", *(f"large {n}" for n in range(5))]


def test_large_operations_are_not_starved_by_quick_ones(tmp_path):
    owner = make_owner(tmp_path, group_s=0.0)
    turns = []

    def again(tx):
        turns.append("quick")
        if len(turns) < 50:
            owner.tell(again)

    async def flood():
        owner.tell(again)
        large = asyncio.ensure_future(owner.ask_much(lambda tx: turns.append("large")))
        await asyncio.sleep(0)
        owner.start(asyncio.get_running_loop())
        await large

    asyncio.run(flood())
    owner.stop()
    assert turns.index("large") <= 2


def test_too_long_a_queue_of_large_operations_is_refused(tmp_path):
    owner = make_owner(tmp_path, owner_queue_max=3)

    async def ask():
        waiting = [asyncio.ensure_future(owner.ask_much(note, "waits")) for _ in range(4)]
        await asyncio.sleep(0)
        with pytest.raises(Refused, match="ServerBusy"):
            await owner.ask_much(note, "refused")
        quick = asyncio.ensure_future(owner.ask(lambda tx: "taken"))
        await asyncio.sleep(0)
        owner.start(asyncio.get_running_loop())
        assert await asyncio.wait_for(quick, 60) == "taken"
        await asyncio.gather(*waiting)

    asyncio.run(ask())
    owner.stop()


def test_too_long_a_queue_is_refused(tmp_path):
    owner = make_owner(tmp_path, owner_queue_max=3)
    for _ in range(4):
        owner.tell(note, "waits")

    async def ask():
        with pytest.raises(Refused, match="ServerBusy") as caught:
            await owner.ask(note, "refused")
        assert caught.value.headers == {"Retry-After": "1"}

    asyncio.run(ask())
    owner.drain()
    owner._db.close()
