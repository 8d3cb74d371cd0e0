"""What becomes of each property is said, and said once."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from msgspec import inspect

from lote.wire.operations import OPERATIONS
from lote.wire.properties import GROUPS, fates

ROWS = [row for rows in GROUPS.values() for row in rows]


def structs_of(kind: inspect.Type) -> Iterator[type[msgspec.Struct]]:
    """The structs that a value of this kind can hold, at any depth."""
    if isinstance(kind, inspect.UnionType):
        for one in kind.types:
            yield from structs_of(one)
    elif isinstance(kind, inspect.ListType):
        yield from structs_of(kind.item_type)
    elif isinstance(kind, inspect.StructType):
        yield kind.cls
        for field in kind.fields:
            yield from structs_of(field.type)


SENT = {
    struct
    for operation in OPERATIONS
    if operation.takes
    for struct in structs_of(inspect.type_info(operation.takes))
}


def test_every_model_that_can_be_sent_has_one_row():
    assert sorted(row.struct.__name__ for row in ROWS) == sorted(one.__name__ for one in SENT)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.struct.__name__)
def test_every_property_has_a_fate(row):
    found = fates(row)
    assert set(found) == {field.encode_name for field in msgspec.structs.fields(row.struct)}
    named = [name for _, names in row.others for name in names.split()]
    assert len(named) == len(set(named))
    assert all(found[name] != row.most for name in named)
