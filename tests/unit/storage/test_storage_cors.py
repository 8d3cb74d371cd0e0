"""Rules for cross-origin requests, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.storage.cors import Rule, answer_headers, fits, preflight_headers
from lote.storage.errors import Refused

text = st.text("ab.*-", max_size=6)


@pytest.mark.parametrize(
    ("pattern", "name", "is_meant"),
    [
        ("*", "", True),
        ("*", "https://any", True),
        ("https://a.example", "HTTPS://A.example", True),
        ("https://a.example", "https://a.example.org", False),
        ("https://*.example", "https://a.b.example", True),
        ("https://*.example", "https://.example", True),
        ("https://*.example", "https://example", False),
        ("x-ms-meta-*", "x-ms-meta-mine", True),
        ("x-ms-meta-*", "x-ms-met", False),
        ("ab*ba", "aba", False),  # what is before and behind the star must not overlap
    ],
)
def test_patterns(pattern, name, is_meant):
    assert fits(pattern, name) is is_meant


@given(before=text, after=text, middle=text)
def test_a_star_means_anything(before, after, middle):
    pattern = before.replace("*", "") + "*" + after.replace("*", "")
    assert fits(pattern, before.replace("*", "") + middle + after.replace("*", ""))


def a_rule(**fields):
    return Rule(("https://a",), ("GET",), (), (), 5)._replace(**fields)


@given(
    st.lists(
        st.builds(
            Rule,
            st.tuples(st.sampled_from(["*", "https://a", "https://*"])),
            st.tuples(st.sampled_from(["GET", "PUT"])),
            st.just(("x-ms-*",)),
            st.just(("ETag",)),
            st.integers(0, 99),
        ),
        max_size=5,
    ),
    st.sampled_from(["https://a", "https://b", "http://c"]),
    st.sampled_from(["GET", "PUT"]),
)
def test_what_was_allowed_beforehand_is_shown_afterwards(rules, origin, method):
    sent = {"origin": origin, "access-control-request-method": method}
    after = answer_headers(rules, origin, method, ["ETag"])
    same = "Access-Control-Allow-Origin"
    if not any(rule.allows(origin, method) for rule in rules):
        with pytest.raises(Refused, match="CorsPreflightFailure"):
            preflight_headers(rules, sent)
        assert same not in after
        return
    before = preflight_headers(rules, sent)
    assert before[same] == after[same]
    assert before[same] in ("*", origin)
    assert (before[same] == "*") is ("Access-Control-Allow-Credentials" not in before)


def test_the_first_rule_that_fits_counts():
    rules = [a_rule(max_age_s=1), a_rule(origins=("*",), max_age_s=2)]
    sent = {"origin": "https://a", "access-control-request-method": "GET"}
    assert preflight_headers(rules, sent)["Access-Control-Max-Age"] == "1"


def test_every_header_that_is_asked_for_must_be_allowed():
    rules = [a_rule(headers=("x-ms-*", "range"))]
    sent = {"origin": "https://a", "access-control-request-method": "GET"}
    assert preflight_headers(rules, sent | {"access-control-request-headers": "Range,X-MS-a"})
    with pytest.raises(Refused) as refused:
        preflight_headers(rules, sent | {"access-control-request-headers": "range,cookie"})
    assert refused.value.code == "CorsPreflightFailure"
