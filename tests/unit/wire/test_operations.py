"""The operations table and the way from a request line to a row."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lote.wire.errors import Refused
from lote.wire.operations import OPERATIONS, match
from lote.wire.versions import VERSIONS

BY_NAME = {operation.name: operation for operation in OPERATIONS}


def raw_path_of(path: str) -> str:
    return re.sub(r"\{(\w+)\}", r"some-\1", path)


def test_names_and_routes_are_unique():
    assert len(BY_NAME) == len(OPERATIONS)
    assert len({(row.method, row.path) for row in OPERATIONS}) == len(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda row: row.name)
def test_every_row_is_found_by_its_own_path(operation):
    found, params = match(operation.method, raw_path_of(operation.path))
    assert found is operation
    assert params == {name: f"some-{name}" for name in re.findall(r"\{(\w+)\}", operation.path)}


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda row: row.name)
def test_every_row_is_coherent(operation):
    assert operation.headers <= {"etag", "dataserviceid", "location"}
    assert ("location" in operation.headers) is (operation.status == 201)
    assert operation.since is None or operation.since in VERSIONS
    assert operation.until is None or operation.until in VERSIONS
    assert not operation.takes_optional or operation.takes is not None
    if operation.name.startswith("list_") and "subtasks" not in operation.name:
        assert operation.metadata is not None
        assert not operation.metadata.endswith("/@Element")


def test_a_literal_path_segment_is_found_in_any_case():
    assert match("GET", "/Pools/P1/NODES")[0].name == "list_nodes"
    assert match("GET", "/Pools/P1/NODES")[1] == {"pool_id": "P1"}


def test_captured_segments_are_decoded_once():
    _, params = match("GET", "/jobs/a%20b/tasks/t%252F")
    assert params == {"job_id": "a b", "task_id": "t%2F"}


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ("wd%2Fout%2Fa.txt", "wd/out/a.txt"),
        ("wd/out/a.txt", "wd/out/a.txt"),
        ("wd/out/a%20b.txt", "wd/out/a b.txt"),
        ("C%5Cwd", "C\\wd"),
        ("..%2F..%2Fetc", "../../etc"),  # whoever opens files keeps them inside their folder
        ("wd/", "wd"),
        ("caf%C3%A9", "café"),
    ],
)
def test_a_file_path_is_one_encoded_segment_or_several(raw: str, path: str):
    operation, params = match("HEAD", "/jobs/j/tasks/t/files/" + raw)
    assert operation.name == "get_task_file_properties"
    assert params["file_path"] == path


def test_a_trailing_slash_changes_nothing():
    assert match("GET", "/pools/")[0].name == "list_pools"
    assert match("GET", "/jobs/j/tasks/t/files/")[0].name == "list_task_files"


def test_certificates_are_named_in_parentheses():
    operation, params = match(
        "POST", "/certificates(ThumbprintAlgorithm=sha1,Thumbprint=AB12)/canceldelete"
    )
    assert operation.name == "cancel_certificate_deletion"
    assert params == {"thumbprint_algorithm": "sha1", "thumbprint": "AB12"}


@pytest.mark.parametrize(
    ("method", "path", "code", "status"),
    [
        ("GET", "/", "InvalidUri", 400),
        ("GET", "", "InvalidUri", 400),
        ("GET", "pools", "InvalidUri", 400),
        ("GET", "/pools//nodes", "InvalidUri", 400),
        ("GET", "//pools", "InvalidUri", 400),
        ("GET", "/nothing", "InvalidUri", 400),
        ("GET", "/jobs/j/nothing", "InvalidUri", 400),
        ("GET", "/certificates(thumbprint=a)", "InvalidUri", 400),
        ("GET", "/jobs/a%00b", "InvalidUri", 400),
        ("GET", "/jobs/a%zz", "RequestUrlFailedToParse", 400),
        ("GET", "/jobs/%ff", "RequestUrlFailedToParse", 400),
        ("GET", "/jobs/" + "a" * 20_000, "InvalidUri", 400),
        ("HEAD", "/jobs/j", "UnsupportedHttpVerb", 405),
        ("PUT", "/pools", "UnsupportedHttpVerb", 405),
        ("BREW", "/pools", "InvalidHttpVerb", 400),
    ],
)
def test_what_matches_nothing_is_refused(method: str, path: str, code: str, status: int):
    with pytest.raises(Refused) as caught:
        match(method, path)
    assert (caught.value.code, caught.value.status) == (code, status)


def test_a_refused_verb_tells_the_allowed_ones():
    with pytest.raises(Refused) as caught:
        match("DELETE", "/pools")
    assert caught.value.headers == {"Allow": "GET, POST"}


@given(st.sampled_from(["GET", "POST", "PATCH"]), st.text())
def test_any_path_matches_or_is_refused(method: str, path: str):
    try:
        operation, _ = match(method, "/" + path)
    except Refused:
        return
    assert operation.method == method
