"""A pool of samples at a moment, as the cases describe one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lote.autoscale.formula import Evaluation, evaluate_text
from lote.autoscale.samples import SAMPLE_PERIOD_S, SampleHistory
from lote.autoscale.targets import Targets

NOW_US = 1_741_295_045_678_000  # 2025-03-06T21:04:05.678Z, a Thursday
RAND = 0.25


def history(described: Mapping[str, Mapping[str, Any]]) -> SampleHistory:
    """Of each variable its values, newest first, and the age of the newest."""
    made = SampleHistory()
    for name, samples in described.items():
        add_samples(made, name, samples["values"], samples["newest_age_s"])
    return made


def add_samples(
    made: SampleHistory, name: str, newest_first: Sequence[float], newest_age_s: int
) -> None:
    oldest_age_s = newest_age_s + SAMPLE_PERIOD_S * (len(newest_first) - 1)
    for place, value in enumerate(reversed(newest_first)):
        age_s = oldest_age_s - SAMPLE_PERIOD_S * place
        made.record(NOW_US - age_s * 1_000_000, {name: value})


def evaluated(
    text: str, samples: SampleHistory | None = None, current: Targets | None = None
) -> Evaluation:
    samples = SampleHistory() if samples is None else samples
    return evaluate_text(text, samples, NOW_US, current or Targets(), lambda: RAND)
