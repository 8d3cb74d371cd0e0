"""The error table and the envelope."""

from __future__ import annotations

import json

import pytest

from lote.wire.errors import (
    ERRORS,
    Refused,
    error_body,
    error_object,
    invalid_property,
    invalid_query,
    missing_property,
    unsupported_property,
)


def test_every_row_is_listed_once_with_an_error_status_and_a_text():
    for code, row in ERRORS.items():
        assert row.code == code
        assert 400 <= row.status <= 599
        assert row.message


@pytest.mark.parametrize(
    ("code", "phrase"),
    [
        ("JobNotFound", "The specified job does not exist"),
        ("PoolNotFound", "The specified pool does not exist"),
        ("TaskNotFound", "The specified task does not exist"),
        ("JobScheduleNotFound", "The specified job schedule does not exist"),
        ("FileNotFound", "The specified file does not exist."),
        ("PathNotFound", "The specified path does not exist."),
        ("NodeUserNotFound", "The node user does not exist"),
        ("JobExists", "The specified job already exists"),
        ("NodeUserExists", "The specified node user already exists"),
        ("TaskExists", "The specified task already exists."),
        ("JobCompleted", "The specified job is already in a completed state."),
        ("TaskCompleted", "The specified task is already in a completed state"),
        ("JobScheduleCompleted", "already in completed state"),
        (
            "OperationInvalidForCurrentState",
            "The specified operation is not valid for the current state",
        ),
        (
            "ConditionNotMet",
            "The condition specified using HTTP conditional header(s) is not met.",
        ),
    ],
)
def test_texts_that_tools_search_for(code: str, phrase: str):
    assert phrase in ERRORS[code].message


def test_the_envelope_is_the_documented_one():
    refused = invalid_property("subnetId", "x", "No such network.")
    body = error_body(refused, "http://127.0.0.1:1", "7c9f", 1_729_732_520_915_907)
    assert json.loads(body) == {
        "odata.metadata": "http://127.0.0.1:1/$metadata"
        "#Microsoft.Azure.Batch.Protocol.Entities.Container.errors/@Element",
        "code": "InvalidPropertyValue",
        "message": {
            "lang": "en-US",
            "value": ERRORS["InvalidPropertyValue"].message
            + "\nRequestId:7c9f\nTime:2024-10-24T01:15:20.915907Z",
        },
        "values": [
            {"key": "PropertyName", "value": "subnetId"},
            {"key": "PropertyValue", "value": "x"},
            {"key": "Reason", "value": "No such network."},
        ],
    }


def test_values_are_left_out_when_there_are_none():
    assert "values" not in error_object(Refused("JobNotFound"))


def test_rendering_does_not_change_the_refusal():
    refused = Refused("JobNotFound")
    first = error_body(refused, "http://h", "r", 0)
    assert error_body(refused, "http://h", "r", 0) == first
    assert refused.message == ERRORS["JobNotFound"].message


def test_status_text_and_headers_can_be_given():
    refused = Refused("ConditionNotMet", "No.", status=304, headers={"Retry-After": "30"})
    assert (refused.status, refused.message) == (304, "No.")
    assert refused.headers == {"Retry-After": "30"}


def test_a_code_that_is_not_in_the_table_is_our_mistake():
    with pytest.raises(KeyError):
        Refused("NoSuchCode")


def test_missing_and_query_values():
    assert missing_property("poolInfo").values == (
        ("PropertyName", "poolInfo"),
        ("Reason", "The property must be given."),
    )
    refused = invalid_query("$filter", "x", "Why.")
    assert refused.code == "InvalidQueryParameterValue"
    assert refused.values == (
        ("QueryParameterName", "$filter"),
        ("QueryParameterValue", "x"),
        ("Reason", "Why."),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("userAccounts[0].password", "hunter2"),
        ("mountConfiguration[1].azureFileShareConfiguration.accountKey", "hunter2"),
        ("protectedSettings.a", "hunter2"),
        ("userAccounts[0].linuxUserConfiguration.sshPrivateKey", "hunter2"),
        ("resourceFiles[0].httpUrl", "ftp://host/file?sv=1&sig=hunter2"),
        ("userAccounts", [{"password": "hunter2"}]),
        ("containerSettings", {"registry": {"password": "hunter2"}}),
    ],
)
def test_secrets_are_not_repeated(name: str, value: object):
    for refused in (invalid_property(name, value, "No."), unsupported_property(name, value)):
        assert "hunter2" not in json.dumps(error_object(refused)) + str(refused)


def test_long_values_are_cut():
    refused = invalid_property("displayName", "x" * 10_000, "Too long.")
    assert len(dict(refused.values)["PropertyValue"]) <= 256


def test_a_name_that_is_a_signed_url_or_very_long_is_cut():
    for name in ("http://h/b?sig=hush", "x" * 5000):
        shown = dict(unsupported_property(name).values)["PropertyName"]
        assert "hush" not in shown
        assert len(shown) <= 256
