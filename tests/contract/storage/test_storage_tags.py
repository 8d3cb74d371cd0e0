"""Tags of blobs, and the search for them."""

from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError

ODD = {" odd +-./:=_9": "azAZ09 +-./:=_"}


def refusal_of(ask):
    with pytest.raises(HttpResponseError) as refused:
        ask()
    return refused.value.status_code, refused.value.error_code


def test_tags_are_set_and_read_and_change_nothing_else(box):
    client = box.get_blob_client("x")
    client.upload_blob(b"x")
    before = client.get_blob_properties()
    assert (client.get_blob_tags(), before.tag_count) == ({}, None)
    client.set_blob_tags({"a": "1", "b": ""} | ODD)
    assert client.get_blob_tags() == {"a": "1", "b": ""} | ODD
    found = client.get_blob_properties()
    assert (found.etag, found.last_modified) == (before.etag, before.last_modified)
    assert found.tag_count == 3
    client.set_blob_metadata({"who": "me"})
    assert client.download_blob().properties.tag_count == 3
    client.set_blob_tags({})
    assert client.get_blob_tags() == {}


def test_tags_come_with_an_upload_and_go_with_the_next(box):
    client = box.get_blob_client("x")
    client.upload_blob(b"x", tags=ODD)
    assert client.get_blob_tags() == ODD
    client.stage_block("a", b"y")
    client.commit_block_list(["a"], tags={"b": "2"})
    assert client.get_blob_tags() == {"b": "2"}
    client.upload_blob(b"x", overwrite=True)
    assert client.get_blob_tags() == {}


def test_tags_in_lists(box):
    box.upload_blob("x", b"", tags={"a": "1", "b": "2"})
    box.upload_blob("y", b"")
    assert [(one.name, one.tag_count, one.tags) for one in box.list_blobs()] == [
        ("x", 2, None),
        ("y", None, None),
    ]
    assert [one.tags for one in box.list_blobs(include=["tags"])] == [{"a": "1", "b": "2"}, None]


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({str(number): "" for number in range(11)}, "TagsTooLarge"),
        ({"k" * 129: ""}, "TagsTooLarge"),
        ({"k": "v" * 257}, "TagsTooLarge"),
        ({"k#": ""}, "InvalidTag"),
        ({"k": "50%"}, "InvalidTag"),
        ({"": "v"}, "EmptyTagName"),
    ],
)
def test_tags_are_checked(box, tags, code):
    client = box.get_blob_client("x")
    client.upload_blob(b"x")
    assert refusal_of(lambda: client.set_blob_tags(tags)) == (400, code)
    assert refusal_of(lambda: client.upload_blob(b"y", overwrite=True, tags=tags)) == (400, code)
    client.set_blob_tags({"k" * 128: "v" * 256} | {str(number): "" for number in range(9)})
    assert client.download_blob().readall() == b"x"


@pytest.fixture
def shelf(box):
    for number in range(12):
        tags = {"number": f"{number:02}", "odd": str(number % 2), "box": box.container_name}
        box.upload_blob(f"blob {number}", b"", tags=tags)
    return box


def numbers(found):
    return sorted(int(one.name.removeprefix("blob ")) for one in found)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("number='03'", [3]),
        ("odd='1' and number < '06'", [1, 3, 5]),
        ("number >= '09' AND odd = '0'", [10]),
        ("number > '09' and number <= '11'", [10, 11]),
        ("missing='1'", []),
        ("odd='2'", []),
    ],
)
def test_searches_of_a_container(shelf, expression, expected):
    assert numbers(shelf.find_blobs_by_tags(expression)) == expected


def test_searches_of_the_account(service, shelf):
    with service.create_container(f"{shelf.container_name}-two") as other:
        other.upload_blob("blob 99", b"", tags={"box": shelf.container_name})
        everywhere = f"box='{shelf.container_name}'"
        assert len(list(service.find_blobs_by_tags(everywhere))) == 13
        found = service.find_blobs_by_tags(f"{everywhere} AND @container='{other.container_name}'")
        one = next(found)
        assert (one.name, one.container_name) == ("blob 99", other.container_name)
        assert one.tags == {"box": shelf.container_name}
        assert list(found) == []
        assert list(shelf.find_blobs_by_tags("box='x' and @container='else'")) == []
        other.delete_container()
    assert len(list(service.find_blobs_by_tags(everywhere))) == 12


def test_searches_are_paged(shelf):
    found = []
    for page in shelf.find_blobs_by_tags("number>='00'", results_per_page=5).by_page():
        rows = list(page)
        assert len(rows) <= 5
        found += rows
    assert numbers(found) == list(range(12))
    assert len(found) == 12


def test_a_search_follows_changes(shelf):
    client = shelf.get_blob_client("blob 3")
    client.create_snapshot()
    assert numbers(shelf.find_blobs_by_tags("number='03'")) == [3]
    client.set_blob_tags({"number": "30"})
    assert numbers(shelf.find_blobs_by_tags("number='03'")) == []
    assert numbers(shelf.find_blobs_by_tags("number='30'")) == [3]
    client.delete_blob(delete_snapshots="include")
    assert numbers(shelf.find_blobs_by_tags("number='30'")) == []


def test_wrong_searches(service, box):
    for expression in ("", "a<>'1'", "a='1' or b='2'", "a='#'"):
        code = (400, "InvalidQueryParameterValue")
        assert refusal_of(lambda text=expression: list(box.find_blobs_by_tags(text))) == code
        assert refusal_of(lambda text=expression: list(service.find_blobs_by_tags(text))) == code
