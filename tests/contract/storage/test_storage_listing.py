"""Lists of blobs, over the official client."""

from __future__ import annotations

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobPrefix

NAMES = ["a/1", "a/2", "a/b/3", "b", "c/d/e/4", "ä/5", "z"]


@pytest.fixture
def shelf(box):
    for name in NAMES:
        box.upload_blob(name, name.encode())
    return box


def test_names_are_in_order_and_complete(shelf):
    assert [blob.name for blob in shelf.list_blobs()] == sorted(NAMES, key=str.encode)


def test_prefixes(shelf):
    assert [blob.name for blob in shelf.list_blobs("a/")] == ["a/1", "a/2", "a/b/3"]
    assert [blob.name for blob in shelf.list_blobs("ä")] == ["ä/5"]
    assert list(shelf.list_blobs("nothing")) == []


@pytest.mark.parametrize("page", [1, 2, 3, 5000])
def test_pages_have_everything_once(shelf, page):
    pages = [list(one) for one in shelf.list_blobs(results_per_page=page).by_page()]
    assert [blob.name for one in pages for blob in one] == sorted(NAMES, key=str.encode)
    assert all(len(one) <= page for one in pages)


def walk(prefix):
    """Every entry below a prefix, folders as their names."""
    for entry in prefix:
        if isinstance(entry, BlobPrefix):
            yield entry.name, sorted(one.name for one in entry)
        else:
            yield entry.name, None


def test_a_delimiter_folds(shelf):
    found = dict(walk(shelf.walk_blobs()))
    assert found == {
        "a/": ["a/1", "a/2", "a/b/"],
        "b": None,
        "c/": ["c/d/"],
        "z": None,
        "ä/": ["ä/5"],
    }


@pytest.mark.parametrize("page", [1, 2])
def test_folded_pages_have_everything_once(shelf, page):
    names = []
    pages = shelf.walk_blobs(results_per_page=page).by_page()
    for entries in pages:
        names += [entry.name for entry in entries]
    assert sorted(names) == sorted(["a/", "b", "c/", "z", "ä/"])


def test_a_folder_of_many_blobs_is_jumped_over(box):
    for number in range(600):
        box.upload_blob(f"many/{number}", b"")
    box.upload_blob("last", b"")
    box.upload_blob("zlast", b"")
    assert [entry.name for entry in box.walk_blobs()] == ["many/", "last", "zlast"]


def test_details_in_lists(box):
    box.upload_blob("x", b"12", metadata={"Note": "<&>"})
    (found,) = box.list_blobs(include=["metadata"])
    direct = box.get_blob_client("x").get_blob_properties()
    assert found.metadata == {"Note": "<&>"}
    assert (found.size, found.etag) == (2, direct.etag.strip('"'))
    assert found.last_modified == direct.last_modified
    assert found.content_settings.content_md5 == direct.content_settings.content_md5
    assert next(iter(box.list_blobs())).metadata == {}


def test_names_that_xml_cannot_hold(box):
    box.upload_blob("bell\x07\uffff", b"")
    assert [blob.name for blob in box.list_blobs()] == ["bell\x07\uffff"]


ODD_NAMES = [
    " ",
    "!",
    "!YQ==",
    "%2F",
    "+",
    "<&>",
    "a b ",
    "bell\x07",
    "dir/",
    "dir/ x",
    "ä",
    "\n",
    "😀",
]


@pytest.mark.parametrize("page", [1, 2])
@pytest.mark.parametrize("includes", [[], ["snapshots"]])
def test_pages_end_at_any_name(box, page, includes):
    for name in ODD_NAMES:
        box.upload_blob(name, b"")
    expected = sorted(ODD_NAMES, key=str.encode)
    found = box.list_blobs(include=includes, results_per_page=page)
    assert [blob.name for blob in found] == expected
    folded = box.walk_blobs(results_per_page=page, include=includes)
    names = [entry.name for entry in folded]
    assert sorted(names, key=str.encode) == [name for name in expected if name != "dir/ x"]


def test_a_list_begins_where_it_is_told(shelf, box):
    names = [blob.name for blob in shelf.list_blobs()]
    assert [blob.name for blob in shelf.list_blobs(start_from=names[2])] == names[2:]
    pages = shelf.list_blobs(start_from=names[1], results_per_page=1)
    assert [blob.name for blob in pages] == names[1:]
    assert list(shelf.list_blobs(params={"showonly": "deleted"})) == []


def test_everything_can_be_included(box):
    box.upload_blob("x", b"x", tags={"a": "1"}, metadata={"who": "me"})
    box.get_blob_client("x").create_snapshot()
    box.get_blob_client("y").stage_block("a", b"y")
    everything = [
        "snapshots",
        "metadata",
        "uncommittedblobs",
        "copy",
        "deleted",
        "tags",
        "versions",
    ]
    everything += ["immutabilitypolicy", "legalhold", "deletedwithversions"]
    found = list(box.list_blobs(include=everything))
    assert [(one.name, one.snapshot is None) for one in found] == [
        ("x", False),
        ("x", True),
        ("y", True),
    ]
    assert [(one.tags, one.metadata) for one in found[:2]] == [({"a": "1"}, {"who": "me"})] * 2


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"maxresults": "0"}, "OutOfRangeQueryParameterValue"),
        ({"maxresults": "x"}, "InvalidQueryParameterValue"),
        ({"marker": "!é"}, "InvalidQueryParameterValue"),
        ({"marker": "!YQ==.ffffffffffffffff"}, "InvalidQueryParameterValue"),
        ({"showonly": "directories"}, "InvalidQueryParameterValue"),
        ({"include": "everything"}, "InvalidQueryParameterValue"),
    ],
)
def test_wrong_questions(box, options, code):
    with pytest.raises(HttpResponseError) as refused:
        list(box.list_blobs(params=options))
    assert (refused.value.status_code, refused.value.error_code) == (400, code)
