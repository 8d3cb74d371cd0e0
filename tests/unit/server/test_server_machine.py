"""Any sequence of requests, faults and restarts: the record stays sound and nothing is left over.

After each step the invariants hold and memory is what a fresh load would make of the database; at
the end, with all nodes well and time passed, whatever can run has run.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import Bench, a_job, a_pool, a_task, depends_on
from hypothesis import HealthCheck, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from lote.engines.script import NodeFate, Script
from lote.engines.seam import NodeOrder
from lote.server.rehearsals import begin_rehearsal, stop_rehearsal
from lote.store.records import READY
from lote.wire.errors import Refused
from lote.wire.rehearsal import RehearsalCreate

POOLS = ("p", "q")
JOBS = ("a", "b")  # the first has dependencies
JOB = st.sampled_from(JOBS)
TASK = st.sampled_from(["1", "01", "2", "3", "4", "x", "y", "z"])
SECONDS = st.sampled_from([0, 0.004, 0.3, 5, 40])
EXITS = st.sampled_from([0, 0, 1])
RANGES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 2)).map(lambda one: (one[0], one[0] + one[1])),
    max_size=2,
)
PREPARATION: dict[str, Any] = {"jobPreparationTask": {"commandLine": "sleep 2"}}
RELEASE: dict[str, Any] = {"jobReleaseTask": {"commandLine": "sleep 4"}}
SPECIALS = st.sampled_from([{}, {}, PREPARATION, PREPARATION | RELEASE])
JOB_SETTINGS = st.fixed_dictionaries(
    {
        "priority": st.sampled_from([0, 0, 100]),
        "allowTaskPreemption": st.booleans(),
        "maxParallelTasks": st.sampled_from([-1, -1, 1, 2]),
        "usesTaskDependencies": st.just(True),
        "onTaskFailure": st.sampled_from(["noaction", "performexitoptionsjobaction"]),
        "constraints": st.sampled_from(
            [{}, {"maxTaskRetryCount": 1}, {"maxWallClockTime": "PT2M"}]
        ),
    }
)
JOB_OPTIONS = st.tuples(JOB_SETTINGS, SPECIALS).map(lambda two: two[0] | two[1])
OPTIONS = st.sampled_from(["requeue", "terminate", "taskcompletion", "retaineddata"])
ACTIONS = {
    "reboot_node": "nodeRebootOption",
    "reimage_node": "nodeReimageOption",
    "deallocate_node": "nodeDeallocateOption",
    "start_node": None,
    "disable_node_scheduling": "nodeDisableSchedulingOption",
    "enable_node_scheduling": None,
}
Shown = dict[str, Any]
HOUR_S = 3600
REHEARSAL_S = 110  # longer than any rehearsal
LONG_S = 20_000  # longer than all tasks that fit into one example, one after the other


class ServerMachine(RuleBasedStateMachine):
    """Requests, faults, time and restarts in any order."""

    def __init__(self) -> None:
        super().__init__()
        ram = Path("/dev/shm")
        self.folder = tempfile.mkdtemp(dir=ram if ram.is_dir() else None)
        logging.disable(logging.CRITICAL)  # failures of the database are told at length
        self.orders = 0
        self.holds = False
        script = Script(fate=self.fate, removal=lambda node_id: "held" if self.holds else None)
        self.bench = Bench(Path(self.folder), script, window_tasks=3)
        self.cut: list[str] = []

    def try_ask(self, name: str, body: object = None, **given: Any) -> None:
        """Ask; a refusal is an answer too. Time stands still."""
        try:
            answer = self.bench.ask(name, body, settled=False, **given)
            note(f"{name} {answer}")
        except Refused as refused:
            note(f"{name}: {refused.code}")
        self.bench.settle()
        self.bench.check()

    def fate(self, order: NodeOrder) -> NodeFate:
        """One node in three takes its time, one in ten dies at once."""
        self.orders += 1
        if self.orders % 10 == 0:
            return NodeFate(start_s=None, dies_after_s=0.2)
        return NodeFate(start_s=2.0 if self.orders % 3 == 0 else 0.0)

    # -- pools ------------------------------------------------------------------------------

    @initialize(
        slots=st.integers(1, 3),
        fill=st.sampled_from(["pack", "spread"]),
        start=st.sampled_from([{}, {}, {"waitForSuccess": False}, {"waitForSuccess": True}]),
        options=st.tuples(JOB_OPTIONS, JOB_OPTIONS),
    )
    def begin(self, slots: int, fill: str, start: Shown, options: tuple[Shown, Shown]) -> None:
        given: Shown = {"taskSchedulingPolicy": {"nodeFillType": fill}}
        if start:
            given["startTask"] = start | {"commandLine": "sleep 3"}
        self.try_ask("create_pool", a_pool("p", nodes=2, slots=slots, **given))
        for job, given in zip(JOBS, options, strict=True):
            self.try_ask("create_job", a_job(job, **given))

    @rule(
        pool=st.sampled_from(POOLS), nodes=st.integers(0, 3), spot=st.integers(0, 1), option=OPTIONS
    )
    def size_pool(self, pool: str, nodes: int, spot: int, option: str) -> None:
        if any(one.id == pool for one in self.bench.owner.memory.pools.values()):
            body = {
                "targetDedicatedNodes": nodes,
                "targetLowPriorityNodes": spot,
                "nodeDeallocationOption": option,
            }
            self.try_ask("resize_pool", body, pool_id=pool)
        else:
            self.try_ask("create_pool", a_pool(pool, nodes=nodes, targetLowPriorityNodes=spot))

    @rule(pool=st.sampled_from(POOLS), nodes=st.integers(0, 3), option=OPTIONS)
    def scale_pool(self, pool: str, nodes: int, option: str) -> None:
        text = f"$TargetDedicatedNodes = min({nodes}, $PendingTasks); "
        text += f"$TargetLowPriorityNodes = $ActiveTaskSlots > 3; $NodeDeallocationOption={option};"
        body = {"autoScaleFormula": text, "autoScaleEvaluationInterval": "PT5M"}
        self.try_ask("enable_pool_auto_scale", body, pool_id=pool)

    @rule(pool=st.sampled_from(POOLS))
    def scale_no_more(self, pool: str) -> None:
        self.try_ask("disable_pool_auto_scale", pool_id=pool)

    @rule(which=st.integers(0, 3), option=OPTIONS)
    def remove_node(self, which: int, option: str) -> None:
        nodes = self.present("p")
        if nodes:
            body = {"nodeList": [nodes[which % len(nodes)]], "nodeDeallocationOption": option}
            self.try_ask("remove_nodes", body, pool_id="p")

    @rule(which=st.integers(0, 3), action=st.sampled_from(sorted(ACTIONS)), option=OPTIONS)
    def act_on_node(self, which: int, action: str, option: str) -> None:
        nodes = self.present("p")
        if nodes:
            name = ACTIONS[action]
            is_known = option != "retaineddata" or action != "disable_node_scheduling"
            body = {name: option} if name and is_known else None
            self.try_ask(action, body, pool_id="p", node_id=nodes[which % len(nodes)])

    @rule(start=st.sampled_from([None, True, False]))
    def change_start_task(self, start: bool | None) -> None:
        body: Shown = {"applicationPackageReferences": [], "metadata": []}
        if start is not None:
            body["startTask"] = {"commandLine": "sleep 4", "waitForSuccess": start}
        self.try_ask("replace_pool_properties", body, pool_id="p")

    @rule(pool=st.sampled_from(POOLS), name=st.sampled_from(["stop_pool_resize", "delete_pool"]))
    def end_pool(self, pool: str, name: str) -> None:
        self.try_ask(name, pool_id=pool)

    # -- jobs -------------------------------------------------------------------------------

    @rule(
        job=JOB,
        priority=st.sampled_from([-10, 0, 100]),
        parallel=st.sampled_from([-1, 1]),
        yields=st.booleans(),
    )
    def patch_job(self, job: str, priority: int, parallel: int, yields: bool) -> None:
        body = {
            "priority": priority,
            "maxParallelTasks": parallel,
            "allowTaskPreemption": yields,
        }
        self.try_ask("update_job", body, job_id=job)

    @rule(job=JOB, change=st.sampled_from(["terminatejob", *POOLS]))
    def change_job(self, job: str, change: str) -> None:
        body: Shown = {"poolInfo": {"poolId": change}}
        if change == "terminatejob":
            body = {"onAllTasksComplete": change}
        self.try_ask("update_job", body, job_id=job)

    @rule(job=JOB, option=st.sampled_from(["requeue", "terminate", "wait"]))
    def disable_job(self, job: str, option: str) -> None:
        self.try_ask("disable_job", {"disableTasks": option}, job_id=job)

    @rule(job=JOB)
    def enable_job(self, job: str) -> None:
        self.try_ask("enable_job", job_id=job)

    @rule(
        job=JOB,
        name=st.sampled_from(["terminate_job", "delete_job"]),
        query=st.sampled_from([None, {"force": "true"}]),
    )
    def end_job(self, job: str, name: str, query: dict[str, str] | None) -> None:
        self.try_ask(name, job_id=job, query=query)

    # -- tasks ------------------------------------------------------------------------------

    def make_room(self, job: str, given: Shown) -> None:
        """Make the job anew if it has ended."""
        try:
            if self.bench.job(job)["state"] == "completed":
                self.try_ask("delete_job", job_id=job)
        except Refused:
            self.try_ask("create_job", a_job(job, **given))

    @rule(
        job=JOB,
        given=JOB_OPTIONS,
        tasks=st.lists(TASK, min_size=1, max_size=5, unique=True),
        seconds=SECONDS,
        slots=st.sampled_from([1, 1, 2, 3]),
        exits=EXITS,
    )
    def add_tasks(
        self, job: str, given: Shown, tasks: list[str], seconds: float, slots: int, exits: int
    ) -> None:
        self.make_room(job, given)
        value = [a_task(one, seconds=seconds, slots=slots, exits=exits) for one in tasks]
        self.try_ask("create_task_collection", {"value": value}, job_id=job)

    @rule(
        task=TASK,
        parents=st.lists(TASK, max_size=3),
        ranges=RANGES,
        seconds=SECONDS,
        exits=EXITS,
        action=st.sampled_from(["satisfy", "block"]),
        job_action=st.sampled_from([None, "none", "disable", "terminate"]),
    )
    def add_dependent(
        self,
        task: str,
        parents: list[str],
        ranges: list[tuple[int, int]],
        seconds: float,
        exits: int,
        action: str,
        job_action: str | None,
    ) -> None:
        job = JOBS[0]
        memory = self.bench.owner.memory
        acts = any(one.id == job and one.acts_on_failure for one in memory.jobs.values())
        options = {"dependencyAction": action}
        if job_action and acts:
            options["jobAction"] = job_action
        body = a_task(task, seconds=seconds, exits=exits, exitConditions={"default": options})
        if parents or ranges:
            body |= depends_on(*parents, ranges=ranges)
        self.try_ask("create_task", body, job_id=job)

    @rule(
        job=JOB,
        which=st.integers(0, 7),
        name=st.sampled_from(["terminate_task", "delete_task", "reactivate_task"]),
    )
    def change_task(self, job: str, which: int, name: str) -> None:
        try:
            tasks = sorted(self.bench.tasks(job))
        except Refused:
            return
        if tasks:
            self.try_ask(name, job_id=job, task_id=tasks[which % len(tasks)])

    @rule(job=JOB, which=st.integers(0, 7), retries=st.sampled_from([None, 0, 1, 2]))
    def constrain_task(self, job: str, which: int, retries: int | None) -> None:
        try:
            tasks = sorted(self.bench.tasks(job))
        except Refused:
            return
        body: Shown = {} if retries is None else {"constraints": {"maxTaskRetryCount": retries}}
        if tasks:
            self.try_ask("replace_task", body, job_id=job, task_id=tasks[which % len(tasks)])

    @rule(job=JOB)
    def explain_tasks(self, job: str) -> None:
        """Whatever waits has a reason, and nothing else has one."""
        try:
            tasks = self.bench.task_states(job)
            for task_id, state in tasks.items():
                found = self.bench.ask("explain_task", job_id=job, task_id=task_id, settled=False)
                assert bool(found["reasons"]) is (state in ("active", "preparing")), found
        except Refused as refused:
            if refused.code not in ("JobNotFound", "ServerBusy"):
                raise

    # -- faults and time --------------------------------------------------------------------

    def present(self, pool: str) -> list[str]:
        nodes = self.bench.owner.memory.nodes.values()
        return [node.id for node in nodes if node.pool_id == pool]

    def alive(self) -> list[str]:
        return [node.node_id for node in self.bench.engine.list_nodes() if node.alive]

    @rule(which=st.integers(0, 5))
    def kill_node(self, which: int) -> None:
        nodes = self.alive()
        if nodes:
            self.bench.engine.kill_node(nodes[which % len(nodes)])
            self.bench.settle()
            self.bench.check()

    @rule(which=st.integers(0, 5))
    def cut_node(self, which: int) -> None:
        nodes = self.alive()
        if nodes:
            self.bench.engine.cut(nodes[which % len(nodes)])
            self.bench.settle()
            self.bench.check()

    @rule()
    def mend_nodes(self) -> None:
        for node_id in self.alive():
            self.bench.engine.mend(node_id)
            self.bench.settle()
        self.bench.check()

    @rule(holds=st.sampled_from([True, False, False]))
    def hold_nodes(self, holds: bool) -> None:
        """From now on the engine cannot remove nodes; or it can."""
        self.holds = holds

    @rule(seconds=st.sampled_from([0.001, 0.025, 0.5, 6, 61]))
    def advance(self, seconds: float) -> None:
        self.bench.advance(seconds)
        self.bench.check()

    @rule(
        kind=st.sampled_from(["preempt", "unusable", "lost", "start-task", "resize", "quota"]),
        pool=st.sampled_from(POOLS),
        for_s=st.sampled_from([0.5, 20.0, 100.0]),
        quota=st.sampled_from(["pools", "cores", "low-priority-cores"]),
        code=st.sampled_from([None, "AllocationFailed"]),
    )
    def rehearse(self, kind: str, pool: str, for_s: float, quota: str, code: str | None) -> None:
        body = RehearsalCreate(kind=kind, for_s=for_s)
        if kind == "quota":
            body.quota = quota
        else:
            body.pool_id = pool
        if kind == "resize":
            body.error_code = code
        self.try_call(begin_rehearsal, body)

    @rule()
    def stop_rehearsal(self) -> None:
        for key in list(self.bench.owner.memory.rehearsals):
            self.try_call(stop_rehearsal, key)

    def try_call(self, function: Callable[..., Shown], *given: object) -> None:
        """Have the owner do what is no operation of the table."""
        try:
            note(f"{function.__name__} {self.bench.owner.call(function, *given)}")
        except Refused as refused:
            note(f"{function.__name__}: {refused.code}")
        self.bench.settle()
        self.bench.check()

    @rule(good=st.integers(0, 40), times=st.integers(1, 3))
    def break_database(self, good: int, times: int) -> None:
        """One of the next statements fails, whatever asks for it."""
        self.bench.database.break_down(good, times)

    @rule(resume=st.sampled_from(["before", "after"]))
    def restart(self, resume: str) -> None:
        self.bench.database.mend()  # a server that can't read its database does not start
        self.bench.restart(resume=resume)
        self.bench.check()

    # -- the end ----------------------------------------------------------------------------

    def teardown(self) -> None:
        logging.disable(logging.NOTSET)
        try:
            self.let_everything_end()
        finally:
            self.bench.close()
            shutil.rmtree(self.folder)

    def revive_nodes(self) -> None:
        """Reboot those whose start task was made to fail; wake those that rest or take nothing."""
        for node in list(self.bench.owner.memory.nodes.values()):
            where = {"pool_id": node.pool_id, "node_id": node.id}
            if node.state == "starttaskfailed":
                self.try_ask("reboot_node", **where)
            elif node.state == "deallocated":
                self.try_ask("start_node", **where)
            if node.scheduling == "disabled":
                self.try_ask("enable_node_scheduling", **where)

    def too_large(self, job_key: int, pool_id: str, nodes: int) -> set[str]:
        """Ids of tasks that need more nodes than there are."""
        return set()

    def let_everything_end(self) -> None:
        bench = self.bench
        bench.database.mend()
        self.holds = False
        bench.advance(REHEARSAL_S)
        self.mend_nodes()
        self.revive_nodes()
        if bench.owner.memory.scales:
            bench.advance(HOUR_S)
            for pool_id in POOLS:  # an example does not need samples of the long time
                self.try_ask("disable_pool_auto_scale", pool_id=pool_id)
        bench.advance(LONG_S)
        self.revive_nodes()  # those that first had to end their tasks
        bench.advance(LONG_S)
        bench.check()
        memory = bench.owner.memory
        for job in memory.jobs.values():
            assert job.state in ("active", "disabled"), job
            pool = memory.pools.get(job.pool_key or 0)
            healthy = [node for node in memory.nodes.values() if node.pool_key == job.pool_key]
            rows = bench.reader.execute(
                "SELECT id, slots FROM task WHERE job_key = ? AND phase = ?", (job.key, READY)
            ).fetchall()
            if job.state == "active" and pool is not None and healthy:
                large = self.too_large(job.key, pool.id, len(healthy))
                left = [one for one in rows if one[1] <= pool.slots and one[0] not in large]
                assert left == []
        assert not memory.placed
        for pool in memory.pools.values():
            assert (pool.state, pool.allocation_state) == ("active", "steady")
        assert {node.state for node in memory.nodes.values()} <= {"idle"}


TestServerMachine = ServerMachine.TestCase
TestServerMachine.settings = settings(
    max_examples=150,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
