"""What each task runs: the price of one European call, by simulation, into ``price.json``.

    python3 price.py STRIKE SEED PATHS

The stock moves as in the model of Black and Scholes, whose formula gives the true price.
"""

from __future__ import annotations

import math
import random
import sys

SPOT = 100.0
RATE = 0.03
VOLATILITY = 0.2
YEARS = 1.0


def main() -> None:
    """Simulate, and write the mean of the discounted payoffs with its standard error."""
    strike, seed, paths = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    gauss = random.Random(seed).gauss
    drift = (RATE - VOLATILITY**2 / 2) * YEARS
    spread = VOLATILITY * math.sqrt(YEARS)
    total = squares = 0.0
    for _ in range(paths):
        payoff = max(SPOT * math.exp(drift + spread * gauss(0.0, 1.0)) - strike, 0.0)
        total += payoff
        squares += payoff * payoff
    mean = total / paths
    deviation = math.sqrt(max(squares / paths - mean * mean, 0.0) / (paths - 1))
    discount = math.exp(-RATE * YEARS)
    with open("price.json", "w", encoding="utf-8") as sink:
        sink.write(
            f'{{"strike": {strike}, "seed": {seed}, "paths": {paths},'
            f' "price": {discount * mean!r}, "error": {discount * deviation!r}}}\n'
        )


if __name__ == "__main__":
    main()
