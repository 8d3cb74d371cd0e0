"""What reading and checking a hundred tasks costs, against a bare typed decode of the same body.

python benchmarks/decode.py
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import msgspec
from figures import Figure, answer
from posting import TaskMaker, bare_task, runnable_task, usual_task

from lote.wire.plain_tasks import are_plain
from lote.wire.task import TaskGroup
from lote.wire.task_groups import decode_task_group

QUESTION = "decode"
RATIO_MAX = 2.0  # of the usual body
TASKS = 100  # REST: Add Task Collection
ROUNDS, CALLS = 30, 5


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


def ratios(make: TaskMaker) -> tuple[float, float, float, int]:
    """One body: looking at all rules, and keeping all of it too, both to the bare typed decode;
    then microseconds of all a task, and the body's bytes."""
    body = b'{"value":[' + b",".join(make(number) for number in range(TASKS)) + b"]}"
    decoder = msgspec.json.Decoder(TaskGroup)
    tasks = decoder.decode(body).value
    typed_us = best_us(lambda: decoder.decode(body))
    checked_us = typed_us + best_us(lambda: are_plain(tasks, body))
    whole_us = best_us(lambda: decode_task_group(body))
    return checked_us / typed_us, whole_us / typed_us, whole_us / TASKS, len(body)


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """Each body, the usual one with bounds."""
    for name, make in BODIES.items():
        found = [ratios(make) for _ in range(given.runs)]
        checked, whole, a_task_us = ([one[n] for one in found] for n in range(3))
        yield Figure(
            QUESTION,
            f"{TASKS} {name} tasks decoded and checked",
            "bare typed decodes",
            checked,
            must=RATIO_MAX if name == "usual" else None,
            better="less",
            note=f"{found[0][3]:,} bytes; with the JSON to keep of each"
            f" {statistics.median(whole):.2f}, {statistics.median(a_task_us):.2f} µs a task",
        )


if __name__ == "__main__":
    answer(__doc__, measure)
