"""Lists: every filter of the protocol, pages that are followed while things change, selections."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from azure.batch import models as m

from .conftest import add_task, create_pool, fresh, shell, until, wait_task
from .raw_http import check_error
from .success import check_headers

STILL_POOL, STILL_JOB = "still-pool", "still-job"  # named in filters, so not fresh
LONG_AGO = "DateTime'2011-05-08T08:49:37Z'"
FAR_AHEAD = "datetime'2999-01-01T00:00:00.1234567Z'"
RFC_1123 = "DateTime'Sun, 08 May 2011 08:49:37 GMT'"


def times(name: str) -> list[tuple[str, bool]]:
    """Filters by a time that lies between, and whether they let through what has it."""
    return [
        (f"{name} gt {LONG_AGO}", True),
        (f"{name} ge {RFC_1123}", True),
        (f"{name} lt {LONG_AGO}", False),
        (f"{name} le {FAR_AHEAD}", True),
        (f"{name} eq {LONG_AGO}", False),
        (f"{name} ne {LONG_AGO}", True),
    ]


def words(name: str, value: str) -> list[tuple[str, bool]]:
    return [
        (f"{name} eq '{value}'", True),
        (f"{name} eq '{value.upper()}'", True),
        (f"{name} ne '{value}'", False),
        (f"{name} eq 'other'", False),
        (f"{name} ne 'other'", True),
    ]


def prefixes(name: str, value: str) -> list[tuple[str, bool]]:
    return [
        *words(name, value),
        (f"startswith({name},'{value[:-1]}')", True),
        (f"startswith({name}, '{value.upper()}')", True),
        (f"startswith({name},'%')", False),
        (f"startswith({name},'{value.replace('-', '_')}')", False),
        (f"{name} ge '{value}'", True),
        (f"{name} gt '{value}'", False),
        (f"{name} le '{value}'", True),
        (f"{name} lt '{value}'", False),
    ]


def numbers(name: str, value: int) -> list[tuple[str, bool]]:
    return [
        (f"{name} eq {value}", True),
        (f"{name} ne {value}", False),
        (f"{name} gt {value - 1}", True),
        (f"{name} ge {value}", True),
        (f"{name} lt {value}", False),
        (f"{name} le {value}", True),
        (f"{name} gt -999", True),
    ]


def flags(name: str) -> list[tuple[str, bool]]:
    return [
        (f"{name} eq false", True),
        (f"{name} ne false", False),
        (f"{name} eq true", False),
        (f"{name} ne true", True),
    ]


POOL_FILTERS = [
    *prefixes("id", STILL_POOL),
    *words("state", "active"),
    *words("allocationState", "steady"),
    *words("vmSize", "standard_d2_v2"),
    *flags("enableAutoScale"),
    *flags("enableInterNodeCommunication"),
    *times("stateTransitionTime"),
    *times("allocationStateTransitionTime"),
    *times("creationTime"),
    *times("lastModified"),
]
JOB_FILTERS = [
    *prefixes("id", STILL_JOB),
    *words("state", "active"),
    *prefixes("executionInfo/poolId", "no-pool"),
    *times("stateTransitionTime"),
    *times("creationTime"),
    *times("lastModified"),
    *times("executionInfo/startTime"),
    (f"executionInfo/endTime gt {LONG_AGO}", False),
    (f"executionInfo/endTime ne {LONG_AGO}", True),
    (f"not (executionInfo/endTime gt {LONG_AGO})", True),
]
TASK_FILTERS = [
    *prefixes("id", "done-5"),
    *words("state", "completed"),
    *words("executionInfo/result", "failure"),
    *numbers("executionInfo/exitCode", 5),
    *times("stateTransitionTime"),
    *times("creationTime"),
    *times("lastModified"),
    *times("lastModifiedTime"),
    *times("executionInfo/startTime"),
    *times("executionInfo/endTime"),
]
NODE_FILTERS = [
    *words("state", "idle"),
    *times("stateTransitionTime"),
    *times("lastBootTime"),
    *times("allocationTime"),
    ("startTaskInfo/state eq 'completed'", False),
    ("startTaskInfo/result ne 'success'", True),
    ("startTaskInfo/exitCode eq 0", False),
    (f"startTaskInfo/startTime gt {LONG_AGO}", False),
    (f"startTaskInfo/endTime ne {LONG_AGO}", True),
]


@pytest.fixture(scope="module")
def still(batch):
    """A pool without nodes, for lists of pools."""
    create_pool(batch, STILL_POOL, 0)
    return STILL_POOL


@pytest.fixture(scope="module")
def waiting(batch):
    """A job on a pool that does not exist, for lists of jobs."""
    job_id = STILL_JOB
    batch.create_job(
        m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id="no-pool"))
    )
    return job_id


@pytest.fixture(scope="module")
def mixed(batch, pool):
    """A job with a failed task, a good one and one that waits."""
    job_id = fresh("mixed")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool)))
    add_task(batch, job_id, "done-5", shell("exit 5"))
    add_task(batch, job_id, "good")
    add_task(batch, job_id, "waits", required_slots=200)
    wait_task(batch, job_id, "done-5")
    wait_task(batch, job_id, "good")
    return job_id


@pytest.mark.parametrize(("text", "expected"), POOL_FILTERS)
def test_pool_filters(batch, still, text, expected):
    found = {pool.id for pool in batch.list_pools(filter=text)}
    assert (still in found) == expected


@pytest.mark.parametrize(("text", "expected"), JOB_FILTERS)
def test_job_filters(batch, waiting, text, expected):
    found = {job.id for job in batch.list_jobs(filter=text)}
    assert (waiting in found) == expected


@pytest.mark.parametrize(("text", "expected"), TASK_FILTERS)
def test_task_filters(batch, mixed, text, expected):
    found = {task.id for task in batch.list_tasks(mixed, filter=text)}
    assert ("done-5" in found) == expected


@pytest.mark.parametrize(("text", "expected"), NODE_FILTERS)
def test_node_filters(batch, pool, text, expected):
    until(lambda: all(node.state == "idle" for node in batch.list_nodes(pool)))
    assert len(list(batch.list_nodes(pool, filter=text))) == (2 if expected else 0)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("executionInfo/exitCode ne 5", {"good", "waits"}),
        ("executionInfo/exitCode le 5", {"good", "done-5"}),
        ("executionInfo/result eq 'success' or state eq 'active'", {"good", "waits"}),
        ("state eq 'completed' and executionInfo/exitCode gt 0", {"done-5"}),
        ("state eq 'completed' and (id eq 'good' or id eq 'waits')", {"good"}),
        ("id eq 'good' or id eq 'waits' and state eq 'completed'", {"good"}),
        ("not (state eq 'completed')", {"waits"}),
        ("state eq 'running'", set()),
        ("state eq 'no state at all'", set()),
        ("startswith(id,'g') and executionInfo/result eq 'Success'", {"good"}),
        ("  id   EQ  'good'  ", {"good"}),
        ("id eq 'it''s'", set()),
    ],
)
def test_filters_together(batch, mixed, text, found):
    assert {task.id for task in batch.list_tasks(mixed, filter=text)} == found


@pytest.mark.parametrize(
    "text",
    [
        "nothing eq 'x'",
        "ID eq 'x'",
        "id like 'x'",
        "id eq",
        "eq 'x'",
        "id eq 'x",
        "id eq x",
        "id eq 5",
        "state gt 'active'",
        "startswith(state,'a')",
        "contains(id,'x')",
        "executionInfo/exitCode eq 'five'",
        "executionInfo/exitCode eq 99999999999999999999999999",
        "creationTime gt 5",
        "creationTime gt DateTime'soon'",
        "id eq 'x' and",
        "(id eq 'x'",
        "id eq 'x' id eq 'y'",
        "(" * 100 + "id eq 'x'" + ")" * 100,
        "not " * 5000 + "id eq 'x'",
        "id eq 'x'; DROP TABLE task",
        "1 eq 1",
    ],
)
def test_wrong_filters(raw, mixed, text):
    reply = raw("GET", f"/jobs/{mixed}/tasks?$filter={quote(text)}")
    check_error(reply, 400, "InvalidQueryParameterValue")
    assert reply.values["QueryParameterName"] == "$filter"
    assert reply.values["Reason"]


@pytest.mark.parametrize("value", ["0", "1001", "-1"])
@pytest.mark.parametrize("path", ["/pools", "/jobs", "/supportedimages", "/nodecounts"])
def test_page_sizes_out_of_range(raw, path, value):
    reply = raw("GET", f"{path}?maxresults={value}")
    check_error(reply, 400, "OutOfRangeQueryParameterValue")
    assert reply.values["QueryParameterName"] == "maxresults"


@pytest.mark.parametrize("value", ["ten", "1.5", "1e3", "99999999999999", "٣"])
def test_page_sizes_that_are_no_numbers(raw, value):
    reply = raw("GET", f"/jobs?maxresults={quote(value)}")
    assert reply.status == 400
    assert reply.code in ("InvalidQueryParameterValue", "OutOfRangeQueryParameterValue")


@pytest.mark.parametrize("token", ["!!", "%00", "%C3%A9", "A"])
def test_wrong_tokens(raw, token):
    reply = raw("GET", f"/jobs?$skiptoken={token}")
    assert reply.status in (200, 400), reply.body
    if reply.status == 400:
        assert reply.code == "InvalidQueryParameterValue"


# -- pages ------------------------------------------------------------------------------------


@pytest.fixture
def numbered(raw, lone_job):
    """A job with tasks 00 … 24."""
    value = [{"id": f"{n:02}", "commandLine": "x", "displayName": f"d{n}"} for n in range(25)]
    raw("POST", f"/jobs/{lone_job}/addtaskcollection", {"value": value})
    return lone_job


def test_sdk_pages(batch, numbered):
    pages = [[t.id for t in page] for page in batch.list_tasks(numbered, max_results=10).by_page()]
    assert [len(page) for page in pages] == [10, 10, 5]
    assert [name for page in pages for name in page] == [f"{n:02}" for n in range(25)]


@pytest.mark.parametrize("size", [1, 5, 24, 25, 26])
def test_every_page_size_gives_all(batch, numbered, size):
    ids = [task.id for task in batch.list_tasks(numbered, max_results=size)]
    assert ids == [f"{n:02}" for n in range(25)]


def test_the_link_repeats_the_question(raw, numbered):
    text = "id ge '05' and startswith(id,'0') or id eq '1+1 &='"
    first = raw(
        "GET",
        f"/jobs/{numbered}/tasks?$filter={quote(text)}&$select=id,%20displayName&maxresults=2",
    )
    check_headers(first)
    assert [set(task) for task in first.json["value"]] == [{"id", "displayName"}] * 2
    link = urlsplit(first.json["odata.nextLink"])
    assert f"{link.scheme}://{link.netloc}" == raw.endpoint
    asked = dict(parse_qsl(link.query))
    assert asked["$filter"] == text
    assert asked["maxresults"] == "2"
    assert asked["api-version"] == "2025-06-01"
    assert asked["$skiptoken"].replace("-", "").replace("_", "").isalnum()
    second = raw("GET", f"{link.path}?{link.query}", version=None)
    assert [task["id"] for task in second.json["value"]] == ["07", "08"]
    third = raw("GET", second.json["odata.nextLink"].removeprefix(raw.endpoint), version=None)
    assert [task["id"] for task in third.json["value"]] == ["09"]
    assert "odata.nextLink" not in third.json


def test_pages_while_things_come_and_go(batch, numbered):
    seen = []
    pages = batch.list_tasks(numbered, max_results=5).by_page()
    for number, page in enumerate(pages):
        seen += [task.id for task in page]
        if number == 0:
            batch.delete_task(numbered, "04")  # the last of the page before
            batch.delete_task(numbered, "07")
            add_task(batch, numbered, "03a")  # behind us
            add_task(batch, numbered, "12a")  # before us
    expected = [f"{n:02}" for n in range(25) if n != 7]
    assert seen == sorted([*expected, "12a"])


def test_pages_of_pools_and_jobs(batch, raw):
    jobs = [fresh("Paged") for _ in range(3)]
    for job_id in jobs:
        raw("POST", "/jobs", {"id": job_id, "poolInfo": {"poolId": "p"}})
        create_pool(batch, job_id, 0)
    text = "startswith(id,'paged-')"
    found = [job.id for job in batch.list_jobs(filter=text, max_results=1)]
    assert set(jobs) <= set(found)
    assert len(found) == len(set(found))
    found = [pool.id for pool in batch.list_pools(filter=text, max_results=2)]
    assert set(jobs) <= set(found)
    assert len(found) == len(set(found))


def test_pages_of_nodes_and_images(batch, pool):
    nodes = [node.id for node in batch.list_nodes(pool)]
    assert [node.id for node in batch.list_nodes(pool, max_results=1)] == nodes
    images = [image.as_dict() for image in batch.list_supported_images()]
    assert [one.as_dict() for one in batch.list_supported_images(max_results=3)] == images


def test_an_empty_list(raw, lone_job):
    reply = raw("GET", f"/jobs/{lone_job}/tasks")
    assert reply.json == {"odata.metadata": f"{raw.endpoint}/$metadata#tasks", "value": []}


def test_option_names_in_any_case(raw, numbered):
    reply = raw("GET", f"/jobs/{numbered}/tasks?MaxResults=3&%24FILTER=id%20gt%20'20'&$SELECT=id")
    assert reply.json["value"] == [{"id": "21"}, {"id": "22"}, {"id": "23"}]


# -- select and expand ------------------------------------------------------------------------


def test_select(raw, batch, mixed, pool):
    node_id = next(iter(batch.list_nodes(pool))).id
    for path, entity in (
        (f"/pools/{pool}", "pools"),
        (f"/jobs/{mixed}", "jobs"),
        (f"/jobs/{mixed}/tasks/good", "tasks"),
        (f"/pools/{pool}/nodes/{node_id}", "nodes"),
    ):
        reply = raw("GET", f"{path}?$select=state,%20url")
        metadata = f"{raw.endpoint}/$metadata#{entity}/@Element"
        whole = raw("GET", path)
        assert reply.json == {
            "odata.metadata": metadata,
            "state": whole.json["state"],
            "url": whole.json["url"],
        }
        assert reply.headers.get("etag") == whole.headers.get("etag")
        for wrong in ("nothing", "State", "executionInfo/exitCode"):
            refused = raw("GET", f"{path}?$select=id,{wrong}")
            check_error(refused, 400, "InvalidQueryParameterValue")


def test_select_with_the_sdk(batch, mixed):
    tasks = list(batch.list_tasks(mixed, select=["id", "executionInfo"], filter="id eq 'done-5'"))
    assert [set(task.as_dict()) for task in tasks] == [{"id", "executionInfo"}]
    assert tasks[0].execution_info.exit_code == 5
    job = batch.get_job(mixed, select=["poolInfo"])
    assert set(job.as_dict()) - {"odata.metadata"} == {"poolInfo"}


def test_select_what_is_absent(raw, mixed):
    reply = raw("GET", f"/jobs/{mixed}/tasks/waits?$select=id,nodeInfo,stats")
    assert reply.status == 200
    assert set(reply.json) == {"odata.metadata", "id"}


def test_expand(raw, batch, mixed, pool):
    for path in (f"/pools/{pool}", f"/jobs/{mixed}", f"/jobs/{mixed}/tasks/good"):
        plain, expanded = raw("GET", path), raw("GET", f"{path}?$expand=stats")
        assert plain.json == {k: v for k, v in expanded.json.items() if k != "stats"}
        refused = raw("GET", f"{path}?$expand=tasks")
        check_error(refused, 400, "InvalidQueryParameterValue")
    assert list(batch.list_tasks(mixed, expand=["stats"]))


def test_wrong_expand_and_select_on_lists(raw, mixed):
    for path in ("/pools", "/jobs", f"/jobs/{mixed}/tasks"):
        for wrong in ("$expand=x", "$select=x"):
            check_error(raw("GET", f"{path}?{wrong}"), 400, "InvalidQueryParameterValue")


def test_times_in_filters_are_exact(batch, mixed):
    task = batch.get_task(mixed, "good")
    moment = task.creation_time
    exact = f"DateTime'{moment.isoformat().replace('+00:00', 'Z')}'"
    assert "good" in {t.id for t in batch.list_tasks(mixed, filter=f"creationTime eq {exact}")}
    later = moment + timedelta(microseconds=1)
    text = f"creationTime lt DateTime'{later.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')}'"
    assert "good" in {t.id for t in batch.list_tasks(mixed, filter=text)}
    assert isinstance(moment, datetime)
