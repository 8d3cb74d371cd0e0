"""What a well-formed pool or node request must also obey: rules beyond types, state-free."""

from __future__ import annotations

from collections.abc import Sequence

from lote.wire.check_network import check_mounts, check_network
from lote.wire.errors import Refused, invalid_property, missing_property
from lote.wire.formats import check_id
from lote.wire.node import (
    NodeRemove,
    NodeUserCreate,
    NodeUserReplace,
    UploadBatchServiceLogs,
)
from lote.wire.pool import (
    AutoPoolSpecification,
    PoolCreate,
    PoolEnableAutoScale,
    PoolEvaluateAutoScale,
    PoolReplace,
    PoolResize,
    PoolSpecification,
    PoolUpdate,
    StartTask,
    UserAccount,
)
from lote.wire.rules import (
    APPLICATION_PACKAGES_MAX,
    check_at_least,
    check_container,
    check_display_name,
    check_duration,
    check_environment,
    check_exactly_one,
    check_metadata,
    check_packages,
    check_range,
    check_registries,
    check_resource_files,
    check_text,
    check_timestamp,
    check_url,
    check_user_identity,
)
from lote.wire.vm import VirtualMachineConfiguration, VmImageReference

RESIZE_TIMEOUT_MIN_S = 5 * 60  # REST: Resize Pool
AUTOSCALE_INTERVAL_MIN_S = 5 * 60  # REST: Enable Auto Scale
AUTOSCALE_INTERVAL_MAX_S = 168 * 3600  # REST: Enable Auto Scale
FORMULA_CHARS_MAX = 8192  # REST: autoScaleFormula
TASK_SLOTS_MAX = 256  # REST: taskSlotsPerNode
NODES_REMOVED_MAX = 100  # REST: Remove Nodes
USER_NAME_CHARS_MAX = 20  # REST: userAccounts, node users
AUTO_POOL_PREFIX_CHARS_MAX = 20  # REST: autoPoolIdPrefix
DATA_DISK_LUN_MAX = 63  # REST: dataDisks


def check_pool(pool: PoolCreate) -> None:
    """Source: REST, Add Pool."""
    check_id("id", pool.id)
    _check_pool_parts(pool, "")


def check_pool_update(pool: PoolUpdate) -> None:
    """Source: REST, Patch Pool."""
    if pool.vm_size is not None:
        check_text("vmSize", pool.vm_size)
    if pool.virtual_machine_configuration is not None:
        _check_machine("virtualMachineConfiguration", pool.virtual_machine_configuration)
    _check_settings(pool, "")


def check_pool_replace(pool: PoolReplace) -> None:
    """Source: REST, Update Pool Properties."""
    _check_start_task("startTask", pool.start_task)
    packages = pool.application_package_references
    check_packages("applicationPackageReferences", packages, APPLICATION_PACKAGES_MAX)
    check_metadata(pool.metadata)


def check_resize(resize: PoolResize) -> None:
    """No target below 0, a timeout of 5 minutes or more. Source: REST, Resize Pool."""
    check_at_least("targetDedicatedNodes", resize.target_dedicated_nodes, 0)
    check_at_least("targetLowPriorityNodes", resize.target_low_priority_nodes, 0)
    check_duration("resizeTimeout", resize.resize_timeout, RESIZE_TIMEOUT_MIN_S)


def check_removal(removal: NodeRemove) -> None:
    """One to 100 nodes, a timeout of 5 minutes or more. Source: REST, Remove Nodes."""
    count = len(removal.node_list)
    if not 1 <= count <= NODES_REMOVED_MAX:
        reason = f"A removal names 1 to {NODES_REMOVED_MAX} nodes."
        raise invalid_property("nodeList", count, reason)
    for index, node_id in enumerate(removal.node_list):
        check_text(f"nodeList[{index}]", node_id)
    check_duration("resizeTimeout", removal.resize_timeout, RESIZE_TIMEOUT_MIN_S)


def check_enable_auto_scale(request: PoolEnableAutoScale) -> None:
    """Source: REST, Enable Auto Scale."""
    if request.auto_scale_formula is not None:
        check_formula(request.auto_scale_formula)
    _check_interval("autoScaleEvaluationInterval", request.auto_scale_evaluation_interval)


def check_evaluate_auto_scale(request: PoolEvaluateAutoScale) -> None:
    """Source: REST, Evaluate Auto Scale."""
    check_formula(request.auto_scale_formula)


def check_formula(formula: str, name: str = "autoScaleFormula") -> None:
    """Refuse an empty formula, and one of more than 8192 characters (AutoScaleFormulaTooLong)."""
    check_text(name, formula)
    if len(formula) > FORMULA_CHARS_MAX:
        raise Refused("AutoScaleFormulaTooLong")


def check_auto_pool(name: str, auto_pool: AutoPoolSpecification, *, in_schedule: bool) -> None:
    """A prefix of 20 characters at most, a lifetime that exists here, a pool that could be."""
    prefix = auto_pool.auto_pool_id_prefix
    if prefix:
        check_id(name + ".autoPoolIdPrefix", prefix)
        if len(prefix) > AUTO_POOL_PREFIX_CHARS_MAX:
            reason = f"A prefix has at most {AUTO_POOL_PREFIX_CHARS_MAX} characters."
            raise invalid_property(name + ".autoPoolIdPrefix", prefix, reason)
    if auto_pool.pool_lifetime_option == "jobschedule" and not in_schedule:
        reason = "The lifetime of a schedule is possible only inside a job schedule."
        raise invalid_property(name + ".poolLifetimeOption", "jobschedule", reason)
    if auto_pool.pool is None:
        raise missing_property(name + ".pool")
    _check_pool_parts(auto_pool.pool, name + ".pool.")


def check_node_user(user: NodeUserCreate) -> None:
    """Source: REST, Add User to Compute Node."""
    check_user_name("name", user.name)
    check_timestamp("expiryTime", user.expiry_time)


def check_node_user_replace(user: NodeUserReplace) -> None:
    """Source: REST, Update User of Compute Node."""
    check_timestamp("expiryTime", user.expiry_time)


def check_log_upload(upload: UploadBatchServiceLogs) -> None:
    """Source: REST, Upload Batch Service Logs."""
    check_url("containerUrl", upload.container_url)
    check_timestamp("startTime", upload.start_time)
    check_timestamp("endTime", upload.end_time)


def check_user_name(name: str, value: str) -> None:
    """Refuse an empty user name and one of more than 20 characters."""
    check_text(name, value)
    if len(value) > USER_NAME_CHARS_MAX:
        reason = f"A user name has at most {USER_NAME_CHARS_MAX} characters."
        raise invalid_property(name, value, reason)


def _check_pool_parts(pool: PoolCreate | PoolSpecification, prefix: str) -> None:
    check_text(prefix + "vmSize", pool.vm_size)
    _check_scale(pool, prefix)
    machine = pool.virtual_machine_configuration
    given = [
        ("virtualMachineConfiguration", machine),
        ("cloudServiceConfiguration", pool.cloud_service_configuration),
    ]
    check_exactly_one(prefix, given)
    if machine is not None:
        _check_machine(prefix + "virtualMachineConfiguration", machine)
    check_range(prefix + "maxTasksPerNode", pool.max_tasks_per_node, 1, TASK_SLOTS_MAX)
    _check_settings(pool, prefix)


def _check_settings(pool: PoolCreate | PoolSpecification | PoolUpdate, prefix: str) -> None:
    """What a pool is created with and can be patched to."""
    check_display_name(pool.display_name)
    check_range(prefix + "taskSlotsPerNode", pool.task_slots_per_node, 1, TASK_SLOTS_MAX)
    _check_start_task(prefix + "startTask", pool.start_task)
    packages = pool.application_package_references
    check_packages(prefix + "applicationPackageReferences", packages, APPLICATION_PACKAGES_MAX)
    _check_accounts(prefix + "userAccounts", pool.user_accounts or ())
    check_mounts(prefix + "mountConfiguration", pool.mount_configuration or ())
    if pool.network_configuration is not None:
        check_network(prefix + "networkConfiguration", pool.network_configuration)
    check_metadata(pool.metadata)


def _check_scale(pool: PoolCreate | PoolSpecification, prefix: str) -> None:
    check_duration(prefix + "resizeTimeout", pool.resize_timeout, RESIZE_TIMEOUT_MIN_S)
    targets = [
        ("targetDedicatedNodes", pool.target_dedicated_nodes),
        ("targetLowPriorityNodes", pool.target_low_priority_nodes),
    ]
    for name, target in targets:
        check_at_least(prefix + name, target, 0)
        # 0 is what clients that send every member mean by "not given"
        if pool.enable_auto_scale and target:
            reason = "A pool that scales automatically takes no targets."
            raise invalid_property(prefix + name, target, reason)
    interval = pool.auto_scale_evaluation_interval
    if pool.enable_auto_scale:
        if pool.auto_scale_formula is None:
            raise missing_property(prefix + "autoScaleFormula")
        check_formula(pool.auto_scale_formula, prefix + "autoScaleFormula")
        _check_interval(prefix + "autoScaleEvaluationInterval", interval)
    elif pool.auto_scale_formula is not None or interval is not None:
        given = "autoScaleEvaluationInterval" if interval is not None else "autoScaleFormula"
        reason = "The property is allowed only with enableAutoScale."
        raise invalid_property(prefix + given, None, reason)


def _check_interval(name: str, value: str | None) -> None:
    check_duration(name, value, AUTOSCALE_INTERVAL_MIN_S, AUTOSCALE_INTERVAL_MAX_S)


def _check_machine(name: str, machine: VirtualMachineConfiguration) -> None:
    check_text(name + ".nodeAgentSKUId", machine.node_agent_sku_id)
    _check_image(name + ".imageReference", machine.image_reference)
    luns = set()
    for index, disk in enumerate(machine.data_disks or ()):
        lun_name = f"{name}.dataDisks[{index}].lun"
        check_range(lun_name, disk.lun, 0, DATA_DISK_LUN_MAX)
        check_at_least(f"{name}.dataDisks[{index}].diskSizeGB", disk.disk_size_gb, 1)
        if disk.lun in luns:
            raise invalid_property(lun_name, disk.lun, "Two disks have the same number.")
        luns.add(disk.lun)
    container = machine.container_configuration
    if container is not None:
        registries = container.container_registries or ()
        check_registries(name + ".containerConfiguration.containerRegistries", registries)


def _check_image(name: str, image: VmImageReference) -> None:
    market = [image.publisher, image.offer, image.sku]
    ids = [
        ("virtualMachineImageId", image.virtual_machine_image_id),
        ("sharedGalleryImageId", image.shared_gallery_image_id),
        ("communityGalleryImageId", image.community_gallery_image_id),
    ]
    given = [member for member, value in ids if value is not None]
    if given:
        check_exactly_one(name + ".", ids)
        if any(part is not None for part in market):
            reason = "An image id excludes publisher, offer and sku."
            raise invalid_property(f"{name}.{given[0]}", None, reason)
        return
    for member, part in zip(("publisher", "offer", "sku"), market, strict=True):
        if part is None:
            raise missing_property(f"{name}.{member}")
        check_text(f"{name}.{member}", part)


def _check_start_task(name: str, task: StartTask | None) -> None:
    if task is None:
        return
    if task.container_settings is None:
        check_text(name + ".commandLine", task.command_line)
    check_container(name + ".containerSettings", task.container_settings)
    check_resource_files(name + ".resourceFiles", task.resource_files)
    check_environment(name + ".environmentSettings", task.environment_settings)
    check_user_identity(name + ".userIdentity", task.user_identity)
    check_at_least(name + ".maxTaskRetryCount", task.max_task_retry_count, -1)


def _check_accounts(name: str, accounts: Sequence[UserAccount]) -> None:
    names = set()
    for index, account in enumerate(accounts):
        prefix = f"{name}[{index}]"
        check_user_name(prefix + ".name", account.name)
        if account.name.lower() in names:
            raise invalid_property(prefix + ".name", account.name, "Two users have this name.")
        names.add(account.name.lower())
        if account.password is None:
            raise missing_property(prefix + ".password")
        linux = account.linux_user_configuration
        if linux is not None:
            if (linux.uid is None) != (linux.gid is None):
                lacking = "uid" if linux.uid is None else "gid"
                raise missing_property(f"{prefix}.linuxUserConfiguration.{lacking}")
            # 0 is root: a pool's user is an ordinary one, raised by elevationLevel alone
            check_at_least(prefix + ".linuxUserConfiguration.uid", linux.uid, 1)
            check_at_least(prefix + ".linuxUserConfiguration.gid", linux.gid, 1)
