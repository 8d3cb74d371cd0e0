"""The pure parts of reading a request: signatures, dates, conditions, queries, ranges, pages."""

from __future__ import annotations

import base64
import hashlib
import hmac
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lote.cli.shared_key import authorization
from lote.server.channel import parse_node_authorization
from lote.server.conditions import check_read, check_write, parse_conditions
from lote.server.handlers.file import parse_range
from lote.server.http import check_content_type, parse_query
from lote.server.options import check_options
from lote.server.pages import answer_page, page_of, paged
from lote.server.request import NO_CONDITIONS, Conditions, Request
from lote.server.shared_key import check_date, parse_authorization, verify
from lote.wire.errors import Refused
from lote.wire.formats import etag_of, format_http_date
from lote.wire.operations import OPERATIONS
from lote.wire.task import Task

NAMED = {operation.name: operation for operation in OPERATIONS}
NOW_US = 1_735_689_600_000_000
KEYS = tuple(base64.b64encode(bytes([n]) * 64).decode() for n in (1, 2))
HEADERS = st.text(st.characters(max_codepoint=255, min_codepoint=32), max_size=40)


def refused_by(function, *given):
    """What refuses; None when nothing does. Any other exception goes through."""
    try:
        function(*given)
    except Refused as refused:
        return refused
    return None


def refusal(function, *given):
    refused = refused_by(function, *given)
    return None if refused is None else refused.code


def status_of(function, *given):
    refused = refused_by(function, *given)
    return None if refused is None else refused.status


def a_request(name="list_tasks", *, query=None, conditions=NO_CONDITIONS):
    return Request(
        operation=NAMED[name],
        params={"job_id": "j"},
        query=query or {},
        base_url="https://host:1/lote",
        path="/jobs/j/tasks",
        api_version="2024-07-01.20.0",
        account="lote",
        conditions=conditions,
    )


# -- signatures -----------------------------------------------------------------------------


def sign(text, key=KEYS[0]):
    digest = hmac.digest(base64.b64decode(key), text.encode(), hashlib.sha256)
    return base64.b64encode(digest).decode()


def is_good(method, path, query, headers, signature):
    return refusal(verify, method, path, query, headers, "lote", signature, KEYS) is None


def text_of(method="GET", length="", path="/jobs", query="", ocp="ocp-date:now\n"):
    return f"{method}\n\n\n{length}\n\n\n\n\n\n\n\n\n{ocp}/lote{path}{query}"


@pytest.mark.parametrize("key", KEYS)
def test_either_key_is_good(key):
    headers = {"ocp-date": "now"}
    assert is_good("GET", "/jobs", "", headers, sign(text_of(), key))
    assert not is_good(
        "GET", "/jobs", "", headers, sign(text_of(), base64.b64encode(b"x").decode())
    )


@pytest.mark.parametrize(
    ("raw_query", "signed"),
    [
        ("api-version=1&maxresults=5", "\napi-version:1\nmaxresults:5"),
        ("maxresults=5&api-version=1", "\napi-version:1\nmaxresults:5"),
        ("$filter=id%20eq%20'a+b'&api-version=1", "\n$filter:id eq 'a b'\napi-version:1"),
        ("api-version=1&a=1&a=2", "\na:1\napi-version:1"),
        ("api-version=1&empty=", "\napi-version:1"),
        ("api-version=1&empty=", "\napi-version:1\nempty:"),
        ("timeOut=3&Api-Version=1", "\nApi-Version:1\ntimeOut:3"),
        ("timeOut=3&Api-Version=1", "\napi-version:1\ntimeout:3"),
    ],
)
def test_every_way_in_which_clients_sign_the_query(raw_query, signed):
    assert is_good("GET", "/jobs", raw_query, {"ocp-date": "now"}, sign(text_of(query=signed)))


@pytest.mark.parametrize("signed", ["0", ""])
def test_an_empty_body_may_be_signed_as_zero_or_not_at_all(signed):
    headers = {"ocp-date": "now", "content-length": "0"}
    text = text_of("POST", signed)
    assert is_good("POST", "/jobs", "", headers, sign(text))
    headers["content-length"] = "1"
    assert not is_good("POST", "/jobs", "", headers, sign(text))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "DELETE"},
        {"path": "/jobs/j"},
        {"raw_query": "api-version=2"},
        {"headers": {"ocp-date": "then"}},
        {"headers": {"ocp-date": "now", "if-match": "*"}},
        {"headers": {"ocp-date": "now", "ocp-range": "bytes=0-1"}},
    ],
)
def test_whatever_is_signed_cannot_be_changed(change):
    given = {"method": "GET", "path": "/jobs", "raw_query": "", "headers": {"ocp-date": "now"}}
    assert is_good(*given.values(), sign(text_of()))
    assert not is_good(*(given | change).values(), sign(text_of()))


@given(st.sampled_from(["GET", "POST", "PUT"]), HEADERS, st.dictionaries(HEADERS, HEADERS))
def test_our_own_client_and_the_server_agree(method, name, query):
    path = f"/jobs/{quote(name, safe='')}"
    raw_query = "&".join(f"{quote(k)}={quote(v)}" for k, v in query.items() if k)
    headers = {"ocp-date": "now", "content-length": "3"}
    target = f"{path}?{raw_query}" if raw_query else path
    account, signature = parse_authorization(
        authorization("lote", KEYS[1], method, target, headers)
    )
    assert account == "lote"
    assert is_good(method, path, raw_query, headers, signature)


@given(HEADERS)
@example("SharedKey lote:")
@example("SharedKey :abc")
@example("Basic lote:abc")
def test_any_authorization_is_read_or_refused(value):
    assert refusal(parse_authorization, value) in (
        None,
        "InvalidAuthenticationInfo",
        "MissingRequiredHeader",
    )
    assert refusal(parse_node_authorization, value) in (None, "InvalidAuthenticationInfo")
    headers = {"ocp-date": value}
    assert refusal(verify, "GET", "/", value, headers, "lote", value, KEYS) == (
        "AuthenticationFailed"
    )


@pytest.mark.parametrize(
    ("offset_s", "code"),
    [
        (0, None),
        (899, None),
        (-899, None),
        (902, "AuthenticationFailed"),
        (-902, "AuthenticationFailed"),
    ],
)
def test_the_date_may_be_off_a_little(offset_s, code):
    headers = {"ocp-date": format_http_date(NOW_US + offset_s * 1_000_000)}
    assert refusal(check_date, headers, NOW_US, 900.0) == code


@given(HEADERS)
@example("Mon, 01 Jan 0000 00:00:00 GMT")
@example("Fri, 31 Dec 9999 23:59:60 GMT")
def test_any_date_is_read_or_refused(text):
    assert refusal(check_date, {"date": text}, NOW_US, 900.0) == "AuthenticationFailed"
    for name in ("if-modified-since", "if-unmodified-since"):
        assert refusal(parse_conditions, {name: text}, "all") in (None, "InvalidHeaderValue")


def test_a_request_without_a_date_is_refused():
    assert refusal(check_date, {}, NOW_US, 900.0) == "AuthenticationFailed"


# -- conditions -----------------------------------------------------------------------------

ETAG = etag_of(NOW_US)
SECOND_US = 1_000_000


@pytest.mark.parametrize(
    ("conditions", "write", "read"),
    [
        (Conditions(), None, None),
        (Conditions(if_match=ETAG), None, None),
        (Conditions(if_match="*"), None, None),
        (Conditions(if_match="0x1"), 412, 412),
        (Conditions(if_none_match="0x1"), None, None),
        (Conditions(if_none_match=ETAG), 412, 304),
        (Conditions(if_none_match="*"), 412, 304),
        (Conditions(if_modified_since_us=NOW_US - SECOND_US), None, None),
        (Conditions(if_modified_since_us=NOW_US), 412, 304),
        (Conditions(if_unmodified_since_us=NOW_US), None, None),
        (Conditions(if_unmodified_since_us=NOW_US - SECOND_US), 412, 412),
        (Conditions(if_match="0x1", if_none_match=ETAG), 412, 412),
    ],
)
def test_conditions(conditions, write, read):
    assert status_of(check_write, a_request(conditions=conditions), NOW_US) == write
    assert status_of(check_read, conditions, NOW_US) == read


def test_fractions_of_a_second_do_not_count_in_dates():
    since = Conditions(if_modified_since_us=NOW_US)
    until = Conditions(if_unmodified_since_us=NOW_US)
    assert refusal(check_read, since, NOW_US + 500_000) == "ConditionNotMet"
    assert refusal(check_read, until, NOW_US + 500_000) is None


def test_conditions_are_read_in_every_spelling():
    headers = {
        "if-match": f' "{ETAG}" ',
        "if-none-match": f'W/"{ETAG}"',
        "if-modified-since": format_http_date(NOW_US),
    }
    read = parse_conditions(headers, "all")
    assert read == Conditions(if_match=ETAG, if_none_match=ETAG, if_modified_since_us=NOW_US)
    assert parse_conditions(headers, "modified") == Conditions(if_modified_since_us=NOW_US)
    assert parse_conditions(headers, "none") is NO_CONDITIONS
    assert parse_conditions({"accept": "x"}, "all") is NO_CONDITIONS


# -- queries and ranges ---------------------------------------------------------------------


def test_options_are_found_in_any_spelling():
    query = parse_query("$Filter=id%20eq%20'a'&api-version=1&MaxResults=5&maxresults=7&flag&=x")
    assert query == {"filter": "id eq 'a'", "api-version": "1", "maxresults": "5", "flag": ""}
    assert parse_query("") == {}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("1", None),
        ("1000", None),
        ("0", "OutOfRangeQueryParameterValue"),
        ("1001", "OutOfRangeQueryParameterValue"),
        ("-1", "OutOfRangeQueryParameterValue"),
        ("--1", "InvalidQueryParameterValue"),
        ("-", "InvalidQueryParameterValue"),
        ("", "InvalidQueryParameterValue"),
        ("1.5", "InvalidQueryParameterValue"),
        ("²", "InvalidQueryParameterValue"),
        ("9" * 5000, "InvalidQueryParameterValue"),
    ],
)
def test_page_sizes(text, code):
    assert refusal(check_options, {"maxresults": text}, NAMED["list_jobs"]) == code
    assert refusal(check_options, {"maxresults": text}, NAMED["get_job"]) is None


@given(HEADERS | st.from_regex(r"bytes=[0-9²-]{0,6}"))
@example("--1")
def test_any_page_size_and_range_is_read_or_refused(text):
    assert refusal(check_options, {"maxresults": text}, NAMED["list_jobs"]) in (
        None,
        "InvalidQueryParameterValue",
        "OutOfRangeQueryParameterValue",
    )
    assert refusal(parse_range, text) in (None, "InvalidHeaderValue", "InvalidRange")
    assert refusal(check_content_type, text) in (None, "InvalidHeaderValue")


@pytest.mark.parametrize(
    ("text", "span"),
    [
        (None, None),
        ("bytes=0-", (0, None)),
        ("bytes=5-9", (5, 9)),
        (" Bytes=0-0 ", (0, 0)),
    ],
)
def test_ranges(text, span):
    assert parse_range(text) == span


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("bytes=9-5", "InvalidRange"),
        ("bytes=-5", "InvalidHeaderValue"),
        ("bytes=5", "InvalidHeaderValue"),
        ("bytes=a-b", "InvalidHeaderValue"),
        ("lines=1-2", "InvalidHeaderValue"),
        ("bytes=1-2,4-5", "InvalidHeaderValue"),
        ("bytes=²-³", "InvalidHeaderValue"),
        (f"bytes={'9' * 5000}-", "InvalidHeaderValue"),
    ],
)
def test_odd_ranges(text, code):
    assert refusal(parse_range, text) == code


# -- pages ----------------------------------------------------------------------------------


class Item(msgspec.Struct):
    id: str


IDS = st.lists(st.text(min_size=1, max_size=5), unique_by=str.lower, max_size=15)


def follow(answer_to):
    """All ids, by next links; ``answer_to`` gets the query of each page."""
    seen, query = [], {"maxresults": "4", "filter": "id eq 'ä&b'", "select": "id"}
    while True:
        shown = msgspec.json.decode(answer_to(query).body)
        seen += [one["id"] for one in shown["value"]]
        link = shown.get("odata.nextLink")
        if link is None:
            return seen
        assert link.startswith("https://host:1/lote/jobs/j/tasks?")
        query = parse_query(urlsplit(link).query)
        assert query["api-version"] == "2024-07-01.20.0"
        assert query["filter"] == parse_qs(urlsplit(link).query)["$filter"][0] == "id eq 'ä&b'"
        assert (query["maxresults"], query["select"]) == ("4", "id")


@given(IDS)
def test_links_lead_through_all_pages_of_a_stored_list(ids):
    items = sorted((Item(one) for one in ids), key=lambda one: one.id)

    def answer_to(query):
        request = a_request(query=query)
        page = page_of(request)
        behind = [one for one in items if page.after_id is None or one.id > page.after_id]
        return answer_page(request, behind[: page.limit + 1], Task, lambda one: {"id": one.id})

    assert follow(answer_to) == [one.id for one in items]


@given(IDS)
def test_links_lead_through_all_pages_of_a_list_in_memory(ids):
    from lote.server.pages import answer_list, id_order

    items = sorted((Item(one) for one in ids), key=lambda one: id_order(one.id))

    def answer_to(query):
        request = a_request(query=query)
        page, next_id = paged(request, items)
        return answer_list(request, [{"id": one.id} for one in page], next_id)

    assert follow(answer_to) == [one.id for one in items]


@given(HEADERS)
@example("a")
@example("////")
def test_any_token_is_read_or_refused(token):
    request = a_request(query={"skiptoken": token})
    assert refusal(page_of, request) in (None, "InvalidQueryParameterValue")
