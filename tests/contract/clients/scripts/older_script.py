"""azure-batch 14.2: every operation of every group, with every option."""

from __future__ import annotations

from datetime import timedelta

import azure.batch.models as m
from ledger import equal, until
from older_calls import (
    LOGS_URL,
    LONG_AGO,
    call,
    check_options,
    conditional,
    ledger,
    now,
    offered,
    refused,
)
from older_certificates import certificates

POOL, SECOND, JOB, LONE, SCHEDULE = "old-pool", "old-pool-2", "old-job", "old-lone", "old-schedule"
MACHINE = m.VirtualMachineConfiguration(
    image_reference=m.ImageReference(
        publisher="canonical", offer="ubuntu-24_04-lts", sku="server", version="latest"
    ),
    node_agent_sku_id="batch.node.ubuntu 24.04",
)
PAIRS = [m.MetadataItem(name="team", value="red")]
STATS = {"select": "id,state", "expand": "stats"}


def main() -> None:
    for step in (
        account,
        pools,
        formulas,
        nodes,
        jobs,
        tasks,
        files,
        schedules,
        certificates,
        endings,
    ):
        with ledger.of(step.__name__):
            step()
    check_options()
    ledger.print(offered())


def account() -> None:
    with ledger.of("application.list"):
        equal(call("application.list", max_results=5), [])
    with ledger.of("application.get"):
        refused(404, "ApplicationNotFound", "application.get", "blender")
    with ledger.of("account.list_supported_images"):
        text = "osType eq 'linux'"
        found = call("account.list_supported_images", filter=text, max_results=2)
        assert MACHINE.node_agent_sku_id in {one.node_agent_sku_id for one in found}, found
        equal({one.os_type for one in found}, {m.OSType.linux})


def pools() -> None:
    with ledger.of("pool.add"):
        start = m.StartTask(
            command_line="/bin/true",
            wait_for_success=True,
            max_task_retry_count=1,
            environment_settings=[m.EnvironmentSetting(name="N", value="v")],
        )
        pool = m.PoolAddParameter(
            id=POOL,
            display_name="A pool",
            vm_size="standard_d2_v2",
            virtual_machine_configuration=MACHINE,
            target_dedicated_nodes=2,
            target_low_priority_nodes=0,
            resize_timeout=timedelta(minutes=10),
            task_slots_per_node=2,
            task_scheduling_policy=m.TaskSchedulingPolicy(node_fill_type="Pack"),
            start_task=start,
            metadata=PAIRS,
            target_node_communication_mode="simplified",
        )
        call("pool.add", pool)
        second = m.PoolAddParameter(
            id=SECOND, vm_size="standard_d2_v2", virtual_machine_configuration=MACHINE
        )
        call("pool.add", second)
        refused(409, "PoolExists", "pool.add", second)
    with ledger.of("pool.get"):
        until(lambda: call("pool.get", POOL).allocation_state == m.AllocationState.steady)
        found = call("pool.get", POOL)
        equal((found.id, found.display_name, found.current_dedicated_nodes), (POOL, "A pool", 2))
        equal(found.resize_timeout, timedelta(minutes=10))
        equal(found.start_task.environment_settings[0].value, "v")
        equal(found.metadata[0].name, "team")
        part = conditional("pool.get", POOL, etag=found.e_tag, **STATS)
        equal((part.id, part.state, part.vm_size), (POOL, m.PoolState.active, None))
        refused(404, "PoolNotFound", "pool.get", "none")
    with ledger.of("pool.exists"):
        equal(conditional("pool.exists", POOL, etag=call("pool.get", POOL).e_tag), True)
        equal(call("pool.exists", "none"), False)
    with ledger.of("pool.list"):
        text = f"startswith(id,'{POOL}')"
        found = call("pool.list", filter=text, max_results=1, **STATS)
        equal([one.id for one in found], [POOL, SECOND])
    with ledger.of("pool.patch"):
        changes = m.PoolPatchParameter(metadata=[m.MetadataItem(name="a", value="b")])
        conditional("pool.patch", POOL, changes, etag=call("pool.get", POOL).e_tag)
        found = call("pool.get", POOL)
        equal((found.metadata[0].name, found.start_task.command_line), ("a", "/bin/true"))
    with ledger.of("pool.update_properties"):
        changes = m.PoolUpdatePropertiesParameter(
            application_package_references=[], certificate_references=[], metadata=[]
        )
        call("pool.update_properties", SECOND, changes)
        equal(call("pool.get", SECOND).start_task, None)
    with ledger.of("pool.resize", "pool.stop_resize"):
        size = m.PoolResizeParameter(
            target_dedicated_nodes=1,
            target_low_priority_nodes=1,
            resize_timeout=timedelta(minutes=5),
            node_deallocation_option=m.ComputeNodeDeallocationOption.requeue,
        )
        conditional("pool.resize", SECOND, size, etag=call("pool.get", SECOND).e_tag)
        conditional("pool.stop_resize", SECOND, etag=call("pool.get", SECOND).e_tag)
        until(lambda: call("pool.get", SECOND).allocation_state == m.AllocationState.steady)
    with ledger.of("account.list_pool_node_counts"):
        text = f"poolId eq '{POOL}'"
        (found,) = call("account.list_pool_node_counts", filter=text, max_results=10)
        equal((found.pool_id, found.dedicated.total), (POOL, 2))
    with ledger.of("pool.list_usage_metrics"):
        found = call(
            "pool.list_usage_metrics",
            start_time=now() - timedelta(hours=2),
            end_time=now() + timedelta(minutes=1),
            filter=f"poolId eq '{POOL}'",
            max_results=5,
        )
        equal({one.pool_id for one in found}, {POOL})
        assert all(one.total_core_hours > 0 for one in found), found


def formulas() -> None:
    """Accepted, or refused as not carried out yet by a service that says so."""
    formula = "$TargetDedicatedNodes = 0;"
    enable, evaluate, disable = (
        f"pool.{verb}_auto_scale" for verb in ("enable", "evaluate", "disable")
    )
    with ledger.of(enable, evaluate, disable):
        etag = call("pool.get", SECOND).e_tag
        every = {"if_match": etag, "if_none_match": "0x1", "if_modified_since": LONG_AGO}
        every["if_unmodified_since"] = now() + timedelta(hours=1)
        try:
            call(enable, SECOND, formula, timedelta(minutes=6), **every)
        except m.BatchErrorException as error:
            equal(error.error.code, "NotImplemented")
            refused(501, "NotImplemented", evaluate, SECOND, formula)
            refused(501, "NotImplemented", disable, SECOND)
            return
        equal(call("pool.get", SECOND).auto_scale_formula, formula)
        run = call(evaluate, SECOND, formula)
        assert "$TargetDedicatedNodes=0" in run.results, run.results
        call(disable, SECOND)
        equal(call("pool.get", SECOND).enable_auto_scale, False)


def wait_idle(node_id: str) -> None:
    until(lambda: call("compute_node.get", POOL, node_id).state == m.ComputeNodeState.idle)


def nodes() -> None:
    with ledger.of("compute_node.list"):
        text = {"filter": "state eq 'idle'", "select": "id,state", "max_results": 1}
        until(lambda: len(call("compute_node.list", POOL, **text)) == 2)
        first = call("compute_node.list", POOL, **text)[0].id
    with ledger.of("compute_node.get"):
        found = call("compute_node.get", POOL, first)
        equal((found.state, found.vm_size), (m.ComputeNodeState.idle, "standard_d2_v2"))
        assert found.allocation_time <= found.last_boot_time, found
        equal(call("compute_node.get", POOL, first, select="id").state, None)
    with ledger.of("compute_node.disable_scheduling", "compute_node.enable_scheduling"):
        call("compute_node.disable_scheduling", POOL, first, "requeue")
        until(lambda: call("compute_node.get", POOL, first).state == m.ComputeNodeState.offline)
        call("compute_node.enable_scheduling", POOL, first)
        wait_idle(first)
    for verb, option in (("reboot", "terminate"), ("reimage", "requeue")):
        with ledger.of(f"compute_node.{verb}"):
            before = call("compute_node.get", POOL, first).last_boot_time
            call(f"compute_node.{verb}", POOL, first, option)
            until(lambda b=before: call("compute_node.get", POOL, first).last_boot_time > b)
            wait_idle(first)
    with ledger.of(*(f"compute_node.{verb}_user" for verb in ("add", "update", "delete"))):
        user = m.ComputeNodeUser(
            name="olduser",
            is_admin=True,
            password="s3cret-Pass!",
            expiry_time=now() + timedelta(hours=1),
        )
        call("compute_node.add_user", POOL, first, user)
        changes = m.NodeUpdateUserParameter(ssh_public_key="ssh-rsa AAAA x")
        call("compute_node.update_user", POOL, first, "olduser", changes)
        call("compute_node.delete_user", POOL, first, "olduser")
        refused(404, "NodeUserNotFound", "compute_node.delete_user", POOL, first, "olduser")
    with ledger.of("compute_node.get_remote_login_settings"):
        found = call("compute_node.get_remote_login_settings", POOL, first)
        assert found.remote_login_port > 0, found
        assert found.remote_login_ip_address, found
    with ledger.of("compute_node.get_remote_desktop"):
        text = call("compute_node.get_remote_desktop", POOL, first)
        assert text.startswith(b"full address:s:"), text
    with ledger.of("compute_node.upload_batch_service_logs"):
        wanted = m.UploadBatchServiceLogsConfiguration(
            container_url=LOGS_URL, start_time=LONG_AGO, end_time=now()
        )
        found = call("compute_node.upload_batch_service_logs", POOL, first, wanted)
        assert found.number_of_files_uploaded >= 1, found
    with ledger.of("compute_node_extension.list"):
        word = {"select": "vmExtension", "max_results": 5}
        equal(call("compute_node_extension.list", POOL, first, **word), [])
    with ledger.of("compute_node_extension.get"):
        refused(
            404, "ResourceNotFound", "compute_node_extension.get", POOL, first, "any",
            select="vmExtension",
        )  # fmt: skip


def jobs() -> None:
    with ledger.of("job.add"):
        job = m.JobAddParameter(
            id=JOB,
            display_name="A job",
            priority=5,
            max_parallel_tasks=3,
            allow_task_preemption=True,
            uses_task_dependencies=True,
            pool_info=m.PoolInformation(pool_id=POOL),
            constraints=m.JobConstraints(
                max_wall_clock_time=timedelta(hours=1), max_task_retry_count=2
            ),
            metadata=PAIRS,
            on_all_tasks_complete=m.OnAllTasksComplete.no_action,
            on_task_failure=m.OnTaskFailure.no_action,
        )
        call("job.add", job)
        lone = m.JobAddParameter(id=LONE, pool_info=m.PoolInformation(pool_id="none"))
        call("job.add", lone)
        refused(409, "JobExists", "job.add", lone)
    with ledger.of("job.get"):
        found = call("job.get", JOB)
        equal((found.id, found.priority, found.state), (JOB, 5, m.JobState.active))
        equal(found.constraints.max_wall_clock_time, timedelta(hours=1))
        equal(found.pool_info.pool_id, POOL)
        equal(found.on_all_tasks_complete, m.OnAllTasksComplete.no_action)
        equal(conditional("job.get", JOB, etag=found.e_tag, **STATS).priority, None)
    with ledger.of("job.list"):
        text = "startswith(id,'old-')"
        found = call("job.list", filter=text, max_results=1, **STATS)
        equal([one.id for one in found], [JOB, LONE])
    with ledger.of("job.patch"):
        changes = m.JobPatchParameter(priority=6, max_parallel_tasks=4)
        conditional("job.patch", JOB, changes, etag=call("job.get", JOB).e_tag)
        found = call("job.get", JOB)
        equal((found.priority, found.max_parallel_tasks, len(found.metadata)), (6, 4, 1))
    with ledger.of("job.update"):
        whole = m.JobUpdateParameter(pool_info=m.PoolInformation(pool_id=POOL), priority=7)
        conditional("job.update", JOB, whole, etag=found.e_tag)
        found = call("job.get", JOB)
        equal((found.priority, found.max_parallel_tasks, found.metadata), (7, -1, None))
    with ledger.of("job.disable", "job.enable"):
        conditional("job.disable", JOB, "requeue", etag=found.e_tag)
        until(lambda: call("job.get", JOB).state == m.JobState.disabled)
        conditional("job.enable", JOB, etag=call("job.get", JOB).e_tag)
        until(lambda: call("job.get", JOB).state == m.JobState.active)
    with ledger.of("job.list_preparation_and_release_task_status"):
        refused(
            409, "JobPreparationTaskNotSpecified", "job.list_preparation_and_release_task_status",
            JOB, filter="nodeId eq 'n'", select="nodeId", max_results=5,
        )  # fmt: skip


def tasks() -> None:
    with ledger.of("task.add"):
        script = "echo $N; mkdir d; printf 0123456789 > d/f.txt"
        task = m.TaskAddParameter(
            id="t",
            command_line=f"/bin/sh -c '{script}'",
            environment_settings=[m.EnvironmentSetting(name="N", value="v")],
            constraints=m.TaskConstraints(
                max_wall_clock_time=timedelta(minutes=5),
                retention_time=timedelta(hours=1),
                max_task_retry_count=1,
            ),
            required_slots=1,
        )
        call("task.add", JOB, task)
        refused(409, "TaskExists", "task.add", JOB, task)
    with ledger.of("task.add_collection"):
        many = [m.TaskAddParameter(id=f"m{n:03}", command_line="x" * 100) for n in range(250)]
        found = call("task.add_collection", LONE, many, threads=3)
        equal({one.task_id for one in found.value}, {one.id for one in many})
        equal({one.status for one in found.value}, {m.TaskAddStatus.success})
        few = [m.TaskAddParameter(id="w", command_line="x")]
        equal(call("task.add_collection", LONE, few).value[0].task_id, "w")
        try:
            call("task.add_collection", LONE, [m.TaskAddParameter(id="!", command_line="x")])
        except m.CreateTasksErrorException as error:
            equal([one.task_id for one in error.failure_tasks], ["!"])
        else:
            raise AssertionError("a bad id was taken")
    with ledger.of("task.list"):
        text = "startswith(id,'m') and state eq 'active'"
        found = call("task.list", LONE, filter=text, max_results=100, **STATS)
        equal([one.id for one in found], [one.id for one in many])
    with ledger.of("task.get"):
        until(lambda: call("task.get", JOB, "t").state == m.TaskState.completed)
        found = call("task.get", JOB, "t")
        ended = found.execution_info
        equal((ended.exit_code, ended.result), (0, m.TaskExecutionResult.success))
        equal(found.constraints.retention_time, timedelta(hours=1))
        equal(conditional("task.get", JOB, "t", etag=found.e_tag, **STATS).command_line, None)
    with ledger.of("job.get_task_counts"):
        found = call("job.get_task_counts", LONE)
        equal((found.task_counts.active, found.task_slot_counts.active), (251, 251))
    with ledger.of("task.update"):
        limits = m.TaskConstraints(max_task_retry_count=3)
        conditional("task.update", LONE, "w", limits, etag=call("task.get", LONE, "w").e_tag)
        equal(call("task.get", LONE, "w").constraints.max_task_retry_count, 3)
    with ledger.of("task.terminate", "task.reactivate"):
        conditional("task.terminate", LONE, "w", etag=call("task.get", LONE, "w").e_tag)
        equal(call("task.get", LONE, "w").execution_info.failure_info.code, "TaskEnded")
        conditional("task.reactivate", LONE, "w", etag=call("task.get", LONE, "w").e_tag)
        equal(call("task.get", LONE, "w").state, m.TaskState.active)
    with ledger.of("task.list_subtasks"):
        equal(call("task.list_subtasks", LONE, "w", select="id").value, [])
    with ledger.of("task.delete"):
        conditional("task.delete", LONE, "w", etag=call("task.get", LONE, "w").e_tag)
        refused(404, "TaskNotFound", "task.get", LONE, "w")


def files() -> None:
    node = call("task.get", JOB, "t").node_info
    root = node.task_root_directory
    places = (("task", (JOB, "t"), ""), ("compute_node", (POOL, node.node_id), f"{root}/"))
    for end, where, prefix in places:
        name = f"{prefix}wd/d/f.txt"
        with ledger.of(f"file.list_from_{end}"):
            text = f"startswith(name,'{prefix}wd/d')"
            found = call(f"file.list_from_{end}", *where, True, filter=text, max_results=1)
            equal([one.name for one in found], [f"{prefix}wd/d", name])
            equal(found[1].properties.content_length, 10)
        with ledger.of(f"file.get_properties_from_{end}"):
            found = conditional(f"file.get_properties_from_{end}", *where, name)
            equal(found["Content-Length"], 10)
            equal(found["ocp-batch-file-isdirectory"], False)
        with ledger.of(f"file.get_from_{end}"):
            part = conditional(f"file.get_from_{end}", *where, name, ocp_range="bytes=2-5")
            equal(part, b"2345")
            equal(call(f"file.get_from_{end}", *where, name), b"0123456789")
    for end, where, prefix in places:
        with ledger.of(f"file.delete_from_{end}"):
            gone = f"{prefix}wd/d" if end == "task" else f"{prefix}wd"
            call(f"file.delete_from_{end}", *where, gone, True)
            equal(
                call(f"file.list_from_{end}", *where, True, filter=f"startswith(name,'{gone}')"), []
            )


def schedules() -> None:
    with ledger.of("job_schedule.add"):
        schedule = m.JobScheduleAddParameter(
            id=SCHEDULE,
            display_name="A schedule",
            schedule=m.Schedule(
                do_not_run_after=now() + timedelta(days=1),
                start_window=timedelta(minutes=5),
                recurrence_interval=timedelta(hours=1),
            ),
            job_specification=m.JobSpecification(
                priority=4, pool_info=m.PoolInformation(pool_id="none")
            ),
            metadata=PAIRS,
        )
        call("job_schedule.add", schedule)
        refused(409, "JobScheduleExists", "job_schedule.add", schedule)
    with ledger.of("job_schedule.get"):
        found = call("job_schedule.get", SCHEDULE)
        equal(found.schedule.recurrence_interval, timedelta(hours=1))
        equal(found.job_specification.priority, 4)
        equal(found.execution_info.recent_job.id, f"{SCHEDULE}:job-1")
        part = conditional("job_schedule.get", SCHEDULE, etag=found.e_tag, **STATS)
        equal((part.state, part.schedule), (m.JobScheduleState.active, None))
    with ledger.of("job_schedule.exists"):
        equal(conditional("job_schedule.exists", SCHEDULE, etag=found.e_tag), True)
        equal(call("job_schedule.exists", "none"), False)
    with ledger.of("job_schedule.list"):
        text = f"id eq '{SCHEDULE}'"
        found = call("job_schedule.list", filter=text, max_results=1, **STATS)
        equal([one.id for one in found], [SCHEDULE])
    with ledger.of("job.list_from_job_schedule"):
        text = "state eq 'active'"
        found = call("job.list_from_job_schedule", SCHEDULE, filter=text, max_results=1, **STATS)
        equal([one.id for one in found], [f"{SCHEDULE}:job-1"])
    with ledger.of("job_schedule.patch", "job_schedule.update"):
        changes = m.JobSchedulePatchParameter(metadata=[])
        etag = call("job_schedule.get", SCHEDULE).e_tag
        conditional("job_schedule.patch", SCHEDULE, changes, etag=etag)
        whole = m.JobScheduleUpdateParameter(
            schedule=m.Schedule(recurrence_interval=timedelta(hours=3)),
            job_specification=schedule.job_specification,
        )
        etag = call("job_schedule.get", SCHEDULE).e_tag
        conditional("job_schedule.update", SCHEDULE, whole, etag=etag)
        found = call("job_schedule.get", SCHEDULE)
        equal(found.schedule.recurrence_interval, timedelta(hours=3))
    for verb, state in (("disable", "disabled"), ("enable", "active"), ("terminate", "completed")):
        with ledger.of(f"job_schedule.{verb}"):
            etag = call("job_schedule.get", SCHEDULE).e_tag
            conditional(f"job_schedule.{verb}", SCHEDULE, etag=etag)
            until(lambda s=state: call("job_schedule.get", SCHEDULE).state == s)
    with ledger.of("job_schedule.delete"):
        etag = call("job_schedule.get", SCHEDULE).e_tag
        conditional("job_schedule.delete", SCHEDULE, etag=etag)
        until(lambda: call("job_schedule.exists", SCHEDULE) is False)


def endings() -> None:
    with ledger.of("job.terminate"):
        conditional("job.terminate", JOB, "enough", etag=call("job.get", JOB).e_tag)
        until(lambda: call("job.get", JOB).state == m.JobState.completed)
        equal(call("job.get", JOB).execution_info.terminate_reason, "enough")
    with ledger.of("job.delete"):
        conditional("job.delete", JOB, etag=call("job.get", JOB).e_tag)
        call("job.delete", LONE)
        refused(404, "JobNotFound", "job.delete", "none")
    with ledger.of("pool.remove_nodes"):
        node_id = call("compute_node.list", POOL)[0].id
        leaving = m.NodeRemoveParameter(
            node_list=[node_id],
            resize_timeout=timedelta(minutes=5),
            node_deallocation_option=m.ComputeNodeDeallocationOption.requeue,
        )
        conditional("pool.remove_nodes", POOL, leaving, etag=call("pool.get", POOL).e_tag)
        until(lambda: call("pool.get", POOL).current_dedicated_nodes == 1)
        assert node_id not in [one.id for one in call("compute_node.list", POOL)], node_id
    with ledger.of("pool.delete"):
        conditional("pool.delete", POOL, etag=call("pool.get", POOL).e_tag)
        call("pool.delete", SECOND)
        refused(404, "PoolNotFound", "pool.delete", "none")


main()
