"""How long does it take to evaluate an autoscale formula? Needs no server.

A formula of the size that people publish, over 100 samples of each of its variables; and the same
over a week of them. Beside it the same written by hand in Python, over the same lists.

    python benchmarks/autoscale.py [--count 2000]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

from figures import Figure, answer

from lote.autoscale.formula import Formula, parse_formula
from lote.autoscale.samples import SAMPLE_PERIOD_S, SampleHistory
from lote.autoscale.targets import Targets

QUESTION = "autoscale"
NOW_US = 1_741_295_045_678_000
SAMPLES = 100
SAMPLES_WEEK = 7 * 24 * 3600 // SAMPLE_PERIOD_S
VARIABLES = ("$PendingTasks", "$RunningTasks", "$CPUPercent", "$PreemptedNodeCount")
FORMULA = """
// Follow the queue, but not at every flicker; spot nodes by day, more of them at weekends.
span = {samples} * TimeInterval_Second * 30;
known = $PendingTasks.GetSamplePercent(span);
queued = known < 70 ? val($PendingTasks.GetSample(1), 0)
                    : max(val($PendingTasks.GetSample(1), 0), avg($PendingTasks.GetSample(span)));
processors = percentile($CPUPercent.GetSample(span), 90);
busy = sum($RunningTasks.GetSample(span, 50)) > 0 || processors > 5;
lost = max($PreemptedNodeCount.GetSample(span));
now = time();
workday = now.weekday >= 1 && now.weekday <= 5 && now.hour >= 8 && now.hour < 18;
wanted = queued > 0 ? ceil(queued / 4) : (busy ? $TargetDedicatedNodes : $TargetDedicatedNodes / 2);
$TargetDedicatedNodes = max(0, min(100, wanted + lost));
$TargetLowPriorityNodes = workday ? 20 : std($RunningTasks.GetSample(span)) > 3 ? 10 : 5;
$NodeDeallocationOption = taskcompletion;
"""


def history_of(samples: int) -> SampleHistory:
    """So many samples of each variable, the newest of this moment."""
    history = SampleHistory()
    for age in reversed(range(samples)):
        values = {name: float((age * 7 + place) % 13) for place, name in enumerate(VARIABLES)}
        history.record(NOW_US - age * SAMPLE_PERIOD_S * 1_000_000, values)
    return history


def by_hand(lists: dict[str, list[float]]) -> float:
    """The arithmetic of the formula, without a language."""
    pending, running = lists["$PendingTasks"], lists["$RunningTasks"]
    queued = max(pending[-1], sum(pending) / len(pending))
    processors = sorted(lists["$CPUPercent"])
    busy = sum(running) > 0 or processors[int(0.9 * (len(processors) - 1))] > 5
    mean = sum(running) / len(running)
    spread = (sum((x - mean) ** 2 for x in running) / (len(running) - 1)) ** 0.5
    wanted = queued / 4 if queued > 0 else 2.0 if busy else 1.0
    return min(100.0, wanted + max(lists["$PreemptedNodeCount"])) + (10 if spread > 3 else 5)


def median_ms(run: Callable[[], object], count: int) -> float:
    """Of single calls."""
    taken = []
    for _ in range(count):
        began = time.perf_counter_ns()
        run()
        taken.append(time.perf_counter_ns() - began)
    return statistics.median(taken) / 1e6


def evaluate(formula: Formula, history: SampleHistory) -> None:
    """Once; a benchmark of a formula that fails would be worth nothing."""
    done = formula.evaluate(history, NOW_US, Targets(2, 0), lambda: 0.5)
    if done.error is not None:
        raise done.error


def measure(given: argparse.Namespace) -> Iterator[Figure]:
    """Evaluations with few and with many samples, and reading the text."""
    count = given.count or (50 if given.small else 2000)
    for samples, name in ((SAMPLES, "100 samples"), (SAMPLES_WEEK, "a week of samples")):
        formula = parse_formula(FORMULA.format(samples=samples))
        history = history_of(samples)
        lists = {name: list(history.series(name).values) for name in VARIABLES}
        calls = count if samples == SAMPLES else max(count // 100, 3)
        values, references = [], []
        for _ in range(given.runs):
            references.append(median_ms(lambda lists=lists: by_hand(lists), calls))
            values.append(
                median_ms(
                    lambda formula=formula, history=history: evaluate(formula, history), calls
                )
            )
        figure = Figure(QUESTION, f"one evaluation, {name} a variable", "ms", values, better="less")
        figure.note = f"the same arithmetic by hand: {statistics.median(references):.3g} ms"
        if samples == SAMPLES:
            figure.must, figure.aim = 1.0, 0.3
        yield figure
    text = FORMULA.format(samples=SAMPLES)
    values = [median_ms(lambda: parse_formula(text), count) for _ in range(given.runs)]
    note = f"{len(text)} characters"
    yield Figure(QUESTION, "reading a formula", "ms", values, better="less", note=note)


if __name__ == "__main__":
    answer(__doc__, measure, lambda parser: parser.add_argument("--count", type=int))
