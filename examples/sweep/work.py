"""Pool, job and tasks as values of the official SDK. Nothing here talks to a service."""

from __future__ import annotations

from typing import NamedTuple

from azure.batch import models

PROGRAM = "price.py"
NODES = 2
SLOTS_PER_NODE = 2
PATHS = 4000  # a simulation takes some milliseconds
STRIKES = tuple(float(strike) for strike in range(70, 130, 3))  # the stock is at 100


class Point(NamedTuple):
    """One point of the sweep: the work of one task."""

    strike: float
    seed: int

    @property
    def task_id(self) -> str:
        """Also the name of its result."""
        return f"strike-{self.strike:g}-seed-{self.seed:05d}"


def points(count: int) -> list[Point]:
    """``count`` points, the strikes in turn; every one has a seed of its own."""
    return [Point(STRIKES[number % len(STRIKES)], number) for number in range(count)]


def pool(pool_id: str) -> models.BatchPoolCreateOptions:
    """Two nodes; what tasks need comes with the tasks."""
    return models.BatchPoolCreateOptions(
        id=pool_id,
        vm_size="standard_d2s_v3",
        virtual_machine_configuration=models.VirtualMachineConfiguration(
            image_reference=models.BatchVmImageReference(
                publisher="canonical",
                offer="0001-com-ubuntu-server-jammy",
                sku="22_04-lts",
                version="latest",
            ),
            node_agent_sku_id="batch.node.ubuntu 22.04",
        ),
        target_dedicated_nodes=NODES,
        task_slots_per_node=SLOTS_PER_NODE,
    )


def job(job_id: str, pool_id: str) -> models.BatchJobCreateOptions:
    """A job on the pool."""
    return models.BatchJobCreateOptions(id=job_id, pool_info=models.BatchPoolInfo(pool_id=pool_id))


def task(point: Point, program_url: str, output_url: str) -> models.BatchTaskCreateOptions:
    """One line: fetch the program (a node does so once for all), run it, keep what it wrote."""
    return models.BatchTaskCreateOptions(
        id=point.task_id,
        command_line=f"python3 -I -S {PROGRAM} {point.strike:g} {point.seed} {PATHS}",
        resource_files=[models.ResourceFile(http_url=program_url, file_path=PROGRAM)],
        output_files=[
            models.OutputFile(
                file_pattern="price.json",
                destination=models.OutputFileDestination(
                    container=models.OutputFileBlobContainerDestination(
                        container_url=output_url, path=f"{point.task_id}.json"
                    )
                ),
                upload_options=models.OutputFileUploadConfiguration(
                    upload_condition=models.OutputFileUploadCondition.TASK_SUCCESS
                ),
            )
        ],
        constraints=models.BatchTaskConstraints(max_task_retry_count=1),
    )
