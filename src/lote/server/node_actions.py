"""What is done to a node: reboot, reimage, deallocate and start, scheduling off and on.

A request moves the node's state and says what becomes of its tasks; when nothing runs on it any
more the engine switches it off, and starts it again unless it is to rest.
"""

from __future__ import annotations

from lote.domain.node import HALTING, NODE, node_refusal
from lote.server.fleet import WIPED, apply_deallocation, hasten_leave, requeue_all, switch_off
from lote.server.memory import NodeState
from lote.server.node_orders import start_agent
from lote.server.node_states import move_node, show_eligible
from lote.server.owner import Tx
from lote.server.preemption import restore_node
from lote.server.special_runs import halt_specials, void_specials
from lote.store import nodes as node_rows
from lote.store.events import add_event
from lote.store.node_users import delete_node_users
from lote.wire.errors import Refused

# From where an engine's part is over, by the state the node is in then.
_AFTER_HALT = {"rebooting": (), "reimaging": (), "deallocating": ("set_deallocated",)}


def begin_action(tx: Tx, node: NodeState, event: str, option: str) -> None:
    """Reboot, reimage or deallocate a node; ``option`` says what becomes of what runs on it.

    Refuses: by the node's state.
    """
    _check(node, event)
    node.deallocation, node.is_empty = option, False
    move_node(tx, node, event, deallocation=option)
    add_event(tx.db, tx.now_us, f"node_{event}", node.id, option)
    apply_deallocation(tx, node)
    if node.link is None:
        switch_off(tx, node)  # its agent, if it lives at all, is not waited for
    tx.memory.dirty_nodes.add(node.key)


def begin_start(tx: Tx, node: NodeState) -> None:
    """Start a node that rests. Refuses: by the node's state."""
    _check(node, "start")
    add_event(tx.db, tx.now_us, "node_start", node.id, "")
    move_node(tx, node, "start")
    start_agent(tx, node)


def disable_scheduling(tx: Tx, node: NodeState, option: str) -> None:
    """Put no more tasks on the node. Refuses: NodeAlreadyInTargetSchedulingState."""
    if node.scheduling == "disabled":
        raise Refused(node_refusal(node.state, "set_scheduling"))
    _check_present(node)
    node.scheduling = "disabled"
    node_rows.save_node(tx.db, node.key, scheduling="disabled")
    show_eligible(tx, node)
    if node.state in HALTING:
        hasten_leave(tx, node, option)  # what it restarts or rests for has an option of its own
        return
    node.deallocation = option
    node_rows.save_node(tx.db, node.key, deallocation=option)
    apply_deallocation(tx, node)
    tx.memory.dirty_nodes.add(node.key)


def enable_scheduling(tx: Tx, node: NodeState) -> None:
    """Put tasks on the node again. Refuses: NodeAlreadyInTargetSchedulingState."""
    if node.scheduling == "enabled":
        raise Refused(node_refusal(node.state, "set_scheduling"))
    _check_present(node)
    node.scheduling = "enabled"
    if node.state not in HALTING or node.boot is None:  # without: it is off, and is started again
        node.deallocation = None
    events = ("enable",) if node.state == "offline" else ()
    move_node(tx, node, *events, scheduling="enabled", deallocation=node.deallocation)
    tx.memory.dirty_nodes.add(node.key)


def node_halted(tx: Tx, node_id: str) -> None:
    """The engine has switched the node off: nothing of it runs any more."""
    node = tx.memory.node_of_id(node_id)
    if node is None or not (node.state in HALTING or node.state == "preempted"):
        return
    node.is_halting = False
    link = tx.memory.links.pop(node.key, None)
    node.link = None
    node.lost_at = None
    if link is not None:
        tx.after.append(link.close)
    requeue_all(tx, node)
    halt_specials(tx, node)
    _forget_boot(tx, node)
    if node.state in WIPED:
        delete_node_users(tx.db, node.key)
        void_specials(tx, node)
    if node.state == "preempted":
        restore_node(tx, node)
        return
    move_node(tx, node, *_AFTER_HALT[node.state])
    _end_action(tx, node)
    if node.state != "deallocated":
        start_agent(tx, node)


def halt_failed(tx: Tx, node_id: str, why: str) -> None:
    """The engine could not switch the node off: it is of no use any more."""
    node = tx.memory.node_of_id(node_id)
    if node is None or not (node.state in HALTING or node.state == "preempted"):
        return
    node.is_halting = False
    add_event(tx.db, tx.now_us, "node_not_halted", node.id, why)
    if node.state == "preempted":
        _forget_boot(tx, node)
        restore_node(tx, node)
        return
    move_node(tx, node, "break")
    _end_action(tx, node)


def _end_action(tx: Tx, node: NodeState) -> None:
    if node.scheduling == "enabled":
        node.deallocation = None
        node_rows.save_node(tx.db, node.key, deallocation=None)


def _forget_boot(tx: Tx, node: NodeState) -> None:
    node.boot = node.start_task = None
    node_rows.save_node(tx.db, node.key, boot=None, start_task=None, errors=None)


def _check(node: NodeState, event: str) -> None:
    if not NODE.allows(node.state, event) or node.is_lost:
        raise Refused(node_refusal(node.state, event))


def _check_present(node: NodeState) -> None:
    if node.state == "leavingpool" or node.is_lost:
        raise Refused("OperationNotValidOnNode")
