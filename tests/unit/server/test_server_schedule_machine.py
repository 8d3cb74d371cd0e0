"""The machine of the server with job schedules and job manager tasks among the others."""

from __future__ import annotations

from collections import Counter

from bench import a_job, a_pool, a_task
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from test_server_machine import (
    EXITS,
    JOB_OPTIONS,
    JOBS,
    POOLS,
    RELEASE,
    SECONDS,
    ServerMachine,
    Shown,
)
from test_server_machine import PREPARATION as PREPARED

from lote.wire.errors import Refused
from lote.wire.formats import format_timestamp

SCHEDULES = ("s", "t")
SCHEDULE = st.sampled_from(SCHEDULES)
MANAGERS = st.one_of(
    st.just({}),
    st.builds(
        lambda seconds, exits, kills, alone: {
            "jobManagerTask": a_task("manager", seconds=seconds, exits=exits)
            | {"killJobOnCompletion": kills, "runExclusive": alone}
        },
        seconds=st.sampled_from([0, 3, 50]),
        exits=EXITS,
        kills=st.booleans(),
        alone=st.booleans(),
    ),
)
ENDS = st.sampled_from([{}, {"onAllTasksComplete": "terminatejob"}])
SPECIALS = st.sampled_from([{}, PREPARED, PREPARED | RELEASE])
SPECIFICATIONS = st.builds(
    lambda pool, manager, ends, special, action: (
        {
            "poolInfo": {"poolId": pool},
            "onTaskFailure": action,
        }
        | manager
        | ends
        | special
    ),
    pool=st.sampled_from(POOLS),
    manager=MANAGERS,
    ends=ENDS,
    special=SPECIALS,
    action=st.sampled_from(["noaction", "performexitoptionsjobaction"]),
)
TIMES = st.fixed_dictionaries(
    {},
    optional={
        "recurrenceInterval": st.sampled_from(["PT1M", "PT2M"]),
        "startWindow": st.sampled_from(["PT1M", "PT5M"]),
        "doNotRunUntil": st.sampled_from([-30, 20]),
        "doNotRunAfter": st.sampled_from([30, 200]),
    },
)
JOB_REQUESTS = st.sampled_from(
    [
        ("disable_job", {"disableTasks": "requeue"}),
        ("disable_job", {"disableTasks": "terminate"}),
        ("disable_job", {"disableTasks": "wait"}),
        ("enable_job", None),
        ("terminate_job", None),
        ("delete_job", None),
        ("update_job", {"onAllTasksComplete": "terminatejob"}),
        ("update_job", {"poolInfo": {"poolId": "q"}}),
        ("update_job", {"priority": 50}),
    ]
)


class ScheduleMachine(ServerMachine):
    """Its jobs may have managers, and some are made by schedules."""

    @initialize(
        slots=st.integers(1, 2), options=st.tuples(JOB_OPTIONS, MANAGERS, JOB_OPTIONS, MANAGERS)
    )
    def begin(self, slots: int, options: tuple[Shown, Shown, Shown, Shown]) -> None:
        self.try_ask("create_pool", a_pool("p", nodes=2, slots=slots))
        for job, one, two in zip(JOBS, options[::2], options[1::2], strict=True):
            self.try_ask("create_job", a_job(job, **(one | two)))

    def moments(self, times: Shown) -> Shown:
        """Times of a schedule: seconds from now become moments."""
        shown = dict(times)
        for name in ("doNotRunUntil", "doNotRunAfter"):
            if name in shown:
                shown[name] = format_timestamp(self.bench.world.now_us() + shown[name] * 1_000_000)
        return shown

    @rule(schedule=SCHEDULE, times=TIMES, specification=SPECIFICATIONS)
    def add_schedule(self, schedule: str, times: Shown, specification: Shown) -> None:
        body = {"id": schedule, "schedule": self.moments(times), "jobSpecification": specification}
        self.try_ask("create_job_schedule", body)
        self.check_jobs()

    @rule(
        schedule=SCHEDULE,
        name=st.sampled_from(["update_job_schedule", "replace_job_schedule"]),
        times=TIMES,
        specification=SPECIFICATIONS,
    )
    def change_schedule(self, schedule: str, name: str, times: Shown, specification: Shown) -> None:
        body = {"schedule": self.moments(times), "jobSpecification": specification}
        self.try_ask(name, body, job_schedule_id=schedule)
        self.check_jobs()

    @rule(
        schedule=SCHEDULE,
        name=st.sampled_from(
            [f"{verb}_job_schedule" for verb in ("enable", "disable", "terminate", "delete")]
        ),
        force=st.booleans(),
    )
    def move_schedule(self, schedule: str, name: str, force: bool) -> None:
        is_end = name in ("terminate_job_schedule", "delete_job_schedule")
        query = {"force": "true"} if force and is_end else None
        self.try_ask(name, job_schedule_id=schedule, query=query)
        self.check_jobs()

    def recent_job(self, schedule: str) -> str | None:
        try:
            shown = self.bench.ask("get_job_schedule", job_schedule_id=schedule, settled=False)
        except Refused:
            return None
        recent = shown["executionInfo"].get("recentJob")
        return None if recent is None else recent["id"]

    @rule(schedule=SCHEDULE, seconds=SECONDS, exits=EXITS, task=st.sampled_from("xyz"))
    def add_scheduled_task(self, schedule: str, seconds: float, exits: int, task: str) -> None:
        job = self.recent_job(schedule)
        if job is not None:
            self.try_ask("create_task", a_task(task, seconds=seconds, exits=exits), job_id=job)

    @rule(schedule=SCHEDULE, asked=JOB_REQUESTS)
    def change_scheduled_job(self, schedule: str, asked: tuple[str, Shown | None]) -> None:
        job = self.recent_job(schedule)
        if job is not None:
            self.try_ask(asked[0], asked[1], job_id=job)
            self.check_jobs()

    def check_jobs(self) -> None:
        """A schedule has one job at a time; the record and the wire agree."""
        jobs = self.bench.owner.memory.jobs.values()
        busy = Counter(job.schedule_key for job in jobs if job.schedule_key is not None)
        assert all(count == 1 for count in busy.values()), busy
        for schedule in SCHEDULES:
            self.recent_job(schedule)

    def let_everything_end(self) -> None:
        self.bench.database.mend()
        self.bench.tick()
        self.check_jobs()
        for schedule in SCHEDULES:
            self.try_ask("terminate_job_schedule", job_schedule_id=schedule)
        super().let_everything_end()
        rows = self.bench.reader.execute("SELECT id, state FROM job_schedule").fetchall()
        assert all(state == "completed" for _, state in rows), rows


TestScheduleMachine = ScheduleMachine.TestCase
TestScheduleMachine.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
