"""What a well-formed pool request must also obey: rules beyond types, state-free."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lote.wire.check_certificates import check_certificate_references
from lote.wire.check_machines import check_machine, check_upgrade_policy
from lote.wire.check_network import check_mounts, check_network
from lote.wire.check_nodes import RESIZE_TIMEOUT_MIN_S, check_user_name
from lote.wire.errors import Refused, invalid_property, missing_property
from lote.wire.formats import check_id
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
    check_resource_files,
    check_text,
    check_user_identity,
)

AUTOSCALE_INTERVAL_MIN_S = 5 * 60  # REST: Enable Auto Scale
AUTOSCALE_INTERVAL_MAX_S = 168 * 3600  # REST: Enable Auto Scale
FORMULA_CHARS_MAX = 8192  # REST: autoScaleFormula
TASK_SLOTS_MAX = 256  # REST: taskSlotsPerNode
AUTO_POOL_PREFIX_CHARS_MAX = 20  # REST: autoPoolIdPrefix
START_TASK_CHARS_MAX = 32_768  # REST: start task, with its resource files and variables
INTER_NODE_NODES_MAX = 100  # REST: enableInterNodeCommunication, batch-service accounts
_LICENSES = ("maya", "vray", "3dsmax", "arnold")  # REST: applicationLicenses, until 2024-02
_OS_FAMILIES = ("2", "3", "4", "5", "6", "7")  # REST: cloudServiceConfiguration, until 2024-02


def check_pool(pool: PoolCreate, interval_min_s: float = AUTOSCALE_INTERVAL_MIN_S) -> None:
    """Source: REST, Add Pool. ``interval_min_s``: the shortest autoScaleEvaluationInterval."""
    check_id("id", pool.id)
    _check_pool_parts(pool, "", interval_min_s)


def check_pool_update(pool: PoolUpdate) -> None:
    """Source: REST, Patch Pool."""
    if pool.vm_size is not None:
        check_text("vmSize", pool.vm_size)
    if pool.virtual_machine_configuration is not None:
        check_machine("virtualMachineConfiguration", pool.virtual_machine_configuration)
    _check_settings(pool, "")


def check_pool_replace(pool: PoolReplace) -> None:
    """Source: REST, Update Pool Properties."""
    _check_start_task("startTask", pool.start_task)
    packages = pool.application_package_references
    check_packages("applicationPackageReferences", packages, APPLICATION_PACKAGES_MAX)
    check_metadata(pool.metadata)
    check_certificate_references("certificateReferences", pool.certificate_references or ())


def check_resize(resize: PoolResize) -> None:
    """No target below 0, a timeout of 5 minutes or more. Source: REST, Resize Pool."""
    check_at_least("targetDedicatedNodes", resize.target_dedicated_nodes, 0)
    check_at_least("targetLowPriorityNodes", resize.target_low_priority_nodes, 0)
    check_duration("resizeTimeout", resize.resize_timeout, RESIZE_TIMEOUT_MIN_S)


def check_inter_node_targets(
    dedicated: int, low_priority: int, prefix: str = "", *, is_dedicated_given: bool = True
) -> None:
    """No more nodes, both kinds together, than may reach each other. Refuses:
    InvalidPropertyValue, for the dedicated ones unless there are none or none were given. Source:
    quotas and limits, pools with inter-node communication."""
    if dedicated + low_priority <= INTER_NODE_NODES_MAX:
        return
    is_dedicated = dedicated > 0 and is_dedicated_given
    name = "targetDedicatedNodes" if is_dedicated else "targetLowPriorityNodes"
    reason = f"A pool with inter-node communication has at most {INTER_NODE_NODES_MAX} nodes."
    raise invalid_property(prefix + name, dedicated if is_dedicated else low_priority, reason)


def check_enable_auto_scale(
    request: PoolEnableAutoScale, interval_min_s: float = AUTOSCALE_INTERVAL_MIN_S
) -> None:
    """Source: REST, Enable Auto Scale. ``interval_min_s``: the shortest interval taken."""
    if request.auto_scale_formula is not None:
        check_formula(request.auto_scale_formula)
    interval = request.auto_scale_evaluation_interval
    _check_interval("autoScaleEvaluationInterval", interval, interval_min_s)


def check_evaluate_auto_scale(request: PoolEvaluateAutoScale) -> None:
    """Source: REST, Evaluate Auto Scale."""
    check_formula(request.auto_scale_formula)


def check_formula(formula: str, name: str = "autoScaleFormula") -> None:
    """Refuse an empty formula, and one of more than 8192 characters (AutoScaleFormulaTooLong)."""
    check_text(name, formula)
    if len(formula) > FORMULA_CHARS_MAX:
        reason = f"A formula has at most {FORMULA_CHARS_MAX} characters; it has {len(formula)}."
        values = [("PropertyName", name), ("Reason", reason)]
        raise Refused("AutoScaleFormulaTooLong", values=values)


def check_auto_pool(
    name: str, auto_pool: AutoPoolSpecification, *, in_schedule: bool, is_new: bool = True
) -> None:
    """A prefix of 20 characters at most, a lifetime that exists here, a pool that could be.

    ``is_new``: one that is not may leave the pool out, as it cannot be changed.
    """
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
        if not is_new:
            return
        raise missing_property(name + ".pool")
    _check_pool_parts(auto_pool.pool, name + ".pool.", AUTOSCALE_INTERVAL_MIN_S)


def _check_pool_parts(
    pool: PoolCreate | PoolSpecification, prefix: str, interval_min_s: float
) -> None:
    check_text(prefix + "vmSize", pool.vm_size)
    _check_scale(pool, prefix, interval_min_s)
    machine = pool.virtual_machine_configuration
    given = [
        ("virtualMachineConfiguration", machine),
        ("cloudServiceConfiguration", pool.cloud_service_configuration),
    ]
    check_exactly_one(prefix, given)
    if machine is not None:
        check_machine(prefix + "virtualMachineConfiguration", machine)
    cloud_service = pool.cloud_service_configuration
    if cloud_service is not None and cloud_service.os_family not in _OS_FAMILIES:
        reason = f"One of these is expected: {', '.join(_OS_FAMILIES)}."
        name = prefix + "cloudServiceConfiguration.osFamily"
        raise invalid_property(name, cloud_service.os_family, reason)
    check_range(prefix + "maxTasksPerNode", pool.max_tasks_per_node, 1, TASK_SLOTS_MAX)
    _check_settings(pool, prefix)


def _check_settings(pool: PoolCreate | PoolSpecification | PoolUpdate, prefix: str) -> None:
    """What a pool is created with and can be patched to."""
    check_display_name(pool.display_name, prefix)
    check_range(prefix + "taskSlotsPerNode", pool.task_slots_per_node, 1, TASK_SLOTS_MAX)
    _check_start_task(prefix + "startTask", pool.start_task)
    packages = pool.application_package_references
    check_packages(prefix + "applicationPackageReferences", packages, APPLICATION_PACKAGES_MAX)
    _check_accounts(prefix + "userAccounts", pool.user_accounts or ())
    check_mounts(prefix + "mountConfiguration", pool.mount_configuration or ())
    if pool.upgrade_policy is not None:
        check_upgrade_policy(prefix + "upgradePolicy", pool.upgrade_policy)
    if pool.network_configuration is not None:
        check_network(prefix + "networkConfiguration", pool.network_configuration)
    check_metadata(pool.metadata, prefix)
    if not isinstance(pool, PoolUpdate):
        _check_licenses(prefix + "applicationLicenses", pool.application_licenses or ())
    check_certificate_references(
        prefix + "certificateReferences", pool.certificate_references or ()
    )


def _check_licenses(name: str, licenses: Sequence[str]) -> None:
    for index, product in enumerate(licenses):
        if product.lower() not in _LICENSES:
            reason = f"One of these is expected: {', '.join(_LICENSES)}."
            raise invalid_property(f"{name}[{index}]", product, reason)


def _check_scale(pool: PoolCreate | PoolSpecification, prefix: str, interval_min_s: float) -> None:
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
    if pool.enable_inter_node_communication:
        check_inter_node_targets(
            pool.target_dedicated_nodes or 0, pool.target_low_priority_nodes or 0, prefix
        )
    interval = pool.auto_scale_evaluation_interval
    if pool.enable_auto_scale:
        if pool.auto_scale_formula is None:
            raise missing_property(prefix + "autoScaleFormula")
        check_formula(pool.auto_scale_formula, prefix + "autoScaleFormula")
        _check_interval(prefix + "autoScaleEvaluationInterval", interval, interval_min_s)
    elif pool.auto_scale_formula is not None or interval is not None:
        given = "autoScaleEvaluationInterval" if interval is not None else "autoScaleFormula"
        reason = "The property is allowed only with enableAutoScale."
        raise invalid_property(prefix + given, None, reason)


def _check_interval(name: str, value: str | None, min_s: float) -> None:
    check_duration(name, value, min_s, AUTOSCALE_INTERVAL_MAX_S)


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
    if len(msgspec.json.encode(task)) > START_TASK_CHARS_MAX:
        reason = f"A start task has at most {START_TASK_CHARS_MAX} characters."
        values = [("PropertyName", name), ("Reason", reason)]
        raise Refused("RequestEntityTooLarge", values=values)


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
