"""Ready tasks of one job: the window of its queue that memory holds, by class of task.

Tasks of one class (slots, dedicated only, single, instances) fit the same nodes, so each class is
a lane and only the first task of a lane is ever looked at. That makes skipping over what does not
fit cost a step a class, not a step a task.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from heapq import merge
from operator import attrgetter

import msgspec

_by_key = attrgetter("key")


class ReadyTask(msgspec.Struct, frozen=True, gc=False):
    """A task that may start. Keys grow in creation order, from 1.

    ``affinity``: key of the node it would like, 0 for none. ``single``: may be prefetched.
    ``instances``: of a multi-instance task: how many empty nodes it takes at once; else 0.
    """

    key: int
    slots: int = 1
    affinity: int = 0
    dedicated_only: bool = False
    single: bool = True
    instances: int = 0


LaneName = tuple[int, bool, bool, int]  # slots, dedicated only, single, instances


class Lane:
    """Ready tasks of one class, in creation order. Never empty inside a window."""

    __slots__ = ("dedicated_only", "instances", "single", "slots", "tasks")

    def __init__(self, slots: int, dedicated_only: bool, single: bool, instances: int) -> None:
        self.instances = instances
        self.slots = slots
        self.dedicated_only = dedicated_only
        self.single = single
        self.tasks: deque[ReadyTask] = deque()


class Window:
    """The lanes of one job."""

    __slots__ = ("lanes", "size")

    def __init__(self) -> None:
        self.lanes: dict[LaneName, Lane] = {}
        self.size = 0

    def add(self, task: ReadyTask) -> None:
        """Insert by key. ValueError when it is there already."""
        name = (task.slots, task.dedicated_only, task.single, task.instances)
        lane = self.lanes.get(name)
        if lane is None:
            lane = self.lanes[name] = Lane(*name)
        tasks = lane.tasks
        if not tasks or task.key > tasks[-1].key:
            tasks.append(task)
        else:
            index = bisect_left(tasks, task.key, key=_by_key)
            if tasks[index].key == task.key:
                raise ValueError(f"task {task.key} is ready already")
            tasks.insert(index, task)
        self.size += 1

    def take(self, name: LaneName, count: int) -> None:
        """Remove the first ``count`` tasks of a lane."""
        tasks = self.lanes[name].tasks
        if count == len(tasks):
            del self.lanes[name]
        else:
            for _ in range(count):
                tasks.popleft()
        self.size -= count

    def key_at(self, name: LaneName, index: int) -> int:
        """Key of the task at ``index`` of a lane; 0 when there is none."""
        lane = self.lanes.get(name)
        return lane.tasks[index].key if lane is not None and index < len(lane.tasks) else 0

    def find(self, task_key: int) -> ReadyTask | None:
        """The task with this key, if it is in the window."""
        for lane in self.lanes.values():
            index = bisect_left(lane.tasks, task_key, key=_by_key)
            if index < len(lane.tasks) and lane.tasks[index].key == task_key:
                return lane.tasks[index]
        return None

    def first_of_kind(self, task_key: int) -> int:
        """Key of the oldest task in the lane of this one; 0 when this one is not there."""
        task = self.find(task_key)
        if task is None:
            return 0
        name = (task.slots, task.dedicated_only, task.single, task.instances)
        return self.lanes[name].tasks[0].key

    def drop(self, task_key: int) -> bool:
        """Remove one task; False when it is not in the window."""
        for name, lane in self.lanes.items():
            index = bisect_left(lane.tasks, task_key, key=_by_key)
            if index < len(lane.tasks) and lane.tasks[index].key == task_key:
                del lane.tasks[index]
                if not lane.tasks:
                    del self.lanes[name]
                self.size -= 1
                return True
        return False

    def in_order(self) -> deque[ReadyTask]:
        """All tasks in creation order. With one lane this is the lane itself: do not change it."""
        if len(self.lanes) == 1:
            return next(iter(self.lanes.values())).tasks
        ordered: Iterable[ReadyTask] = merge(*(x.tasks for x in self.lanes.values()), key=_by_key)
        return deque(ordered)
