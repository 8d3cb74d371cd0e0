"""The machine of the server with multi-instance tasks among the others."""

from __future__ import annotations

from bench import a_job, a_pool, a_task
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from test_server_machine import EXITS, JOB, JOB_OPTIONS, JOBS, SECONDS, TASK, ServerMachine, Shown

GANGS = (
    "SELECT id, instances FROM multi_instance JOIN task ON key = task_key WHERE task.job_key = ?"
)


class GangMachine(ServerMachine):
    """Its first pool has nodes of one slot that may talk to each other."""

    @initialize(options=st.tuples(JOB_OPTIONS, JOB_OPTIONS))
    def begin(self, options: tuple[Shown, Shown]) -> None:
        given = a_pool("p", nodes=3, slots=1, enableInterNodeCommunication=True)
        self.try_ask("create_pool", given)
        for job, members in zip(JOBS, options, strict=True):
            self.try_ask("create_job", a_job(job, **members))

    @rule(
        job=JOB,
        task=TASK,
        instances=st.integers(1, 4),
        seconds=SECONDS,
        exits=EXITS,
        coordination=st.sampled_from(["true", "sleep 1", "sleep 0.1; exit 1"]),
        retries=st.sampled_from([0, 1]),
    )
    def add_gang(
        self,
        job: str,
        task: str,
        instances: int,
        seconds: float,
        exits: int,
        coordination: str,
        retries: int,
    ) -> None:
        together = {"numberOfInstances": instances, "coordinationCommandLine": coordination}
        limits = {"maxTaskRetryCount": retries}
        body = a_task(task, seconds=seconds, exits=exits, constraints=limits)
        self.try_ask("create_task", body | {"multiInstanceSettings": together}, job_id=job)

    def too_large(self, job_key: int, pool_id: str, nodes: int) -> set[str]:
        gangs = self.bench.reader.execute(GANGS, (job_key,))
        pool = self.bench.owner.memory.pool_of_id(pool_id)
        assert pool is not None
        room = nodes if pool.inter_node else 0  # it may have been deleted and made anew without
        return {task for task, instances in gangs if instances > room}


TestGangMachine = GangMachine.TestCase
TestGangMachine.settings = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
