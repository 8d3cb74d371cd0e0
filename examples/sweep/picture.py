"""One picture of it all: prices against the formula, their errors, and tasks a second."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, pi, sqrt
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .prices import Price, true_price

BINS = 40
INCHES = (15, 4.5)
DOTS_PER_INCH = 120


def draw(prices: list[Price], ended_s: Sequence[float], path: Path) -> None:
    """Write the PNG. ``ended_s``: when each task ended, in seconds since the first began."""
    figure = Figure(figsize=INCHES, layout="constrained")
    first, second, third = figure.subplots(1, 3)
    draw_prices(first, prices)
    draw_errors(second, prices)
    draw_throughput(third, ended_s)
    figure.savefig(path, dpi=DOTS_PER_INCH)


def draw_prices(axes: Axes, prices: list[Price]) -> None:
    """Every estimate as a dot, over the formula's curve."""
    strikes = [price.strike for price in prices]
    axes.plot(strikes, [price.price for price in prices], ".", alpha=0.3, label="simulated")
    curve = sorted(set(strikes))
    axes.plot(curve, [true_price(strike) for strike in curve], "k-", lw=1, label="formula")
    axes.set(title=f"{len(prices):,} prices", xlabel="strike", ylabel="price of the call")
    axes.legend()


def draw_errors(axes: Axes, prices: list[Price]) -> None:
    """How far off they are, and how far chance alone would put them."""
    axes.hist([price.off for price in prices], BINS, density=True, alpha=0.6, label="simulated")
    curve = [step / 20 for step in range(-80, 81)]
    axes.plot(curve, [exp(-x * x / 2) / sqrt(2 * pi) for x in curve], "k-", lw=1, label="normal")
    axes.set(title="Distribution of the prices", xlabel="standard errors off", ylabel="density")
    axes.legend()


def draw_throughput(axes: Axes, ended_s: Sequence[float]) -> None:
    """Tasks that ended in each stretch of time, as a rate."""
    rates = throughput(ended_s)
    axes.stairs(
        [rate for _, rate in rates], [0.0, *(end for end, _ in rates)], fill=True, alpha=0.6
    )
    mean = len(ended_s) / max(ended_s)
    axes.axhline(mean, color="k", lw=1, label=f"mean {mean:,.0f} a second")
    axes.set(title="Throughput", xlabel="seconds", ylabel="tasks completed a second")
    axes.set_ylim(bottom=0)
    axes.legend(loc="lower center")


def throughput(ended_s: Sequence[float]) -> list[tuple[float, float]]:
    """``BINS`` stretches of equal length: the end of each, and its tasks a second."""
    width_s = max(ended_s) / BINS
    counts = [0] * BINS
    for moment_s in ended_s:
        counts[min(int(moment_s / width_s), BINS - 1)] += 1
    return [((number + 1) * width_s, count / width_s) for number, count in enumerate(counts)]
