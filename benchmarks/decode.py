"""What reading and checking a hundred tasks costs, against a bare typed decode of the same body.

python -m benchmarks.decode
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import msgspec
from posting import TaskMaker, bare_task, runnable_task, usual_task

from lote.wire.plain_tasks import are_plain
from lote.wire.task import TaskGroup
from lote.wire.task_groups import decode_task_group

TASKS = 100  # REST: Add Task Collection
ROUNDS, CALLS = 30, 20


def escaped_task(number: int) -> bytes:
    """The usual task, its command line with quotes that JSON escapes, as programs write them."""
    return usual_task(number).replace(b"/bin/sh -c './", b'/bin/sh -c \\"./')


def limited_task(number: int) -> bytes:
    """The usual task with an output place, which the quick look does not know."""
    return usual_task(number)[:-1] + (
        b',"outputFiles":[{"filePattern":"*.webm","destination":{"container":{"containerUrl":'
        b'"http://127.0.0.1:10000/account/out"}},"uploadOptions":{"uploadCondition":'
        b'"tasksuccess"}}]}'
    )


BODIES: dict[str, TaskMaker] = {
    "usual": usual_task,
    "usual, escapes": escaped_task,
    "usual, outputs": limited_task,
    "runnable": runnable_task,
    "smallest": bare_task("/bin/true"),
}


def best_us(work: Callable[[], object]) -> float:
    """The quickest of many rounds, in microseconds a call."""
    best_s = float("inf")
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        for _ in range(CALLS):
            work()
        best_s = min(best_s, (time.perf_counter() - began_s) / CALLS)
    return best_s * 1e6


def measure(make: TaskMaker) -> dict[str, float | int | bool]:
    """One body: microseconds of each way to read it."""
    body = b'{"value":[' + b",".join(make(number) for number in range(TASKS)) + b"]}"
    decoder = msgspec.json.Decoder(TaskGroup)
    tasks = decoder.decode(body).value
    typed_us = best_us(lambda: decoder.decode(body))
    checked_us = typed_us + best_us(lambda: are_plain(tasks, body))
    whole_us = best_us(lambda: decode_task_group(body))
    return {
        "bytes": len(body),
        "is_plain": are_plain(tasks, body),
        "typed_us": round(typed_us, 1),
        "checked_us": round(checked_us, 1),
        "checked_ratio": round(checked_us / typed_us, 2),
        "checked_and_spelled_us": round(whole_us, 1),
        "checked_and_spelled_ratio": round(whole_us / typed_us, 2),
        "a_task_us": round(whole_us / TASKS, 2),
    }


def main() -> None:
    """Print a line of JSON a body."""
    for name, make in BODIES.items():
        print(json.dumps({"body": name} | measure(make)))


if __name__ == "__main__":
    main()
