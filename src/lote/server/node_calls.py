"""What comes in from agents about themselves: hello, broken connections, start tasks, troubles."""

from __future__ import annotations

import hashlib

import msgspec

from lote.domain.node import HALTING
from lote.domain.reconcile import reconcile
from lote.server.addresses import node_address
from lote.server.fleet import (
    apply_deallocation,
    lose_node,
    remove_node,
    requeue_all,
    switch_off,
)
from lote.server.gangs import proceed
from lote.server.memory import FORGET, KEEP, Link, NodeState, PoolState
from lote.server.node_orders import SECRET_BYTES, expect_call, request_agent
from lote.server.node_states import make_ready, move_node, show_eligible
from lote.server.owner import Tx
from lote.server.rehearsed import holds_node, rehearsed_start_task
from lote.server.runs import amend, begin, container_text, failure_text, let_go, requeue
from lote.server.special_runs import resume_specials
from lote.server.start_tasks import noted_start_task
from lote.store import nodes as node_rows
from lote.store.cleanings import take_cleanings
from lote.store.events import add_event
from lote.store.records import NO_START_TASK
from lote.wire.formats import format_timestamp
from lote.wire.frames import (
    AutoStorage,
    Clean,
    ContainersReady,
    Hello,
    Kill,
    NodeTrouble,
    RetentionOver,
    Revoke,
    Setup,
    StartTaskReport,
)

# How a node whose agent has ended comes back to ``starting`` (or stays where it was).
_TO_RESTART: dict[str, tuple[str, ...]] = {"creating": (), "starting": ()}


def admit_node(tx: Tx, node_id: str, secret: str) -> int:
    """The row key of the node that calls with its secret. Raises PermissionError."""
    node = tx.memory.node_of_id(node_id)
    digest = hashlib.sha256(secret.encode()).digest()
    if node is None or node.is_lost or node.is_going or digest != node.secret_digest:
        raise PermissionError("unknown node, or its secret is no longer good")
    return node.key


def connect_node(
    tx: Tx,
    node_key: int,
    link: Link,
    hello: Hello,
    account: tuple[str, str],
    auto: AutoStorage | None,
) -> None:
    """An agent said hello on a new connection. ``account``: name and URL for tasks."""
    memory = tx.memory
    node = memory.nodes.get(node_key)
    if node is None or node.is_lost or node.is_going or node.is_halting:
        tx.after.append(link.close)
        return
    old = memory.links.get(node_key)
    if old is not None and old is not link:
        tx.after.append(old.close)
    memory.links[node_key] = node.link = link
    node.told_jobs.clear()
    node.lost_at = None
    pool = memory.pools[node.pool_key]
    is_new_boot = node.boot != hello.boot
    is_to_halt = node.state in HALTING and node.boot is not None
    confirmed = _take_inventory(tx, node, hello)
    if is_new_boot:
        node.boot = hello.boot
        node.has_images = False
        # A start task that the pool is given later is for nodes that boot after that.
        node.start_task = None if pool.start_task is not None else NO_START_TASK
    _record_hello(tx, node, hello, is_new_boot=is_new_boot)
    start_task = _due_start_task(tx, node, pool, is_new_boot=is_new_boot)
    tx.send(node.key, _setup_of(tx, node, pool, start_task, confirmed, account, auto))
    _repeat_orders(tx, node, hello)
    directories = take_cleanings(tx.db, node.key)
    if directories:
        tx.send(node.key, Clean(directories))
    amend(tx, node, confirmed)  # it may not have heard of that, either
    resume_specials(tx, node)
    is_to_empty = is_to_halt or node.state == "leavingpool" or node.scheduling == "disabled"
    if node.deallocation is not None and is_to_empty:
        apply_deallocation(tx, node)  # it has not heard of that, if it was away
    if node.state == "unusable" and not is_new_boot and _has_trouble(tx, node):
        show_eligible(tx, node)  # its trouble is not over because it called again; it tells when
    elif node.state not in ("offline", "leavingpool") and not is_to_halt:
        make_ready(tx, node, pool)
    pool.order_failures = 0
    if node.replaces is not None and node.replaces in memory.nodes:
        remove_node(tx, memory.nodes[node.replaces])
    memory.dirty_nodes.add(node.key)
    memory.touched_pools.add(pool.key)


def _setup_of(
    tx: Tx,
    node: NodeState,
    pool: PoolState,
    start_task: bytes | None,
    confirmed: list[tuple[int, int]],
    account: tuple[str, str],
    auto: AutoStorage | None,
) -> Setup:
    """What a node that calls is told of itself and its pool."""
    return Setup(
        account_name=account[0],
        account_url=account[1],
        pool_id=pool.id,
        is_dedicated=node.is_dedicated,
        slots=pool.slots,
        start_task=start_task,
        start_task_due=start_task is not None,
        auto_storage=auto,
        confirmed=confirmed,
        secure=tx.memory.secure,
        accounts=pool.accounts,
        containers=pool.containers,
        certificates=pool.certificates,
    )


def _due_start_task(tx: Tx, node: NodeState, pool: PoolState, *, is_new_boot: bool) -> bytes | None:
    """The start task that the node is to run now, if any; not the pool's if that came later."""
    start_task = pool.start_task
    if start_task is None or node.start_task is not None:
        return None
    return rehearsed_start_task(tx, pool.id, start_task) if is_new_boot else start_task


def _has_trouble(tx: Tx, node: NodeState) -> bool:
    record = node_rows.get_node_by_key(tx.db, node.key)
    is_told = record is not None and record.errors is not None
    return is_told or holds_node(tx.memory, node.id, "unusable")


def _record_hello(tx: Tx, node: NodeState, hello: Hello, *, is_new_boot: bool) -> None:
    pool = tx.memory.pools[node.pool_key]
    node.address = node_address(pool.engine, node.key, hello.ip_address)
    node_rows.save_node(
        tx.db,
        node.key,
        boot=hello.boot,
        ip_address=node.address,
        agent_version=hello.version,
        operating_system=hello.operating_system,
        seen_us=tx.now_us,
        start_task=node.start_task,
        **({"booted_us": tx.now_us, "errors": None} if is_new_boot else {}),
    )


def _take_inventory(tx: Tx, node: NodeState, hello: Hello) -> list[tuple[int, int]]:
    """Compare what the node should have with what it has; what it lacks is run again."""
    wanted = {one.key: one.run for one in node.placed.values() if not one.is_unsent}
    confirmed, missing = reconcile(wanted, [(one.key, one.run) for one in hello.held])
    for key in missing:
        one = node.placed[key]
        let_go(tx, node, one)
        if one.doom != FORGET:
            requeue(tx, one)
    begun = {one.key for one in hello.held if one.phase > 0}
    for key, _ in confirmed:
        if key in begun:
            begin(tx, node.placed[key])
    return confirmed


def _repeat_orders(tx: Tx, node: NodeState, hello: Hello) -> None:
    """Kill and ask back once more what the node may not have heard of."""
    waiting = {(one.key, one.run) for one in hello.held if one.phase == 0}
    for one in node.placed.values():
        name = (one.key, one.run)
        job = tx.memory.jobs.get(one.job_key)
        if one.doom != KEEP:
            tx.send(node.key, Kill([name]))
        elif one.gang is not None and one.number == 0:
            proceed(tx, one.gang)
        elif one.gang is None and name in waiting and job is not None and job.state != "active":
            tx.send(node.key, Revoke([name]))


def disconnect_node(tx: Tx, node_key: int, link: Link) -> None:
    """A connection broke. The node has its grace to call again."""
    memory = tx.memory
    if memory.links.get(node_key) is not link:
        return
    del memory.links[node_key]
    node = memory.nodes.get(node_key)
    if node is None:
        return
    node.link = None
    if node.is_halting:
        return  # it was asked for
    await_node(tx, node)
    if node.state == "leavingpool":
        show_eligible(tx, node)
        memory.dirty_nodes.add(node.key)
    elif node.state in HALTING:
        memory.dirty_nodes.add(node.key)
    elif node.state not in ("creating", "unusable", "unknown", "deallocated"):
        move_node(tx, node, "lose_contact")


def await_node(tx: Tx, node: NodeState) -> None:
    """Give a node its grace to call."""
    expect_call(tx, node, tx.settings.node_grace_s)


def grace_over(tx: Tx, node_key: int) -> None:
    """A node's grace may be over: then it is lost."""
    node = tx.memory.nodes.get(node_key)
    if node is None or node.lost_at is None or tx.world.monotonic() < node.lost_at:
        return
    if node.boot is None:
        lose_node(tx, node, "It was started and has not called.")
    else:
        lose_node(tx, node, f"No contact for {tx.settings.node_grace_s:g} seconds.")


def take_node_entry(
    tx: Tx, node: NodeState, entry: StartTaskReport | NodeTrouble | ContainersReady | RetentionOver
) -> None:
    """An agent reports on its start task, its containers, its directories or its troubles."""
    if isinstance(entry, RetentionOver):
        node.is_empty = True
        tx.memory.dirty_nodes.add(node.key)
        return
    if isinstance(entry, ContainersReady):
        node.has_images = True
        if node.state == "starting":
            make_ready(tx, node, tx.memory.pools[node.pool_key])
        return
    if isinstance(entry, StartTaskReport):
        pool = tx.memory.pools[node.pool_key]
        node.start_task = noted_start_task(node, pool, start_task_info(tx, entry))
        node_rows.save_node(tx.db, node.key, start_task=node.start_task)
        if node.state in ("starting", "waitingforstarttask"):
            make_ready(tx, node, pool)
        return
    errors = [
        {
            "code": one.code,
            "message": one.message,
            "errorDetails": [{"name": name, "value": value} for name, value in one.details],
        }
        for one in entry.errors
    ]
    text = msgspec.json.encode(errors).decode() if errors else None
    node_rows.save_node(tx.db, node.key, errors=text)
    if errors and node.state in ("idle", "running", "starting", "waitingforstarttask"):
        add_event(tx.db, tx.now_us, "node_trouble", node.id, entry.errors[0].code)
        move_node(tx, node, "break")
    elif holds_node(tx.memory, node.id, "unusable"):
        return
    elif not errors and node.state == "unusable" and not node.is_lost:
        make_ready(tx, node, tx.memory.pools[node.pool_key])


def start_task_info(tx: Tx, entry: StartTaskReport) -> str:
    """The start task's report as the wire's startTaskInfo."""
    shown: dict[str, object] = {
        "state": entry.state,
        "startTime": format_timestamp(tx.now_us - entry.start_age_us),
        "retryCount": entry.retries,
    }
    if entry.end_age_us is not None:
        shown["endTime"] = format_timestamp(tx.now_us - entry.end_age_us)
    if entry.last_retry_age_us is not None:
        shown["lastRetryTime"] = format_timestamp(tx.now_us - entry.last_retry_age_us)
    if entry.exit_code is not None:
        shown["exitCode"] = entry.exit_code
    if entry.state == "completed":
        shown["result"] = "failure" if entry.failure else "success"
    container = container_text(entry.container)
    if container is not None:
        shown["containerInfo"] = msgspec.json.decode(container)
    if entry.failure:
        shown["failureInfo"] = msgspec.json.decode(failure_text(entry.failure))
    return msgspec.json.encode(shown).decode()


def resume_nodes(tx: Tx, engine: str, listed: dict[str, bool]) -> None:
    """After a start of the server: what the engine no longer has is started again.

    A node whose agent ended while the server was away comes back under its own name, like a
    machine that was rebooted; what it ran is run again. ``listed``: the engine's nodes, and
    whether each is alive; those that the record does not know are ended.
    """
    memory = tx.memory
    unknown = [node_id for node_id in listed if memory.node_of_id(node_id) is None]
    desk = memory.desk
    if unknown and desk is not None:
        tx.after.append(lambda: desk.stop(engine, unknown))
    for node in list(memory.nodes.values()):
        pool = memory.pools[node.pool_key]
        if pool.engine == engine and node.state == "preempted":
            switch_off(tx, node)  # it may have been asked of the server that has gone
            continue
        if pool.engine != engine or listed.get(node.id) or node.link is not None or node.is_lost:
            continue  # a lost one is replaced
        if node.is_ordered:
            continue  # by this server, after it had asked for the list
        if node.state == "leavingpool":
            remove_node(tx, node)
            continue
        if node.state == "deallocated":
            continue  # it rests
        requeue_all(tx, node)
        if node.state in HALTING:
            switch_off(tx, node)
            continue
        secret = tx.world.new_secret(SECRET_BYTES).hex()
        node.secret_digest = hashlib.sha256(secret.encode()).digest()
        node.lost_at = None
        node.boot = node.start_task = None
        node.is_lost = False
        move_node(
            tx,
            node,
            *_TO_RESTART.get(node.state, ("reboot", "restart")),
            secret_digest=node.secret_digest,
            boot=None,
            start_task=None,
            errors=None,
        )
        request_agent(tx, pool, node, secret)
    for node in list(memory.nodes.values()):
        if node.state == "leavingpool" and not node.placed:
            memory.dirty_nodes.add(node.key)
    memory.touched_pools.update(memory.pools)
