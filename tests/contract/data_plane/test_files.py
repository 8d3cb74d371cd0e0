"""Files of tasks and nodes: listed, read, measured, deleted; nothing outside their folder."""

from __future__ import annotations

import http.client
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import NamedTuple
from urllib.parse import quote, unquote

import pytest
from azure.batch import models as m
from azure.core.exceptions import ResourceNotFoundError

from .conftest import add_task, create_pool, fresh, read_file, shell, until, wait_task
from .raw_http import Raw, check_error, http_date
from .success import check_headers, check_moment

MAKE = (
    'printf 0123456789; mkdir -p d/e; echo deep > d/e/deep.txt; echo x > "sp ace %41 +&=.txt"; '
    "echo Upper > Name; echo lower > name; : > empty; ln -s /etc/passwd link; "
    "ln -s /etc linkdir; echo $AZ_BATCH_NODE_ROOT_DIR"
)


class Ended(NamedTuple):
    """A completed task, and the two places its files are shown at."""

    job: str
    task: str
    path: str
    node_path: str
    pool: str
    node: str


@pytest.fixture(scope="module")
def ended(batch, pool):
    job_id = fresh("filed")
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool)))
    add_task(batch, job_id, "t", shell(MAKE))
    node = wait_task(batch, job_id, "t").node_info
    path = f"/jobs/{job_id}/tasks/t/files"
    node_path = f"/pools/{pool}/nodes/{node.node_id}/files"
    return Ended(job_id, "t", path, node_path, pool, node.node_id)


TOP = ["stderr.txt", "stdout.txt", "wd"]


def test_list_the_top(batch, raw, ended):
    reply = raw("GET", ended.path)
    check_headers(reply)
    assert reply.json["odata.metadata"] == f"{raw.endpoint}/$metadata#files"
    shown = {file["name"]: file for file in reply.json["value"]}
    assert set(TOP) <= set(shown)
    assert all("/" not in name for name in shown)
    assert shown["wd"]["isDirectory"] is True
    stdout = shown["stdout.txt"]
    assert stdout["url"] == f"{raw.endpoint}{ended.path}/stdout.txt"
    assert stdout["isDirectory"] is False
    properties = stdout["properties"]
    check_moment(properties.pop("lastModified"))
    length = properties.pop("contentLength")
    assert isinstance(length, str)
    assert int(length) >= 10
    assert properties["contentType"] == "text/plain"
    assert properties["fileMode"].startswith("0o100")


def test_list_recursively_and_filtered(batch, ended):
    names = [f.name for f in batch.list_task_files(ended.job, ended.task, recursive=True)]
    assert {"wd/d/e/deep.txt", "wd/Name", "wd/name", "wd/sp ace %41 +&=.txt"} <= set(names)
    assert not any(name.startswith("wd/linkdir/") for name in names)
    wd = batch.list_task_files(
        ended.job, ended.task, recursive=True, filter="startswith(name,'wd/d')"
    )
    assert {file.name for file in wd} == {"wd/d", "wd/d/e", "wd/d/e/deep.txt"}


def test_list_in_pages_of_one(batch, ended):
    whole = [f.name for f in batch.list_task_files(ended.job, ended.task, recursive=True)]
    paged = batch.list_task_files(ended.job, ended.task, recursive=True, max_results=1)
    assert [file.name for file in paged] == whole
    assert len(set(whole)) == len(whole)


@pytest.mark.parametrize("wrong", ["recursive=maybe", "$filter=size%20eq%201", "maxresults=0"])
def test_wrong_list_options(raw, ended, wrong):
    reply = raw("GET", f"{ended.path}?{wrong}")
    assert (reply.status, reply.code) in (
        (400, "InvalidQueryParameterValue"),
        (400, "OutOfRangeQueryParameterValue"),
    )


def test_download(batch, raw, ended):
    text = read_file(batch, ended.job, ended.task)
    assert text.startswith("0123456789")
    reply = raw("GET", f"{ended.path}/stdout.txt")
    assert reply.status == 200
    assert reply.body.decode() == text
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.headers["ocp-batch-file-isdirectory"] == "False"
    assert reply.headers["ocp-batch-file-mode"].startswith("0o100")
    assert parsedate_to_datetime(reply.headers["last-modified"])
    url = reply.headers["ocp-batch-file-url"]
    assert ":" not in url
    assert unquote(url) == f"{raw.endpoint}{ended.path}/stdout.txt"
    assert reply.headers["request-id"]
    assert reply.headers["dataserviceversion"] == "3.0"
    assert "etag" not in reply.headers


@pytest.mark.parametrize(
    ("asked", "body", "content_range"),
    [
        ("bytes=0-4", b"01234", "bytes 0-4/"),
        ("bytes=3-3", b"3", "bytes 3-3/"),
        ("bytes=8-9", b"89", "bytes 8-9/"),
    ],
)
def test_ranges_are_200(batch, raw, ended, asked, body, content_range):
    reply = raw("GET", f"{ended.path}/stdout.txt", headers={"ocp-range": asked})
    assert (reply.status, reply.body) == (200, body)
    assert reply.headers["content-range"].startswith(content_range)
    assert reply.headers["content-length"] == str(len(body))
    chunks = batch.download_task_file(ended.job, ended.task, "stdout.txt", ocp_range=asked)
    assert b"".join(chunks) == body


def test_open_and_overlong_ranges(raw, ended):
    whole = raw("GET", f"{ended.path}/stdout.txt").body
    for asked in ("bytes=4-", "bytes=4-999999"):
        reply = raw("GET", f"{ended.path}/stdout.txt", headers={"ocp-range": asked})
        assert (reply.status, reply.body) == (200, whole[4:])


@pytest.mark.parametrize("asked", ["bytes=999999-", "bytes=5-4"])
def test_ranges_outside_the_file_are_416(raw, ended, asked):
    reply = raw("GET", f"{ended.path}/stdout.txt", headers={"ocp-range": asked})
    check_error(reply, 416, "InvalidRange")


@pytest.mark.parametrize("asked", ["lines=1-2", "bytes", "bytes=a-b", "bytes=-5", "bytes=1-2,4-5"])
def test_unreadable_ranges_are_400(raw, ended, asked):
    reply = raw("GET", f"{ended.path}/stdout.txt", headers={"ocp-range": asked})
    check_error(reply, 400, "InvalidHeaderValue")


def test_head(batch, raw, ended):
    reply = raw("HEAD", f"{ended.path}/stdout.txt")
    whole = raw("GET", f"{ended.path}/stdout.txt")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["content-length"] == str(len(whole.body))
    for name in ("last-modified", "content-type", "ocp-batch-file-mode", "ocp-batch-file-url"):
        assert reply.headers[name] == whole.headers[name]
    properties = batch.get_task_file_properties(ended.job, ended.task, "stdout.txt")
    assert properties.content_length == len(whole.body)
    assert properties.is_directory is False
    assert isinstance(properties.last_modified, datetime)
    folder = batch.get_task_file_properties(ended.job, ended.task, "wd")
    assert folder.is_directory is True


def test_empty_file(raw, ended):
    reply = raw("GET", f"{ended.path}/wd/empty")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "0")


def test_a_folder_has_no_content(raw, ended):
    reply = raw("GET", f"{ended.path}/wd")
    assert reply.status in (400, 409)
    assert reply.code == "OperationInvalidForCurrentState"


def test_slashes_escaped_and_not(batch, raw, ended):
    for path in ("wd%2Fd%2Fe%2Fdeep.txt", "wd/d/e/deep.txt", "wd%2Fd/e%2fdeep.txt"):
        assert raw("GET", f"{ended.path}/{path}").body == b"deep\n", path
    assert raw("GET", f"{ended.path}/wd%5Cd%5Ce%5Cdeep.txt").body == b"deep\n"
    assert read_file(batch, ended.job, ended.task, "wd/d/e/deep.txt") == "deep\n"


def test_names_that_need_escapes(batch, raw, ended):
    name = "wd/sp ace %41 +&=.txt"
    assert read_file(batch, ended.job, ended.task, name) == "x\n"
    (shown,) = [
        file
        for file in raw("GET", f"{ended.path}?recursive=true").json["value"]
        if file["name"] == name
    ]
    assert raw("GET", shown["url"].removeprefix(raw.endpoint)).body == b"x\n"
    head = raw("HEAD", f"{ended.path}/{quote(name, safe='')}")
    assert unquote(head.headers["ocp-batch-file-url"]).startswith(raw.endpoint)


def test_names_differ_by_case(batch, ended):
    assert read_file(batch, ended.job, ended.task, "wd/Name") == "Upper\n"
    assert read_file(batch, ended.job, ended.task, "wd/name") == "lower\n"


ESCAPES = [
    "..",
    "../..",
    "../../../../../../etc/passwd",
    "..%2F..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd",
    "wd%2F..%2F..%2F..%2F..%2F..%2F..%2F..%2Fetc%2Fpasswd",
    "%2E%2E%2Fother",
    "..%5C..%5Cetc%5Cpasswd",
    "%2Fetc%2Fpasswd",
    "wd/linkdir/passwd",
    "wd/./../../x",
]


@pytest.mark.parametrize("path", ESCAPES)
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("place", ["task", "node"])
def test_nothing_outside_is_reached(raw, ended, path, method, place):
    root = ended.path if place == "task" else ended.node_path
    if place == "node" and path.startswith("wd"):
        path = f"workitems/{ended.job}/job-1/t/{path}"
    reply = raw(method, f"{root}/{path}")
    assert reply.status in (400, 403, 404), (reply.status, reply.body)
    assert b"root:" not in reply.body


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_links_are_not_followed(raw, ended, method):
    reply = raw(method, f"{ended.path}/wd/link")
    assert reply.status in (400, 403, 404)
    assert b"root:" not in reply.body


def test_missing_files(batch, raw, ended):
    for path in ("none", "wd/none", "stdout.txt/below"):
        reply = check_error(raw("GET", f"{ended.path}/{path}"), 404, "FileNotFound")
        assert "The specified file does not exist." in reply.json["message"]["value"]
        assert raw("HEAD", f"{ended.path}/{path}").status == 404
        check_error(raw("DELETE", f"{ended.path}/{path}"), 404, "FileNotFound")
    with pytest.raises(ResourceNotFoundError) as caught:
        read_file(batch, ended.job, ended.task, "none")
    caught.value.response.close()  # the SDK leaves the answer to a download unread


def test_files_of_a_task_that_never_ran(raw, batch, lone_job):
    add_task(batch, lone_job, "t")
    for path in ("/files", "/files/stdout.txt"):
        reply = raw("GET", f"/jobs/{lone_job}/tasks/t{path}")
        check_error(reply, 409, "TaskFilesUnavailable")


def test_modified_conditions(raw, ended):
    path = f"{ended.path}/stdout.txt"
    modified = raw("HEAD", path).headers["last-modified"]
    before = http_date_of(parsedate_to_datetime(modified) - timedelta(seconds=5))
    for method in ("GET", "HEAD"):
        since = raw(method, path, headers={"if-modified-since": modified})
        assert (since.status, since.body) == (304, b"")
        assert raw(method, path, headers={"if-modified-since": before}).status == 200
        assert raw(method, path, headers={"if-unmodified-since": modified}).status == 200
        refused = raw(method, path, headers={"if-unmodified-since": before})
        assert refused.status == 412
    check_error(raw("GET", path, headers={"if-unmodified-since": before}), 412, "ConditionNotMet")


def http_date_of(moment: datetime) -> str:
    return moment.strftime("%a, %d %b %Y %H:%M:%S GMT")


def test_delete(batch, raw, job):
    add_task(batch, job, "t", shell("mkdir d; echo x > d/x; echo y > y"))
    wait_task(batch, job, "t")
    path = f"/jobs/{job}/tasks/t/files"
    refused = raw("DELETE", f"{path}/wd/d")
    assert refused.status in (400, 409)
    assert raw("GET", f"{path}/wd/d/x").status == 200
    reply = raw("DELETE", f"{path}/wd/y")
    assert (reply.status, reply.body) == (200, b"")
    check_headers(reply)
    check_error(raw("GET", f"{path}/wd/y"), 404, "FileNotFound")
    batch.delete_task_file(job, "t", "wd/d", recursive=True)
    names = {file.name for file in batch.list_task_files(job, "t", recursive=True)}
    assert names == {"stdout.txt", "stderr.txt", "wd"}


def test_a_file_that_grows(batch, job, gate):
    add_task(batch, job, "t", shell(f"echo one; {gate.loop}; echo two"))
    wait_task(batch, job, "t", "running")
    until(lambda: read_file(batch, job, "t") == "one\n")
    gate.open()
    wait_task(batch, job, "t")
    assert read_file(batch, job, "t") == "one\ntwo\n"


def test_a_large_file_arrives_whole_and_in_parts(batch, job, raw):
    add_task(batch, job, "t", shell('head -c 20000000 /dev/zero | tr "\\0" z > big'))
    wait_task(batch, job, "t")
    body = b"".join(batch.download_task_file(job, "t", "wd/big"))
    assert body == b"z" * 20_000_000
    part = raw(
        "GET", f"/jobs/{job}/tasks/t/files/wd/big", headers={"ocp-range": "bytes=5-10000004"}
    )
    assert len(part.body) == 10_000_000


def test_a_client_that_leaves_in_the_middle(batch, job, raw: Raw):
    add_task(batch, job, "t", shell("head -c 50000000 /dev/zero > big"))
    wait_task(batch, job, "t")
    target = f"/jobs/{job}/tasks/t/files/wd/big?api-version=2025-06-01"
    for _ in range(3):
        signed = {"ocp-date": http_date()}
        signed["authorization"] = raw.authorization("GET", target, signed)
        connection = http.client.HTTPConnection(raw.endpoint.removeprefix("http://"), timeout=20)
        connection.request("GET", target, headers=signed)
        with connection.getresponse() as answer:
            assert len(answer.read(1000)) == 1000
        connection.close()
    assert batch.get_task_file_properties(job, "t", "wd/big").content_length == 50_000_000


def test_files_are_cleaned_up_when_their_time_is_over(batch, raw, job):
    """The SDK spells a timedelta of zero as P."""
    short = m.BatchTaskConstraints(retention_time=timedelta(0))
    add_task(batch, job, "t", shell("echo out"), constraints=short)
    wait_task(batch, job, "t")
    path = f"/jobs/{job}/tasks/t/files"
    until(lambda: raw("GET", f"{path}/stdout.txt").status != 200)
    for method, rest in (("GET", "/stdout.txt"), ("GET", ""), ("DELETE", "/stdout.txt")):
        check_error(raw(method, path + rest), 409, "TaskFilesCleanedup")
    assert raw("HEAD", f"{path}/stdout.txt").status == 409
    assert batch.get_task(job, "t").constraints.retention_time == timedelta(0)


def test_outputs_outlive_their_node(batch, raw):
    pool_id, job_id = fresh("leaving"), fresh("outliving")
    create_pool(batch, pool_id, 1)
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id)))
    add_task(batch, job_id, "t", shell("echo out; echo err >&2; echo x > x"))
    node = wait_task(batch, job_id, "t").node_info
    batch.begin_delete_pool(pool_id, polling_interval=0.02).result()
    assert read_file(batch, job_id, "t") == "out\n"
    assert read_file(batch, job_id, "t", "stderr.txt") == "err\n"
    path = f"/jobs/{job_id}/tasks/t/files"
    part = raw("GET", f"{path}/stdout.txt", headers={"ocp-range": "bytes=1-2"})
    assert (part.status, part.body) == (200, b"ut")
    assert raw("HEAD", f"{path}/stdout.txt").headers["content-length"] == "4"
    names = {file["name"] for file in raw("GET", path).json["value"]}
    assert {"stdout.txt", "stderr.txt"} <= names
    lost = raw("GET", f"{path}/wd/x")
    assert (lost.status, lost.code) in (
        (404, "FileNotFound"),
        (409, "TaskFilesUnavailable"),
    )
    check_error(raw("GET", f"/pools/{pool_id}/nodes/{node.node_id}/files"), 404, "PoolNotFound")
    batch.begin_delete_job(job_id, polling_interval=0.02).result()


# -- node files -------------------------------------------------------------------------------


def test_node_root(batch, raw, ended):
    reply = raw("GET", ended.node_path)
    check_headers(reply)
    names = {file["name"]: file["isDirectory"] for file in reply.json["value"]}
    assert {"workitems", "shared", "startup"} <= set(names)
    assert all(names.values()), names
    listed = batch.list_node_files(
        ended.pool,
        ended.node,
        recursive=True,
        filter=f"startswith(name,'workitems/{ended.job}/')",
    )
    assert f"workitems/{ended.job}/job-1/t/wd/d/e/deep.txt" in {file.name for file in listed}


def test_node_file(batch, raw, ended):
    name = f"workitems/{ended.job}/job-1/t/stdout.txt"
    body = b"".join(batch.download_node_file(ended.pool, ended.node, name))
    assert body == raw("GET", f"{ended.path}/stdout.txt").body
    escaped = name.replace("/", "%2F")
    reply = raw("GET", f"{ended.node_path}/{escaped}", headers={"ocp-range": "bytes=2-3"})
    assert (reply.status, reply.body) == (200, b"23")
    properties = batch.get_node_file_properties(ended.pool, ended.node, name)
    assert properties.content_length == len(body)
    url = unquote(raw("HEAD", f"{ended.node_path}/{escaped}").headers["ocp-batch-file-url"])
    assert url == f"{raw.endpoint}{ended.node_path}/{name}"


def test_delete_node_file(batch, raw, ended, job):
    add_task(batch, job, "t", shell("echo x > x"))
    node = wait_task(batch, job, "t").node_info
    name = f"workitems/{job}/job-1/t/wd/x"
    batch.delete_node_file(node.pool_id, node.node_id, name)
    with pytest.raises(ResourceNotFoundError) as caught:
        b"".join(batch.download_node_file(node.pool_id, node.node_id, name))
    assert caught.value.status_code == 404
    caught.value.response.close()


def test_files_of_a_missing_node(raw, ended):
    path = f"/pools/{ended.pool}/nodes/none/files"
    check_error(raw("GET", path), 404, "NodeNotFound")
    check_error(raw("GET", path + "/x"), 404, "NodeNotFound")


@pytest.mark.parametrize("name", ["workitems", "shared", "startup"])
def test_the_nodes_own_folders_stay(raw, ended, name):
    reply = raw("DELETE", f"{ended.node_path}/{name}")
    assert reply.status in (400, 403, 409), reply.body
    assert raw("HEAD", f"{ended.node_path}/{name}").status == 200
