"""Containers, over the official client."""

from __future__ import annotations

import pytest
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)
from azure.storage.blob import AccessPolicy, ContainerSasPermissions


def test_a_container_is_made_once_and_deleted_at_once(service):
    box = service.create_container("made-once")
    with pytest.raises(ResourceExistsError) as refused:
        service.create_container("made-once")
    assert refused.value.error_code == "ContainerAlreadyExists"
    box.upload_blob("a", b"1")
    box.delete_container()
    assert not box.exists()
    with pytest.raises(ResourceNotFoundError) as refused:
        box.delete_container()
    assert refused.value.error_code == "ContainerNotFound"
    box.create_container()  # the name is free again, and nothing of the old one is left
    assert list(box.list_blobs()) == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("ab", "OutOfRangeInput"),
        ("Upper", "InvalidResourceName"),
        ("two--hyphens", "InvalidResourceName"),
        ("-front", "InvalidResourceName"),
        ("a" * 64, "OutOfRangeInput"),
    ],
)
def test_names_are_checked(service, name, code):
    with pytest.raises(HttpResponseError) as refused:
        service.create_container(name)
    assert (refused.value.status_code, refused.value.error_code) == (400, code)


def test_metadata_keeps_the_case_of_its_names(service, box):
    before = box.get_container_properties()
    box.set_container_metadata({"Colour": "blue", "a_b": "2", "ab": "3"})
    after = box.get_container_properties()
    assert after.metadata == {"Colour": "blue", "a_b": "2", "ab": "3"}
    assert after.etag != before.etag
    listed = {c.name: c for c in service.list_containers(include_metadata=True)}
    assert listed[box.container_name].metadata == after.metadata
    with pytest.raises(HttpResponseError) as refused:
        box.set_container_metadata({"not-allowed": "x"})
    assert refused.value.error_code == "InvalidMetadata"


def test_conditions_on_containers(box):
    modified = box.get_container_properties().last_modified
    with pytest.raises(ResourceModifiedError):
        box.delete_container(if_unmodified_since=modified.replace(year=modified.year - 1))
    box.delete_container(if_unmodified_since=modified)


def test_lists_of_containers_page_and_filter(service):
    for number in range(5):
        service.create_container(f"paged-{number}")
    pages = service.list_containers("paged-", results_per_page=2).by_page()
    assert [[c.name for c in page] for page in pages] == [
        ["paged-0", "paged-1"],
        ["paged-2", "paged-3"],
        ["paged-4"],
    ]


def test_access_policies_come_back(box):
    policy = AccessPolicy(ContainerSasPermissions(read=True), expiry="2035-01-01T00:00:00Z")
    box.set_container_access_policy({"reader": policy})
    found = box.get_container_access_policy()["signed_identifiers"]
    assert [(one.id, one.access_policy.permission) for one in found] == [("reader", "r")]
    box.set_container_access_policy({})
    assert box.get_container_access_policy()["signed_identifiers"] == []


def test_there_is_no_anonymous_access(box):
    with pytest.raises(HttpResponseError) as refused:
        box.set_container_access_policy({}, public_access="blob")
    assert (refused.value.status_code, refused.value.error_code) == (
        409,
        "PublicAccessNotPermitted",
    )


def test_the_account_describes_itself(service, box):
    assert service.get_account_information()["account_kind"] == "StorageV2"
    assert box.get_account_information()["sku_name"] == "Standard_RAGRS"
    properties = service.get_service_properties()
    assert {"cors", "static_website", "minute_metrics"} <= set(properties)


def test_what_is_not_here_says_so(box):
    with pytest.raises(HttpResponseError) as refused:
        box.get_blob_client("pages").create_page_blob(512)
    assert (refused.value.status_code, refused.value.error_code) == (501, "NotImplemented")
