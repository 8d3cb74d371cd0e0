"""The results: what the tasks found, the true prices, and whether they agree.

Seeds are fixed, so the same sweep gives the same numbers on every machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import erf, exp, log, sqrt
from statistics import fmean
from typing import NamedTuple

from story.failure import DemoFailed

from .application.price import RATE, SPOT, VOLATILITY, YEARS
from .work import Point

# Of two thousand normal numbers none is further out than 5 in 999 of 1000 sweeps.
FURTHEST_ERRORS = 5.0
MEAN_ERRORS = 4.0  # the mean of a strike's estimates, in its own standard errors


class Price(NamedTuple):
    """An estimate and its standard error."""

    strike: float
    seed: int
    price: float
    error: float

    @property
    def off(self) -> float:
        """How far from the true price, in standard errors."""
        return (self.price - true_price(self.strike)) / self.error


def true_price(strike: float) -> float:
    """A European call by the formula of Black and Scholes."""
    spread = VOLATILITY * sqrt(YEARS)
    upper = (log(SPOT / strike) + (RATE + VOLATILITY**2 / 2) * YEARS) / spread
    return SPOT * normal(upper) - strike * exp(-RATE * YEARS) * normal(upper - spread)


def normal(value: float) -> float:
    """The share of a normal distribution below a value."""
    return (1 + erf(value / sqrt(2))) / 2


def parse_price(content: bytes) -> Price:
    """What a task wrote. Refuses: ``DemoFailed``."""
    try:
        found = json.loads(content)
        return Price(found["strike"], found["seed"], found["price"], found["error"])
    except (ValueError, KeyError, TypeError) as error:
        raise DemoFailed(f"a result is damaged: {content[:200]!r}") from error


def by_strike(prices: Iterable[Price]) -> dict[float, list[Price]]:
    """The estimates of each strike."""
    groups: dict[float, list[Price]] = {}
    for price in prices:
        groups.setdefault(price.strike, []).append(price)
    return dict(sorted(groups.items()))


def check(prices: list[Price], wanted: list[Point]) -> None:
    """Every point must be there once, and agree with the formula within its error."""
    found = sorted((price.strike, price.seed) for price in prices)
    if found != sorted(tuple(point) for point in wanted):
        raise DemoFailed(f"{len(found)} results for {len(wanted)} tasks, or not the same")
    for price in prices:
        if not price.error > 0 or abs(price.off) > FURTHEST_ERRORS:
            raise DemoFailed(f"{price} is {price.off:.1f} standard errors off")
    for strike, group in by_strike(prices).items():
        off = fmean(one.off for one in group) * sqrt(len(group))
        if abs(off) > MEAN_ERRORS:
            raise DemoFailed(f"strike {strike:g}: the mean is {off:.1f} standard errors off")
