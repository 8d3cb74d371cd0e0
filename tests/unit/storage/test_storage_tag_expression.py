from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lote.storage.errors import Refused
from lote.storage.tag_expression import Comparison, parse_search, parse_tag_condition

TAGS = {"city": "Bern", "year": "2024", " odd+key": "a b"}
TEXTS = st.text("abcXYZ019 +-./:=_", max_size=8)
KEYS = st.text("abcXYZ019 +-./:=_", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("city = 'Bern'", True),
        ("city='Basel'", False),
        ("city<>'Basel'", True),
        ("town<>'Basel'", False),
        ("year>='2024'and year < '2025'", True),
        ("year > '2024' or city = 'Bern'", True),
        ("city='Basel' AND year='2024' OR city='Bern'", True),
        ("city='Basel' AND (year='2024' OR city='Bern')", False),
        ("\" odd+key\" = 'a b'", True),
        ("year <= '2023'", False),
        (f"{'k' * 200} <> 'x'", False),
        (f"city <> '{'v' * 300}'", True),
        (" and ".join(f"year <> '{n}'" for n in range(1000)), True),
    ],
)
def test_conditions(text, holds):
    assert parse_tag_condition(text)(TAGS) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "city",
        "city='Bern' and",
        "city=='Bern'",
        "city=Bern",
        "ci+ty='Bern'",
        "ci--ty='Bern'",
        "city='Be$$rn'",
        "'city'='Bern'",
        "@container='box'",
        "city='Bern' year='2024'",
        "(city='Bern'",
        "city='Bern')",
        "(" * 100 + "city='Bern'" + ")" * 100,
    ],
)
def test_what_is_no_condition(text):
    with pytest.raises(Refused) as refused:
        parse_tag_condition(text)
    assert (refused.value.code, refused.value.status) == ("InvalidHeaderValue", 400)


def test_searches():
    search = parse_search("\"a b\">='1' AND year < '2024' and @container = 'box'")
    assert search.comparisons == (Comparison("a b", ">=", "1"), Comparison("year", "<", "2024"))
    assert search.container == "box"
    assert parse_search("a='1'").container is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("astring", "at or near character position 8"),
        ("key<>'a'", "unexpected '<>'"),
        ("a='1' or b='2'", "position 7: expected AND"),
        ("'a b'='1'", "position 2"),
        ("a='@container'", "not permitted in tag name or value"),
        ("a='1 @'", "not permitted in tag name or value"),
        (f"{'k' * 129}='1'", "tag must be between 1 and 128 characters"),
        (f"a='{'v' * 257}'", "tag value must be between 0 and 256 characters"),
        (" and ".join(f"k{n}='1'" for n in range(11)), "query: there can be at most 10 unique"),
        ("@container='box'", "at least one tag"),
        ("@container>'box' and a='1'", "@container can only"),
        ("@other='box' and a='1'", "unsupported parameter '@other'"),
        ("(a='1')", "unexpected '('"),
    ],
)
def test_what_is_no_search(text, reason):
    with pytest.raises(Refused) as refused:
        parse_search(text)
    assert refused.value.code == "InvalidQueryParameterValue"
    assert refused.value.message.startswith("Error parsing query")
    assert reason in refused.value.message


@settings(deadline=None)  # of a busy machine
@given(KEYS, TEXTS, TEXTS)
def test_comparisons_are_those_of_texts(key, found, wanted):
    tags = {key: found}
    quoted = f"\"{key}\" %s '{wanted}'"
    assert parse_tag_condition(quoted % "=")(tags) is (found == wanted)
    assert parse_tag_condition(quoted % "<>")(tags) is (found != wanted)
    assert parse_tag_condition(quoted % "<")(tags) is (found < wanted)
    assert parse_tag_condition(quoted % ">=")(tags) is (found >= wanted)


PIECES = ["a", "=", "'b'", "(", ")", "and", "or", "@container", '"']


@settings(deadline=None)  # of a busy machine
@given(st.text(max_size=30) | st.lists(st.sampled_from(PIECES)).map(" ".join))
def test_any_text_is_an_expression_or_refused(text):
    for parse in (parse_tag_condition, parse_search):
        try:
            parse(text)
        except Refused:
            continue
