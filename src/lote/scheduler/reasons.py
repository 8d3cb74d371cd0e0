"""Every reason why a task can wait: stable codes and what people read."""

from __future__ import annotations

from lote.scheduler.plan import Reason

NO_NODES = Reason("no_nodes", "The pool has no nodes.")
NODE_NOT_READY = Reason("node_not_ready", "No node of the pool can take tasks at present.")
POOL_MISSING = Reason("pool_missing", "The pool of the job does not exist.")
JOB_MISSING = Reason("job_missing", "The job is not being scheduled.")
JOB_DISABLED = Reason("job_disabled", "The job is not active.")
NO_READY_TASKS = Reason("no_ready_tasks", "The job has no task that could start.")
JOB_AT_MAX_PARALLEL = Reason(
    "job_at_max_parallel", "As many tasks of the job as its maxParallelTasks allows are placed."
)
ALL_SLOTS_BUSY = Reason("all_slots_busy", "All task slots of the pool's nodes are busy.")
TOO_LARGE = Reason(
    "needs_more_slots_than_any_node", "The task requires more slots than any node of the pool has."
)
NOT_ENOUGH_TOGETHER = Reason(
    "needs_more_open_slots_on_one_node",
    "Slots are open, but not as many on one node as the task requires.",
)
BARRED = Reason(
    "preparation_failed_on_nodes",
    "The job preparation task failed on the nodes that could take the task.",
)
NEEDS_DEDICATED = Reason(
    "needs_dedicated_node", "The task may run on dedicated nodes only and none has open slots."
)
KEPT_FOR_LARGER = Reason(
    "slots_kept_for_larger_task",
    "The open slots are being collected on one node for a task that requires several.",
)
COLLECTING = Reason("collecting_slots", "Slots are being collected on one node for the task.")
NO_INTER_NODE = Reason(
    "pool_without_inter_node_communication",
    "The pool does not enable communication between its nodes, which a multi-instance task needs.",
)
SEVERAL_SLOTS = Reason(
    "pool_with_several_slots_per_node",
    "The pool's nodes have several task slots; a multi-instance task needs nodes that have one.",
)
TOO_MANY_INSTANCES = Reason(
    "needs_more_nodes_than_the_pool_has",
    "The task has more instances than the pool has nodes that can take tasks.",
)
NOT_ENOUGH_NODES = Reason(
    "needs_more_open_nodes", "Fewer nodes of the pool are free than the task has instances."
)
GATHERING = Reason("gathering_nodes", "Nodes are being gathered for the task's instances.")
KEPT_FOR_INSTANCES = Reason(
    "nodes_kept_for_multi_instance_task",
    "The free nodes are being gathered for a multi-instance task.",
)
HIGHER_PRIORITY = Reason(
    "higher_priority_first", "Tasks of a job with a higher priority take the slots first."
)
TURN_TO_COME = Reason(
    "turn_to_come", "It can start; its turn comes with the next placement of the pool."
)
WAITING_FOR_DEPENDENCIES = Reason(
    "waiting_for_dependencies", "Tasks it depends on have not completed."
)
BLOCKED = Reason("blocked", "A task it depends on failed with the dependency action block.")
EARLIER_TASKS = Reason("earlier_tasks_first", "Tasks of the job that were added earlier go first.")
PREPARING = Reason("preparing", "The job preparation task runs on its node first.")
ON_ITS_NODE = Reason("on_its_node", "A node has it and begins it when a slot is free there.")
