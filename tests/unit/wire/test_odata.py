"""Filters: what they mean, what they may not say, and that nothing else can come of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.wire.errors import Refused
from lote.wire.filters import FILTERS
from lote.wire.odata import (
    And,
    Compare,
    Expr,
    Not,
    Or,
    StartsWith,
    evaluate,
    parse_expand,
    parse_filter,
    parse_select,
    select_members,
)

TASKS = FILTERS["tasks"]
MOMENT_US = 1_729_732_518_000_000  # 2024-10-24T01:15:18Z
A_TASK = {
    "id": "Task-7",
    "state": "completed",
    "creationTime": MOMENT_US,
    "executionInfo/exitCode": 3,
}


def passes(text: str) -> bool:
    return evaluate(parse_filter(text, TASKS), A_TASK.get)


def test_and_binds_closer_than_or():
    expr = parse_filter("id eq 'a' or id eq 'b' and state eq 'c'", TASKS)
    a, b, c = (
        Compare("id", "eq", "a"),
        Compare("id", "eq", "b"),
        Compare("state", "eq", "c"),
    )
    assert expr == Or((a, And((b, c))))
    assert parse_filter("(id eq 'a' or id eq 'b') and state eq 'c'", TASKS) == And((Or((a, b)), c))


def test_literals():
    assert parse_filter("id eq 'it''s'", TASKS) == Compare("id", "eq", "it's")
    assert parse_filter("executionInfo/exitCode lt -1", TASKS) == Compare(
        "executionInfo/exitCode", "lt", -1
    )
    assert parse_filter("enableAutoScale eq TRUE", FILTERS["pools"]) == Compare(
        "enableAutoScale", "eq", True
    )


@pytest.mark.parametrize(
    "literal",
    [
        "DateTime'2024-10-24T01:15:18Z'",
        "datetime'2024-10-24T01:15:18Z'",
        "DateTime'Thu, 24 Oct 2024 01:15:18 GMT'",
        "datetimeoffset'2024-10-24T03:15:18+02:00'",
        "'2024-10-24T01:15:18Z'",
    ],
)
def test_moments_are_microseconds(literal: str):
    expected = Compare("creationTime", "ge", MOMENT_US)
    assert parse_filter(f"creationTime ge {literal}", TASKS) == expected


def test_both_spellings_of_last_modified_mean_one_property():
    texts = [f"{name} gt DateTime'2024-01-01'" for name in ("lastModified", "lastModifiedTime")]
    assert parse_filter(texts[0], TASKS) == parse_filter(texts[1], TASKS)


def test_words_may_be_spelled_in_any_case_and_blanks_do_not_matter():
    assert parse_filter("  StartsWith( id ,'a') AND NOT (state EQ 'b')  ", TASKS) == And(
        (StartsWith("id", "a"), Not(Compare("state", "eq", "b")))
    )


@pytest.mark.parametrize(
    "text",
    [
        "id eq 'TASK-7'",
        "startswith(id,'tASK')",
        "id ne 'other'",
        "id ge 'task-5' and id lt 'TASK-8'",
        "state eq 'Completed'",
        "creationTime le DateTime'2024-10-24T01:15:18Z'",
        "executionInfo/exitCode gt 2",
        "executionInfo/result ne 'success'",  # it has none, so it is not success
        "not (executionInfo/result eq 'success')",
        "state eq 'active' or executionInfo/exitCode eq 3",
    ],
)
def test_filters_that_the_task_passes(text: str):
    assert passes(text)


@pytest.mark.parametrize(
    "text",
    [
        "id eq 'Task-'",
        "startswith(id,'ask')",
        "id ne 'TASK-7'",
        "creationTime gt DateTime'2024-10-24T01:15:18Z'",
        "executionInfo/result eq 'success'",
        "executionInfo/endTime lt DateTime'2099-01-01'",
        "startswith(id,'Task') and executionInfo/exitCode eq 0",
    ],
)
def test_filters_that_the_task_does_not_pass(text: str):
    assert not passes(text)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "id", "id eq", "id eq 'a", "id eq 'a' and", "id eq 'a' id eq 'b'", "eq id 'a'",
        "'a' eq id", "id eq a", "id eq 5", "id like 'a'", "id startswith 'a'", "startswith(id)",
        "startswith(state,'a')", "startswith(id,'a'", "(id eq 'a'", "id eq 'a')", "not", "()",
        "Id eq 'a'", "nothing eq 'a'", "state gt 'a'", "creationTime eq 5", "id eq 'a';",
        "creationTime eq DateTime'soon'", "executionInfo/exitCode eq '3'", "id eq \"a\"",
        "executionInfo/exitCode eq 99999999999999999999", "enableAutoScale eq true",
        "id eq DateTime'2024-01-01'", "(" * 5000 + "id eq 'a'" + ")" * 5000,
        "not " * 5000 + "id eq 'a'", "id eq '" + "a" * 20_000 + "'", "id eq 'a' %00",
    ],
)  # fmt: skip
def test_what_is_no_filter_is_refused(text: str):
    with pytest.raises(Refused) as caught:
        parse_filter(text, TASKS)
    assert (caught.value.code, caught.value.status) == ("InvalidQueryParameterValue", 400)
    assert dict(caught.value.values)["QueryParameterName"] == "$filter"


def test_a_long_flat_filter_is_fine():
    text = " or ".join(f"id eq 't{number}'" for number in range(1000))
    assert isinstance(parse_filter(text, TASKS), Or)


ops = st.sampled_from(["eq", "ne", "gt", "ge", "lt", "le"])
comparisons = st.builds(Compare, st.just("id"), ops, st.text(max_size=5)) | st.builds(
    StartsWith, st.just("id"), st.text(max_size=5)
)
exprs = st.recursive(
    comparisons,
    lambda inner: (
        st.lists(inner, min_size=2, max_size=3).map(lambda items: And(tuple(items)))
        | st.lists(inner, min_size=2, max_size=3).map(lambda items: Or(tuple(items)))
        | st.builds(Not, inner)
    ),
    max_leaves=12,
)


def written(expr: Expr) -> str:
    match expr:
        case Compare(prop, op, value):
            return f"{prop} {op} " + "'{}'".format(str(value).replace("'", "''"))
        case StartsWith(prop, value):
            return f"startswith({prop}," + "'{}')".format(value.replace("'", "''"))
        case And(items):
            return "(" + " and ".join(map(written, items)) + ")"
        case Or(items):
            return "(" + " or ".join(map(written, items)) + ")"
        case Not(item):
            return f"not ({written(item)})"


@given(exprs)
def test_a_filter_survives_being_written_and_read(expr: Expr):
    assert parse_filter(written(expr), TASKS) == expr


@given(exprs, st.text(max_size=5) | st.none())
def test_a_filter_and_its_opposite_share_all_entities(expr: Expr, task_id: str | None):
    assert evaluate(expr, lambda _: task_id) is not evaluate(Not(expr), lambda _: task_id)


fragments = st.lists(
    st.sampled_from(
        ["id", "state", "eq", "ne", "and", "or", "not", "(", ")", ",", "'a'", "5", "true",
         "startswith", "DateTime'2024-01-01'", "'", "executionInfo/exitCode"]
    ), max_size=14,
).map(" ".join)  # fmt: skip


@given(st.text() | fragments)
def test_any_text_is_a_filter_or_is_refused(text: str):
    for allowed in (TASKS, FILTERS["pools"]):
        try:
            expr = parse_filter(text, allowed)
        except Refused:
            continue
        assert evaluate(expr, lambda _: None) in (True, False)


def test_select_trims_and_keeps_the_order():
    allowed = frozenset({"id", "state", "url"})
    assert parse_select("state, id ,state,", allowed) == ("state", "id")
    assert parse_select("", allowed) == ()
    for text in ("Id", "id,nothing", "executionInfo/startTime"):
        with pytest.raises(Refused) as caught:
            parse_select(text, allowed)
        assert caught.value.code == "InvalidQueryParameterValue"


def test_only_stats_can_be_expanded():
    assert parse_expand("stats") == ("stats",)
    with pytest.raises(Refused):
        parse_expand("executionInfo")


def test_selected_members_are_all_that_is_left():
    members = {"id": "a", "state": "active", "url": "u"}
    assert select_members(members, ("url", "stats", "id")) == {"url": "u", "id": "a"}
    assert select_members(members, ()) == members


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_every_rule_can_be_used(name: str):
    literals = {"string": "'a'", "int": "1", "bool": "true", "time": "DateTime'2024-01-01'"}
    for prop, rule in FILTERS[name].items():
        for op in rule.ops:
            text = (
                f"startswith({prop},'a')"
                if op == "startswith"
                else (f"{prop} {op} {literals[rule.kind]}")
            )
            assert parse_filter(text, FILTERS[name])
