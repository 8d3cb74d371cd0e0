"""The cases in ``tests/compliance/wire``: data any implementation of the protocol must pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lote.wire import account, file, job, job_schedule, node, pool, task
from lote.wire.decode import decode
from lote.wire.errors import Refused
from lote.wire.filters import FILTERS
from lote.wire.odata import evaluate, parse_filter

CASES = Path(__file__).parents[2] / "compliance" / "wire"
ROOMS = (account, file, job, job_schedule, node, pool, task)


def cases(name: str) -> list[dict[str, Any]]:
    return json.loads((CASES / name).read_text())


def struct_named(name: str) -> type[msgspec.Struct]:
    return next(getattr(room, name) for room in ROOMS if hasattr(room, name))


@pytest.mark.parametrize("case", cases("bodies.json"), ids=lambda case: case["case"])
def test_bodies_of_clients(case: dict[str, Any]):
    data = json.dumps(case["body"]).encode()
    struct = struct_named(case["struct"])
    if "refused" in case:
        with pytest.raises(Refused) as caught:
            decode(data, struct)
        assert caught.value.code == case["refused"]
        assert dict(caught.value.values)["PropertyName"] == case["name"]
    else:
        assert json.loads(msgspec.json.encode(decode(data, struct))) == case["becomes"]


@pytest.mark.parametrize("case", cases("shown.json"), ids=lambda case: case["struct"])
def test_what_is_shown_keeps_every_member(case: dict[str, Any]):
    shown = msgspec.convert(case["body"], struct_named(case["struct"]))
    assert json.loads(msgspec.json.encode(shown)) == case["body"]


@pytest.mark.parametrize("case", cases("filters.json"), ids=lambda case: case["filter"])
def test_filters_of_clients(case: dict[str, Any]):
    allowed = FILTERS[case["list"]]
    if case.get("refused"):
        with pytest.raises(Refused):
            parse_filter(case["filter"], allowed)
        return
    expr = parse_filter(case["filter"], allowed)
    assert [evaluate(expr, entity.get) for entity in case["passes"]] == [True] * len(case["passes"])
    assert [evaluate(expr, entity.get) for entity in case["fails"]] == [False] * len(case["fails"])
