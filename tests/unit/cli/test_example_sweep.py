"""The example's parts that need no service: points, prices, the check, the picture."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

EXAMPLES = Path(__file__).parents[3] / "examples"
sys.path.insert(0, str(EXAMPLES))

from story.failure import DemoFailed  # noqa: E402 -- found only after the path
from sweep import picture, prices, watching, work  # noqa: E402

PROGRAM = EXAMPLES / "sweep" / "application" / "price.py"
# From any table of the model: a call at the money, 20 % volatility, 3 % interest, one year.
KNOWN_PRICE = 9.4134


def estimates(points: list[work.Point]) -> list[prices.Price]:
    """Estimates that are off by chance alone: one standard error up and one down in turn."""
    signs = [1 if (at // len(work.STRIKES)) % 2 else -1 for at in range(len(points))]
    return [
        prices.Price(one.strike, one.seed, prices.true_price(one.strike) + sign * 0.1, 0.1)
        for one, sign in zip(points, signs, strict=True)
    ]


def test_the_formula():
    assert prices.true_price(100.0) == pytest.approx(KNOWN_PRICE, abs=1e-4)


def test_every_task_has_work_of_its_own():
    points = work.points(2000)
    assert len({point.task_id for point in points}) == 2000
    assert {point.strike for point in points} == set(work.STRIKES)
    task = work.task(points[0], "http://in", "http://out")
    assert task.command_line == "python3 -I -S price.py 70 0 4000"


def test_the_program_prices_what_it_is_told(tmp_path):
    subprocess.run(
        [sys.executable, "-I", "-S", PROGRAM, "100", "7", "4000"], cwd=tmp_path, check=True
    )
    found = prices.parse_price((tmp_path / "price.json").read_bytes())
    assert (found.strike, found.seed) == (100.0, 7)
    assert abs(found.off) < 4
    assert found.error == pytest.approx(0.22, abs=0.02)


def test_the_check_takes_what_chance_gives():
    points = work.points(200)
    prices.check(estimates(points), points)


def test_the_check_refuses_what_it_should():
    points = work.points(200)
    good = estimates(points)
    far = [good[0]._replace(price=good[0].price + 1), *good[1:]]
    biased = [one._replace(price=prices.true_price(one.strike) + 0.2) for one in good]
    for bad in (good[1:], [*good, good[0]], [good[1], *good[1:]], far, biased):
        with pytest.raises(DemoFailed):
            prices.check(bad, points)
    with pytest.raises(DemoFailed, match="damaged"):
        prices.parse_price(json.dumps({"strike": 1}).encode())


def test_throughput_counts_every_task_once():
    ended_s = [number / 50 for number in range(1, 501)]
    rates = picture.throughput(ended_s)
    width_s = rates[0][0]
    assert sum(rate * width_s for _, rate in rates) == pytest.approx(500)
    assert rates[-1][0] == pytest.approx(10)


def test_the_picture(tmp_path):
    points = work.points(200)
    picture.draw(estimates(points), [number / 50 for number in range(1, 201)], tmp_path / "it.png")
    content = (tmp_path / "it.png").read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert content.startswith(b"\x89PNG")
    assert (width, height) == (1800, 540)


def test_plain_progress_has_a_line_a_tenth():
    sink = io.StringIO()
    with watching.plain(Console(file=sink)) as show:
        for ended in range(0, 2001, 7):
            show(ended, 2000, 4)
        show(2000, 2000, 0)
    assert len(sink.getvalue().splitlines()) == 10
    assert "[2000/2000]" in sink.getvalue()
