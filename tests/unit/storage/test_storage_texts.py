"""Dates, names, conditions, ranges, XML: the small pure parts."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.storage.errors import ERRORS, Refused, error_body
from lote.storage.handlers.blob import clip, parse_range
from lote.storage.names import check_blob_name, check_container_name, check_metadata
from lote.storage.operations import OPERATIONS, match_operation
from lote.storage.times import (
    http_date,
    iso_time,
    parse_http_date,
    parse_iso_time,
)
from lote.storage.xml import element, name_element


def refusal_of(ask):
    """What was refused, or None."""
    try:
        ask()
    except Refused as refused:
        return refused
    return None


TIMES = st.integers(0, 4_000_000_000_000_000)


@given(TIMES)
def test_dates_come_back(time_us):
    assert parse_http_date(http_date(time_us)) == time_us // 1_000_000 * 1_000_000
    assert parse_iso_time(iso_time(time_us)) == time_us


@pytest.mark.parametrize(
    ("text", "time_us"),
    [
        ("1970-01-02", 86_400_000_000),
        ("1970-01-01T00:01Z", 60_000_000),
        ("1970-01-01T00:00:01Z", 1_000_000),
        ("1970-01-01T00:00:00.1234567Z", 123_456),
        ("1970-01-01T01:00:00+01:00", 0),
    ],
)
def test_the_forms_of_a_time(text, time_us):
    assert parse_iso_time(text) == time_us


@given(st.text(max_size=30))
def test_other_texts_are_no_dates(text):
    for parse in (parse_http_date, parse_iso_time):
        try:
            assert isinstance(parse(text), int)
        except ValueError:
            continue


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_ranges_stay_inside(first, last, size):
    wanted = parse_range(f"bytes={first}-{last}")
    content = bytes(range(size))
    if wanted is not None and first >= size:
        assert refusal_of(lambda: clip(wanted, size)).status == 416
        return
    start, end = clip(wanted, size)
    assert content[start:end] == (content[first : last + 1] if first <= last else content)


@given(st.text())
def test_text_in_xml(text):
    name = ElementTree.fromstring(name_element(text))
    if name.get("Encoded") is None:
        assert (name.text or "") == text
    assert ElementTree.fromstring(element("X", text)).tag == "X"


@given(st.text(max_size=40))
def test_names_are_taken_or_refused(text):
    for check in (check_container_name, check_blob_name, lambda t: check_metadata({t: ""})):
        refused = refusal_of(lambda c=check: c(text))
        assert refused is None or refused.status == 400


@pytest.mark.parametrize("name", ["abc", "a-b-c", "0" * 63, "$root", "$web", "a1-2b"])
def test_good_container_names(name):
    check_container_name(name)


@pytest.mark.parametrize("name", ["a--b", "-ab", "ab-", "aB1", "a_b", "abc\n", "äöü", "$other"])
def test_bad_container_names(name):
    with pytest.raises(Refused):
        check_container_name(name)


def test_every_error_has_a_body():
    for code in ERRORS:
        root = ElementTree.fromstring(error_body(Refused(code), "id", "now"))
        assert root.findtext("Code") == code
        assert root.findtext("Message")


NO_SIGNATURES = {"get_user_delegation_key"}  # for bearer tokens alone


def test_every_row_is_found_by_its_own_request():
    for row in OPERATIONS:
        if row.real:
            assert match_operation(row.method, row.level, row.restype, row.comp) is row
            assert row.permits or row.name.endswith("_acl") or row.name in NO_SIGNATURES
        else:
            with pytest.raises(Refused) as refused:
                match_operation(row.method, row.level, row.restype, row.comp)
            assert refused.value.status == 501
