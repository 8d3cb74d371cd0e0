"""What every dialect of the store must do, as behaviour.

A class that inherits ``StoreSuite`` and has a fixture ``db``, an empty database with the newest
schema, runs it over that dialect.
"""

from __future__ import annotations

import pytest

from lote.store import dependencies, events, jobs, lists, nodes, pool_use, pools, scaling, tasks
from lote.store.database import Connection, transaction
from lote.store.invariants import check_invariants
from lote.store.records import (
    BLOCKED,
    COMPLETED,
    HAS_MOVED,
    PLACED,
    READY,
    RUNNING,
    SATISFIES,
    JobCount,
    JobRecord,
    NodeRecord,
    PoolRecord,
)
from lote.wire.filters import FILTERS
from lote.wire.odata import parse_filter

NOW_US = 1_735_689_600_000_000


def a_pool(pool_id: str = "p", **given: object) -> PoolRecord:
    fields: dict[str, object] = {
        "key": 0,
        "id": pool_id,
        "state": "active",
        "state_us": NOW_US,
        "allocation_state": "steady",
        "allocation_us": NOW_US,
        "created_us": NOW_US,
        "modified_us": NOW_US,
        "vm_size": "standard_d2s_v3",
        "engine": "local",
        "slots": 4,
        "target_dedicated": 1,
        "target_low_priority": 0,
        "current_dedicated": 0,
        "current_low_priority": 0,
        "enable_auto_scale": 0,
        "inter_node": 0,
        "resize_started_us": None,
        "resize_timeout_s": 900.0,
        "deallocation": "requeue",
        "resize_errors": None,
        "spec": b"{}",
    }
    return PoolRecord(**(fields | given))  # type: ignore[arg-type]


def a_node(node_id: str = "n", *, pool_key: int = 1, **given: object) -> NodeRecord:
    fields: dict[str, object] = dict.fromkeys(NodeRecord.__struct_fields__)
    fields |= {
        "key": 0,
        "pool_key": pool_key,
        "pool_id": "p",
        "id": node_id,
        "state": "idle",
        "state_us": NOW_US,
        "scheduling": "enabled",
        "is_dedicated": 1,
        "secret_digest": b"digest",
        "allocated_us": NOW_US,
        "ip_address": "127.0.0.1",
        "tasks_run": 0,
        "tasks_succeeded": 0,
        "vm_size": "standard_d2s_v3",
    }
    return NodeRecord(**(fields | given))  # type: ignore[arg-type]


def a_job(job_id: str = "j", **given: object) -> JobRecord:
    fields: dict[str, object] = dict.fromkeys(JobRecord.__struct_fields__)
    fields |= {
        "key": 0,
        "id": job_id,
        "pool_id": "p",
        "state": "active",
        "state_us": NOW_US,
        "created_us": NOW_US,
        "modified_us": NOW_US,
        "start_us": NOW_US,
        "priority": 0,
        "spec": b"{}",
    }
    return JobRecord(**(fields | given))  # type: ignore[arg-type]


def a_task(key: int, task_id: str, *, job_key: int = 1, **given: object) -> tasks.NewTask:
    fields: dict[str, object] = {
        "key": key,
        "job_key": job_key,
        "id": task_id,
        "phase": READY,
        "flags": 0,
        "slots": 1,
        "waiting": 0,
        "created_us": NOW_US,
        "spec": b'{"id":"%s"}' % task_id.encode(),
    }
    return tasks.NewTask(**(fields | given))  # type: ignore[arg-type]


def an_end(key: int, *, result: int = 1, exit_code: int | None = 0) -> tuple[object, ...]:
    failure = None if result else "{}"
    return (
        *(RUNNING, NOW_US, NOW_US + 2, NOW_US, NOW_US + 2, exit_code, result, failure),
        *(3, NOW_US + 1, "1,2,3", 2, 1, 1, 8, 16, key),
    )


def phase_of(db: Connection, task_id: str, job_key: int = 1) -> int:
    found = tasks.get_task(db, job_key, task_id)
    assert found is not None
    return found.phase


class StoreSuite:
    """The verbs of each noun, and the rules that hold between them."""

    @pytest.fixture
    def pool(self, db: Connection) -> int:
        return pools.add_pool(db, a_pool())

    @pytest.fixture
    def node(self, db: Connection, pool: int) -> int:
        return nodes.add_node(db, a_node(pool_key=pool))

    @pytest.fixture
    def job(self, db: Connection) -> int:
        return jobs.add_job(db, a_job())

    # -- transactions -----------------------------------------------------------------------

    def test_a_transaction_is_whole_or_nothing(self, db: Connection) -> None:
        with transaction(db):
            jobs.add_job(db, a_job("kept"))

        def add_and_fail() -> None:
            with transaction(db):
                jobs.add_job(db, a_job("undone"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            add_and_fail()
        assert jobs.get_job(db, "kept") is not None
        assert jobs.get_job(db, "undone") is None
        assert not db.in_transaction

    # -- pools, nodes, jobs -----------------------------------------------------------------

    def test_pools_come_back_as_they_were_written(self, db: Connection) -> None:
        record = a_pool("Pool", resize_errors="[]", resize_started_us=5)
        record.key = pools.add_pool(db, record)
        assert pools.get_pool(db, "pOOL") == record
        assert pools.get_pool_by_key(db, record.key) == record
        assert pools.list_all_pools(db) == [record]
        pools.save_pool(db, record.key, state="deleting", slots=2)
        found = pools.get_pool_by_key(db, record.key)
        assert found is not None
        assert (found.state, found.slots, found.vm_size) == ("deleting", 2, record.vm_size)
        pools.delete_pool(db, record.key)
        assert pools.get_pool(db, "Pool") is None

    def test_keys_of_pools_are_never_used_again(self, db: Connection, pool: int) -> None:
        pools.delete_pool(db, pool)
        assert pools.add_pool(db, a_pool()) > pool

    def test_nodes_that_have_gone_are_known_and_not_listed(
        self, db: Connection, node: int, pool: int
    ) -> None:
        assert [one.key for one in nodes.list_pool_nodes(db, pool)] == [node]
        assert [one.key for one in nodes.list_present_nodes(db)] == [node]
        assert nodes.get_node(db, "P", "N") is not None
        assert nodes.get_node(db, "other", "n") is None
        nodes.save_node(db, node, gone_us=NOW_US)
        assert nodes.list_pool_nodes(db, pool) == nodes.list_present_nodes(db) == []
        assert nodes.get_node(db, "p", "n") is None
        gone = nodes.get_node_by_key(db, node)
        assert gone is not None
        assert gone == nodes.get_node_by_id(db, "n")
        assert gone.gone_us == NOW_US

    def test_nodes_count_their_tasks(self, db: Connection, node: int) -> None:
        nodes.count_node_tasks(db, [(3, 2, [7, 8], node), (1, 1, [8, 9], node)])
        found = nodes.get_node_by_key(db, node)
        assert found is not None
        assert (found.tasks_run, found.tasks_succeeded) == (4, 3)
        assert nodes.recent_keys(found) == [8, 9]

    def test_what_pools_use_is_summed_up(self, db: Connection, pool: int) -> None:
        assert pool_use.pools_use(db, [pool]) == {}
        pool_use.add_pool_use(db, pool, pool_use.PoolUse(10, 20, 30, 600, *range(1, 11)))
        pool_use.add_pool_use(db, pool, pool_use.PoolUse(15, 40, 30, 900, *range(10, 0, -1)))
        peaks = {"memory_bytes_max": 9, "disk_bytes_max": 7}
        expected = pool_use.PoolUse(10, 40, 60, 1500, *[11] * 10)
        for name, value in peaks.items():
            setattr(expected, name, value)
        assert pool_use.pools_use(db, [pool, pool + 1]) == {pool: expected}
        pools.delete_pool(db, pool)
        assert pool_use.pools_use(db, [pool]) == {}

    def test_jobs_come_back_as_they_were_written(self, db: Connection) -> None:
        record = a_job("Job", terminate_reason="why", end_us=7, priority=-3)
        record.key = jobs.add_job(db, record)
        assert jobs.get_job(db, "JOB") == jobs.get_job_by_key(db, record.key) == record
        jobs.save_job(db, record.key, state="completed")
        assert jobs.list_living_jobs(db) == []
        jobs.delete_job(db, record.key)
        assert jobs.get_job(db, "Job") is None
        assert jobs.get_job_count(db, record.key) == JobCount()

    def test_counts_are_written_whole(self, db: Connection, job: int) -> None:
        assert jobs.get_job_count(db, job) == JobCount()
        counts = JobCount(1, 2, 3, 4, 5, 6, 7, 8)
        jobs.save_job_counts(db, [(job, counts)])
        assert jobs.get_job_count(db, job) == counts
        assert not counts.is_all_complete
        assert JobCount(succeeded=1, failed=1).is_all_complete

    def test_only_columns_that_change_are_saved(self, db: Connection, pool: int) -> None:
        for save in (pools.save_pool, nodes.save_node, jobs.save_job):
            for name in ("id", "nonsense"):
                with pytest.raises(ValueError, match="not columns"):
                    save(db, pool, **{name: 1})

    # -- tasks ------------------------------------------------------------------------------

    def test_keys_are_reserved_once(self, db: Connection) -> None:
        first = tasks.reserve_task_keys(db)
        second = tasks.reserve_task_keys(db)
        assert first > 0
        assert second == first + tasks.KEY_BLOCK

    def test_a_taken_id_leaves_its_task_out(self, db: Connection, job: int) -> None:
        assert tasks.add_tasks(db, [a_task(1, "a"), a_task(2, "b")]) == {1, 2}
        added = tasks.add_tasks(db, [a_task(3, "A"), a_task(4, "c"), a_task(5, "C")])
        assert added == {4}
        found = tasks.get_task(db, job, "C")
        assert found is not None
        assert (found.key, found.spec) == (4, b'{"id":"c"}')
        other = jobs.add_job(db, a_job("other"))
        assert tasks.add_tasks(db, [a_task(6, "a", job_key=other)]) == {6}

    def test_a_task_goes_its_way(self, db: Connection, job: int, node: int) -> None:
        tasks.add_tasks(db, [a_task(1, "t", slots=2)])
        (ready,) = tasks.list_ready_tasks(db, job, 0, 10)
        assert (ready.key, ready.slots, ready.run) == (1, 2, 0)
        assert tasks.get_ready_rows(db, [1, 99]) == {1: ready}
        assert tasks.place_tasks(db, [(node, 1)]) == 1
        assert tasks.place_tasks(db, [(node, 1)]) == 0  # it is not ready any more
        (placed,) = tasks.list_placed_tasks(db)
        assert (placed.key, placed.node_key, placed.phase, placed.run) == (1, node, PLACED, 1)
        tasks.start_tasks(db, [(NOW_US, NOW_US, 0, None, 1, 99)])  # another run: nothing
        assert phase_of(db, "t") == PLACED
        tasks.start_tasks(db, [(NOW_US, NOW_US, 0, None, 1, 1)])
        assert phase_of(db, "t") == RUNNING
        tasks.end_tasks(db, [an_end(1)])
        found = tasks.get_task_by_key(db, 1)
        assert found is not None
        assert (found.phase, found.exit_code, found.result, found.retries) == (COMPLETED, 0, 1, 3)
        assert (found.node_id, found.node_pool_id, found.previous_phase) == ("n", "p", RUNNING)
        assert tasks.list_placed_tasks(db) == []

    def test_a_task_goes_back(self, db: Connection, job: int, node: int) -> None:
        tasks.add_tasks(db, [a_task(1, "t")])
        tasks.place_tasks(db, [(node, 1)])
        tasks.unplace_tasks(db, [1])
        found = tasks.get_task_by_key(db, 1)
        assert found is not None
        assert (found.phase, found.node_key, found.run) == (READY, None, 1)
        tasks.place_tasks(db, [(node, 1)])
        tasks.start_tasks(db, [(NOW_US, NOW_US, 0, None, 1, 2)])
        tasks.unplace_tasks(db, [1])  # too late
        assert phase_of(db, "t") == RUNNING
        tasks.requeue_tasks(db, [(NOW_US + 5, 1, 0, NOW_US + 5, 1)])
        tasks.place_tasks(db, [(node, 1)])
        tasks.requeue_tasks(db, [(NOW_US + 6, 0, 1, None, 1)])
        found = tasks.get_task_by_key(db, 1)
        assert found is not None
        assert (found.phase, found.start_us, found.run) == (READY, None, 3)
        assert (found.requeues, found.reruns, found.last_requeue_us) == (1, 1, NOW_US + 5)

    def test_reactivation_clears_what_the_last_run_left(
        self, db: Connection, job: int, node: int
    ) -> None:
        tasks.add_tasks(db, [a_task(1, "t", flags=SATISFIES | 1)])
        tasks.place_tasks(db, [(node, 1)])
        tasks.end_tasks(db, [an_end(1, result=0, exit_code=4)])
        tasks.reactivate_task(db, 1, READY, NOW_US + 9, NOW_US + 10)
        found = tasks.get_task_by_key(db, 1)
        assert found is not None
        assert (found.phase, found.previous_phase, found.flags) == (READY, COMPLETED, 1 | HAS_MOVED)
        assert (found.state_us, found.modified_us, found.retries) == (NOW_US + 9, NOW_US + 10, 0)
        names = ("start_us", "end_us", "exit_code", "result", "failure", "spans")
        assert {getattr(found, name) for name in names} == {None}

    def test_ready_tasks_come_in_order_behind_a_key(self, db: Connection, job: int) -> None:
        tasks.add_tasks(db, [a_task(key, f"t{key}") for key in (4, 2, 3, 1)])
        tasks.block_task(db, 3, 1)
        ready = tasks.list_ready_tasks(db, job, 1, 10)
        assert [row.key for row in ready] == [2, 4]
        assert [row.key for row in tasks.list_ready_tasks(db, job, 0, 2)] == [1, 2]

    def test_what_runs_is_listed_before_what_is_placed(
        self, db: Connection, job: int, node: int
    ) -> None:
        tasks.add_tasks(db, [a_task(1, "a"), a_task(2, "b", slots=3), a_task(3, "c")])
        tasks.place_tasks(db, [(node, key) for key in (1, 2, 3)])
        tasks.start_tasks(db, [(NOW_US, NOW_US, 0, None, 3, 1)])
        assert [row.key for row in tasks.list_placed_tasks(db)] == [3, 2, 1]

    def test_specs_and_dates_change(self, db: Connection, job: int) -> None:
        tasks.add_tasks(db, [a_task(1, "t")])
        tasks.save_task_spec(db, 1, b"{}", NOW_US + 1)
        tasks.touch_task(db, 1, NOW_US + 2)
        found = tasks.get_task(db, job, "T")
        assert found is not None
        assert (found.spec, found.modified_us) == (b"{}", NOW_US + 2)

    def test_tasks_are_deleted_with_all_that_is_theirs(self, db: Connection, job: int) -> None:
        tasks.add_tasks(db, [a_task(key, f"t{key}") for key in range(1, 6)])
        dependencies.add_dependencies(db, job, 1, ["x"], [(1, 3)])
        tasks.delete_task(db, 1)
        assert tasks.get_tasks_by_key(db, [1, 2]) == [tasks.get_task_by_key(db, 2)]
        tasks.place_tasks(db, [(7, 2)])
        assert sorted(tasks.delete_some_tasks(db, job, 3), key=bool) == [None, None, 7]
        assert tasks.delete_some_tasks(db, job, 3) == [None]
        assert tasks.delete_some_tasks(db, job, 3) == []
        for table in ("task", "task_spec", "dependency", "dependency_range"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] == 0

    # -- dependencies -----------------------------------------------------------------------

    def add_child(
        self, db: Connection, key: int, ids: list[str], ranges: list[tuple[int, int]]
    ) -> int:
        """A task that waits, as its handler adds it; how many requirements are open."""
        tasks.add_tasks(db, [a_task(key, f"child{key}")])
        waiting = dependencies.add_dependencies(db, 1, key, ids, ranges)
        if waiting:
            tasks.block_task(db, key, waiting)
        return waiting

    def end_parent(self, db: Connection, key: int, task_id: str) -> list[int]:
        tasks.add_tasks(db, [a_task(key, task_id)])
        tasks.end_tasks(db, [an_end(key)])
        return dependencies.satisfy(db, 1, key, task_id)

    def test_ids_are_waited_for_in_any_spelling(self, db: Connection, job: int) -> None:
        assert self.add_child(db, 1, ["a", "A", "b"], []) == 2
        assert phase_of(db, "child1") == BLOCKED
        assert self.end_parent(db, 2, "A") == []
        assert self.end_parent(db, 3, "B") == [1]
        assert phase_of(db, "child1") == READY
        assert self.add_child(db, 4, ["a", "b"], []) == 0

    def test_ranges_count_each_number_once(self, db: Connection, job: int) -> None:
        assert self.add_child(db, 1, [], [(4, 5), (5, 6), (9, 8)]) == 4
        assert self.end_parent(db, 2, "4") == []
        assert self.end_parent(db, 3, "04") == []  # 4 again
        assert self.end_parent(db, 4, "0006") == []
        assert self.end_parent(db, 5, "5") == [1]  # a member of both ranges
        assert db.execute("SELECT count(*) FROM dependency_range").fetchone()[0] == 0
        assert self.add_child(db, 6, ["4"], [(4, 6)]) == 0

    def test_a_number_and_its_id_are_two_requirements(self, db: Connection, job: int) -> None:
        assert self.add_child(db, 1, ["4"], [(4, 4)]) == 2
        assert self.end_parent(db, 2, "04") == []
        assert self.end_parent(db, 3, "4") == [1]

    def test_a_number_that_goes_is_waited_for_by_later_ones(self, db: Connection, job: int) -> None:
        self.add_child(db, 1, [], [(3, 5), (4, 4), (4, 6)])
        self.end_parent(db, 2, "4")
        dependencies.forget_parent(db, job, 2, "4")
        tasks.delete_task(db, 2)
        assert self.add_child(db, 3, [], [(3, 4)]) == 2
        assert self.end_parent(db, 4, "4") == []  # closed for the first, once
        assert self.end_parent(db, 5, "3") == [3]
        assert self.end_parent(db, 6, "5") == []
        assert self.end_parent(db, 7, "6") == [1]
        assert db.execute("SELECT count(*) FROM dependency_range").fetchone()[0] == 0

    def test_a_number_stays_while_another_task_has_it(self, db: Connection, job: int) -> None:
        self.add_child(db, 1, [], [(0, 1)])
        self.end_parent(db, 2, "0")
        self.end_parent(db, 3, "000")
        dependencies.forget_parent(db, job, 2, "0")
        tasks.delete_task(db, 2)
        assert self.end_parent(db, 4, "1") == [1]

    def test_a_child_that_was_let_go_waits_no_more(self, db: Connection, job: int) -> None:
        self.add_child(db, 1, [], [(4, 4)])
        assert self.end_parent(db, 2, "4") == [1]
        dependencies.forget_parent(db, job, 2, "4")
        found = tasks.get_task_by_key(db, 1)
        assert found is not None
        assert (found.phase, found.waiting) == (READY, 0)

    def test_jobs_do_not_see_each_others_tasks(self, db: Connection, job: int) -> None:
        other = jobs.add_job(db, a_job("other"))
        self.add_child(db, 1, ["a"], [(4, 4)])
        for key, task_id in ((2, "a"), (3, "4")):
            tasks.add_tasks(db, [a_task(key, task_id, job_key=other)])
            assert dependencies.satisfy(db, other, key, task_id) == []
        assert phase_of(db, "child1") == BLOCKED

    @pytest.mark.parametrize(
        ("task_id", "number"),
        [
            ("0", 0),
            ("007", 7),
            ("2147483647", 2**31 - 1),
            ("2147483648", None),
            ("-1", None),
            ("1a", None),
            ("", None),
            ("٤", None),
            ("²", None),
        ],
    )
    def test_which_ids_are_numbers(self, task_id: str, number: int | None) -> None:
        assert dependencies.number_of(task_id) == number

    # -- lists ------------------------------------------------------------------------------

    def test_pages_follow_the_order_of_ids_in_any_case(self, db: Connection, job: int) -> None:
        ids = ["b", "A", "d", "C", "e"]
        tasks.add_tasks(db, [a_task(key, task_id) for key, task_id in enumerate(ids, 1)])
        seen: list[str] = []
        after: str | None = None
        while True:
            page, after = lists.list_tasks(db, job, lists.Page(after, 2))
            seen += [task.id for task in page]
            if after is None:
                break
        assert seen == ["A", "b", "C", "d", "e"]
        behind, _ = lists.list_tasks(db, job, lists.Page("B", 10))
        assert [task.id for task in behind] == ["C", "d", "e"]

    def test_lists_take_filters(self, db: Connection) -> None:
        for pool_id, slots in (("a1", 1), ("a2", 2), ("b1", 1)):
            pools.add_pool(db, a_pool(pool_id, slots=slots, vm_size=f"size{slots}"))
            jobs.add_job(db, a_job(pool_id, pool_id=pool_id, state="disabled"))
        where = parse_filter("startswith(id,'A') and vmSize ne 'SIZE2'", FILTERS["pools"])
        assert [one.id for one in lists.list_pools(db, lists.Page(None, 9, where))] == ["a1"]
        where = parse_filter("executionInfo/poolId eq 'B1'", FILTERS["jobs"])
        found, go_on = lists.list_jobs(db, lists.Page(None, 9, where))
        assert ([one.id for one in found], go_on) == (["b1"], None)

    # -- events and invariants --------------------------------------------------------------

    def test_events_are_bounded(self, db: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(events, "EVENTS_MAX", 300)
        with transaction(db):
            for number in range(1024):
                events.add_event(db, number, "kind", str(number), "")
        kept = events.list_events(db, limit=5000)
        assert [event[2] for event in kept] == [str(n) for n in range(1023, 723, -1)]
        assert events.list_events(db, limit=1) == [(1023, "kind", "1023", "")]

    def test_a_sound_database_breaks_no_rule(self, db: Connection, job: int, node: int) -> None:
        first = tasks.reserve_task_keys(db)
        tasks.add_tasks(db, [a_task(first, "t"), a_task(first + 1, "u")])
        tasks.place_tasks(db, [(node, first)])
        tasks.start_tasks(db, [(NOW_US, NOW_US, 0, None, first, 1)])
        jobs.save_job_counts(db, [(job, JobCount(1, 1, 0, 0, 1, 1, 0, 0))])
        assert check_invariants(db) == []

    # -- scaling ----------------------------------------------------------------------------

    def test_samples_are_listed_by_their_moments_and_forgotten_when_old(self, db, pool):
        for at_us in (10, 20, 30):
            scaling.add_sample(db, pool, at_us, {"$x": at_us / 4}, keep_from_us=0)
        found = [(10, {"$x": 2.5}), (20, {"$x": 5.0}), (30, {"$x": 7.5})]
        assert scaling.list_samples(db, pool, 0, 100) == found
        assert scaling.list_samples(db, pool, 11, 20) == found[1:2]
        scaling.add_sample(db, pool, 30, {"$x": 0.0}, keep_from_us=20)
        assert scaling.list_samples(db, pool, 0, 100) == [found[1], (30, {"$x": 0.0})]
        scaling.add_sample(db, pool, 25, {"$x": 1.0}, keep_from_us=0)  # the clock was set back
        assert scaling.list_samples(db, pool, 0, 100) == [found[1], (25, {"$x": 1.0})]
        pools.delete_pool(db, pool)
        assert scaling.list_samples(db, pool, 0, 100) == []

    def test_the_newest_evaluations_of_each_pool_are_kept(self, db, pool):
        facts = (1, "x=1;", "x=1", None, 2, 3, {"x": "1"}, {"$y": 0.5})
        record = scaling.EvaluationRecord(None, *facts)
        scaling.add_evaluation(db, pool + 1, record)
        for at_us in range(scaling.EVALUATIONS_MAX + 20):
            scaling.add_evaluation(db, pool, record._replace(at_us=at_us))
        found = scaling.list_evaluations(db, pool)
        assert [one.at_us for one in found] == list(range(119, 19, -1))
        (newest,) = scaling.list_evaluations(db, pool, limit=1)
        assert newest == record._replace(key=newest.key, at_us=119)
        (before,) = scaling.list_evaluations(db, pool, limit=1, before_key=newest.key)
        assert before.at_us == 118
        (other,) = scaling.list_evaluations(db, pool + 1)
        assert other == record._replace(key=other.key)
        pools.delete_pool(db, pool)
        assert scaling.list_evaluations(db, pool) == []

    def test_blocked_tasks_and_those_of_completed_jobs_are_counted(self, db, pool):
        assert (scaling.count_blocked(db, 9), scaling.count_ended(db, "p")) == ((0, 0), (0, 0))
        job = jobs.add_job(db, a_job())
        fresh = [a_task(key, f"t{key}", job_key=job, slots=key) for key in (1, 2, 3)]
        tasks.add_tasks(db, fresh)
        for key in (1, 3):
            tasks.block_task(db, key, 1)
        assert scaling.count_blocked(db, job) == (2, 4)
        jobs.save_job_counts(db, [(job, JobCount(succeeded=5, failed=2))])
        assert scaling.count_ended(db, "P") == (0, 0)
        jobs.save_job(db, job, state="completed", end_us=NOW_US)
        assert scaling.count_ended(db, "P") == (5, 2)

    @pytest.mark.parametrize(
        ("damage", "rule"),
        [
            ("DELETE FROM task_spec", "every task has a spec"),
            ("DELETE FROM job", "every task has a job"),
            ("DELETE FROM job_count", "every job has counts"),
            ("DELETE FROM pool", "has a pool"),
            ("INSERT INTO scale_sample VALUES (1, 1, '{}')", "to one that scales itself"),
            ("UPDATE node SET gone_us = 1", "in a node's hands has a node"),
            ("UPDATE task SET waiting = 1", "only blocked tasks have open requirements"),
            ("UPDATE task SET start_us = NULL", "a running task has a start"),
            ("UPDATE task SET slots = 3", "fit into its slots"),
            ("UPDATE task SET exit_code = 1", "has no end and no result"),
            ("UPDATE task SET phase = 5", "has an end and a result"),
            ("UPDATE job SET state = 'completed'", "a completed job has an end"),
            ("UPDATE job_count SET active = 7", "what counts say"),
            ("DELETE FROM fact", "no task key"),
            ("INSERT INTO satisfied_number VALUES (1, 5)", "the numbers that are satisfied"),
            ("INSERT INTO forgotten_number VALUES (2, 5, 1)", "a number that is forgotten"),
            ("INSERT INTO forgotten_number VALUES (1, 5, 99999999)", "a number that is forgotten"),
            ("INSERT INTO dependency VALUES (1, 'x', 1)", "just as many requirements"),
            ("INSERT INTO dependency VALUES (1, 'x', 99999999)", "is waited for by a task"),
        ],
    )
    def test_damage_is_told(
        self, db: Connection, job: int, node: int, damage: str, rule: str
    ) -> None:
        first = tasks.reserve_task_keys(db)
        tasks.add_tasks(db, [a_task(first, "t", slots=2), a_task(first + 1, "u", slots=2)])
        keys = [first, first + 1]
        tasks.place_tasks(db, [(node, key) for key in keys])
        tasks.start_tasks(db, [(NOW_US, NOW_US, 0, None, key, 1) for key in keys])
        jobs.save_job_counts(db, [(job, JobCount(running=2, running_slots=4))])
        assert check_invariants(db) == []
        db.execute(damage)
        assert rule in " ".join(check_invariants(db))
