"""Conditional headers: what holds, what a read and a write answer, what cannot be combined."""

from __future__ import annotations

import pytest

from lote.storage.conditions import parse_conditions
from lote.storage.errors import Refused
from lote.storage.times import etag_text, http_date

NOW_US = 1_735_689_600_500_000
THEN, LATER = http_date(NOW_US - 5_000_000), http_date(NOW_US + 5_000_000)
SAME, ETAG, OTHER = http_date(NOW_US), f'"{etag_text(7)}"', '"0x8"'
HOLDS = (0, "")
UNMET, UNCHANGED = (412, "ConditionNotMet"), (304, "ConditionNotMet")
TOO_MANY = (400, "MultipleConditionHeadersNotSupported")
SENSELESS = (400, "UnsatisfiableCondition")


def outcome(headers, *, reading, etag=7, tags=None):
    try:
        parse_conditions(headers, reading=reading).check(etag, NOW_US, tags)
    except Refused as refused:
        return refused.status, refused.code
    return HOLDS


@pytest.mark.parametrize(
    ("headers", "read", "written"),
    [
        ({}, HOLDS, HOLDS),
        ({"if-match": ETAG}, HOLDS, HOLDS),
        ({"if-match": ETAG.strip('"')}, HOLDS, HOLDS),
        ({"if-match": "*"}, HOLDS, HOLDS),
        ({"if-match": OTHER}, UNMET, UNMET),
        ({"if-match": f"{OTHER}, {ETAG}"}, HOLDS, TOO_MANY),
        ({"if-none-match": ETAG}, UNCHANGED, UNMET),
        ({"if-none-match": f"{OTHER},{ETAG}"}, UNCHANGED, TOO_MANY),
        ({"if-none-match": "*"}, SENSELESS, UNMET),
        ({"if-none-match": OTHER}, HOLDS, HOLDS),
        ({"if-modified-since": THEN}, HOLDS, HOLDS),
        ({"if-modified-since": SAME}, UNCHANGED, UNMET),
        ({"if-modified-since": LATER}, UNCHANGED, UNMET),
        ({"if-unmodified-since": THEN}, UNMET, UNMET),
        ({"if-unmodified-since": SAME}, HOLDS, HOLDS),
        ({"if-match": ETAG, "if-unmodified-since": THEN}, UNMET, HOLDS),
        ({"if-match": OTHER, "if-unmodified-since": LATER}, UNMET, UNMET),
        ({"if-none-match": OTHER, "if-modified-since": LATER}, HOLDS, HOLDS),
        ({"if-none-match": ETAG, "if-modified-since": THEN}, HOLDS, UNMET),
        ({"if-none-match": ETAG, "if-modified-since": LATER}, UNCHANGED, UNMET),
        ({"if-match": ETAG, "if-none-match": OTHER}, HOLDS, TOO_MANY),
        ({"if-match": ETAG, "if-modified-since": THEN}, HOLDS, TOO_MANY),
        ({"if-modified-since": THEN, "if-unmodified-since": LATER}, HOLDS, TOO_MANY),
        ({"if-match": OTHER, "if-none-match": ETAG}, UNMET, TOO_MANY),
        ({"if-modified-since": "soon"}, (400, "InvalidHeaderValue"), (400, "InvalidHeaderValue")),
    ],
)
def test_conditions_on_what_is_there(headers, read, written):
    assert outcome(headers, reading=True) == read
    assert outcome(headers, reading=False) == written


def test_conditions_on_nothing():
    for reading in (True, False):
        assert outcome({"if-match": "*"}, reading=reading, etag=None) == UNMET
        assert outcome({"if-unmodified-since": THEN}, reading=reading, etag=None) == HOLDS
    headers = {"if-none-match": "*", "if-modified-since": THEN}
    assert outcome(headers, reading=False, etag=None) == HOLDS


def test_conditions_on_tags():
    for reading in (True, False):
        for text, expected in (("a = '1'", HOLDS), ("a <> '1'", UNMET), ("b = '1'", UNMET)):
            assert outcome({"x-ms-if-tags": text}, reading=reading, tags={"a": "1"}) == expected
        assert outcome({"x-ms-if-tags": "a = "}, reading=reading) == (400, "InvalidHeaderValue")


def test_conditions_on_a_source_have_names_of_their_own():
    headers = {"x-ms-source-if-match": ETAG, "x-ms-source-if-tags": "a = '1'", "if-match": OTHER}
    wanted = parse_conditions(headers, "x-ms-source-")
    wanted.check(7, NOW_US, {"a": "1"})
    with pytest.raises(Refused):
        wanted.check(7, NOW_US, {"a": "2"})
