"""Pool, job and tasks as values of the official SDK. Nothing here talks to a service."""

from __future__ import annotations

from azure.batch import models

from .films import Film, Segment

APPLICATION = "transcode-application"  # container of scripts and ffmpeg, in the linked storage
OUTPUT = "transcode-output"
NODES = 2
SLOTS_PER_NODE = 2
JOIN = "join"

# Where the start task's resource files are, for every task of the node.
PROGRAMS = "$AZ_BATCH_NODE_STARTUP_DIR/wd"


def pool(pool_id: str) -> models.BatchPoolCreateOptions:
    """Nodes that fetch the application once, when they join."""
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
        start_task=models.BatchStartTask(
            command_line="./ffmpeg -hide_banner -loglevel error -version",
            resource_files=[
                models.ResourceFile(auto_storage_container_name=APPLICATION, file_mode="0755")
            ],
            wait_for_success=True,
        ),
    )


def job(job_id: str, pool_id: str) -> models.BatchJobCreateOptions:
    """A job whose tasks may wait for one another."""
    return models.BatchJobCreateOptions(
        id=job_id,
        pool_info=models.BatchPoolInfo(pool_id=pool_id),
        uses_task_dependencies=True,
    )


def encode_task(segment: Segment, film_url: str, output_url: str) -> models.BatchTaskCreateOptions:
    """Convert one segment; the result goes to ``segments/`` in the output container."""
    film, result = segment.film.path.name, f"{segment.task_id}.webm"
    script = f"{PROGRAMS}/encode.sh {film} {segment.start_s:.6f} {segment.frames} {result}"
    return models.BatchTaskCreateOptions(
        id=segment.task_id,
        command_line=f"/bin/sh -c '{script}'",
        resource_files=[models.ResourceFile(http_url=film_url, file_path=film)],
        output_files=[output(result, output_url, f"segments/{result}")],
        constraints=models.BatchTaskConstraints(max_task_retry_count=1),
    )


def join_task(
    films: list[Film], film_urls: dict[str, str], segments: list[Segment], output_url: str
) -> models.BatchTaskCreateOptions:
    """When all segments are there, make the films of them."""
    names = " ".join(film.path.name for film in films)
    return models.BatchTaskCreateOptions(
        id=JOIN,
        command_line=f"/bin/sh -c '{PROGRAMS}/join.sh {names}'",
        depends_on=models.BatchTaskDependencies(task_ids=[s.task_id for s in segments]),
        resource_files=[
            models.ResourceFile(auto_storage_container_name=OUTPUT, blob_prefix="segments/"),
            *(
                models.ResourceFile(http_url=film_urls[film.name], file_path=film.path.name)
                for film in films
            ),
        ],
        output_files=[
            output(f"{film.name}.webm", output_url, f"{film.name}.webm") for film in films
        ],
    )


def output(file: str, container_url: str, blob_name: str) -> models.OutputFile:
    """Upload this file of the task's directory when the task succeeded."""
    return models.OutputFile(
        file_pattern=file,
        destination=models.OutputFileDestination(
            container=models.OutputFileBlobContainerDestination(
                container_url=container_url, path=blob_name
            )
        ),
        upload_options=models.OutputFileUploadConfiguration(
            upload_condition=models.OutputFileUploadCondition.TASK_SUCCESS
        ),
    )
