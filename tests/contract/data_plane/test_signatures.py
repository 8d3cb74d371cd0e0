"""Who may speak: shared-key signatures of every client variant, and how others are refused."""

from __future__ import annotations

import base64
import os
from datetime import timedelta

import pytest
from azure.batch import BatchClient
from azure.core.credentials import AccessToken, AzureNamedKeyCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError

from .conftest import fresh
from .raw_http import Raw, check_error, http_date

DENIED = "Server failed to authenticate the request"


def test_both_keys_sign(service, raw):
    for key in (service.batch.key, service.batch.key2):
        assert raw.but(key=key)("GET", "/pools").status == 200


def test_account_name_in_another_case(raw):
    assert raw.but(account=raw.account.upper())("GET", "/pools").status == 200


@pytest.mark.parametrize("alias", ["127", "localhost"])
def test_accounts_that_clients_derive_from_the_host(raw, alias):
    assert raw.but(account=alias)("GET", "/pools").status == 200


def test_sdk_signs_mixed_case_timeouts(batch):
    first = next(iter(batch.list_supported_images(service_timeout=20, max_results=1)))
    assert first.node_agent_sku_id


def test_dotnet_signs_lower_case_names_and_no_zero_length(raw, lone_job):
    dotnet = raw.but(lower_names=True, blank_length=True)
    target = f"/jobs/{lone_job}?timeOut=20&$Select=id"
    reply = dotnet("GET", target)
    assert reply.status == 200
    assert set(reply.json) == {"odata.metadata", "id"}
    assert dotnet("POST", f"/jobs/{lone_job}/terminate?timeOut=20").status == 202
    assert dotnet("DELETE", f"/jobs/{lone_job}").status == 202


def test_delete_without_content_length(raw, lone_job):
    assert raw.but(send_length=False)("DELETE", f"/jobs/{lone_job}").status == 202


def test_delete_with_signed_zero_content_length(raw, lone_job):
    assert raw("DELETE", f"/jobs/{lone_job}").status == 202


def test_reads_with_a_signed_content_type(raw, lone_job):
    typed = {"content-type": "application/json; charset=utf-8"}
    assert raw("GET", f"/jobs/{lone_job}", headers=typed).status == 200


def test_date_header_instead_of_ocp_date(raw):
    assert raw("GET", "/jobs", headers={"ocp-date": "", "date": http_date()}).status == 200


def test_escaped_query_values_are_signed_decoded(raw, lone_job):
    filtered = raw("GET", f"/jobs?$filter=id%20eq%20%27{lone_job}%27")
    assert [job["id"] for job in filtered.json["value"]] == [lone_job]
    plus = raw("GET", f"/jobs?$filter=id+eq+'{lone_job}'")
    assert [job["id"] for job in plus.json["value"]] == [lone_job]


@pytest.mark.parametrize("signed", [False, True])
def test_parameters_without_a_value(raw, lone_job, signed):
    client = raw.but(sign_empty=signed)
    assert client("GET", f"/jobs/{lone_job}?$select=&timeout=30").status == 200


def test_path_prefix_is_kept_in_every_url(service, raw, lone_job):
    prefix = f"/{raw.account}"
    shown = raw("GET", f"{prefix}/jobs/{lone_job}").json
    assert shown["url"] == f"{raw.endpoint}{prefix}/jobs/{lone_job}"
    page = raw("GET", f"{prefix}/jobs?maxresults=1").json
    assert page["odata.metadata"] == f"{raw.endpoint}{prefix}/$metadata#jobs"
    assert raw("DELETE", f"{prefix}/jobs/{lone_job}").status == 202


def test_sdk_follows_pages_under_a_prefix(service, raw, batch, lone_job):
    for number in range(3):
        body = {"id": f"t{number}", "commandLine": "/bin/true"}
        raw("POST", f"/jobs/{lone_job}/tasks", body)
    credential = AzureNamedKeyCredential(raw.account, raw.key)
    with BatchClient(f"{raw.endpoint}/{raw.account}", credential, retry_total=0) as client:
        tasks = client.list_tasks(lone_job, max_results=1)
        assert [task.id for task in tasks] == ["t0", "t1", "t2"]


def test_https_listener_with_the_ready_files_ca(service, batch):
    credential = AzureNamedKeyCredential(service.batch.account, service.batch.key)
    with BatchClient(
        service.batch.tls_endpoint, credential, retry_total=0, connection_verify=service.ca
    ) as client:
        images = list(client.list_supported_images(max_results=5))
        assert {image.node_agent_sku_id for image in images} == {
            image.node_agent_sku_id for image in batch.list_supported_images()
        }


def test_urls_follow_the_listener(service, raw, lone_job):
    secure = raw.but(endpoint=service.batch.tls_endpoint)
    reply = secure("GET", f"/jobs/{lone_job}")
    assert reply.json["url"] == f"{service.batch.tls_endpoint}/jobs/{lone_job}"


def test_missing_authorization_is_400(raw):
    reply = check_error(raw("GET", "/pools", sign=False), 400, "MissingRequiredHeader")
    assert reply.values == {"HeaderName": "Authorization"}


@pytest.mark.parametrize(
    "header",
    [
        "SharedKey",
        "SharedKey lote",
        "SharedKey lote:",
        "SharedKey :AAAA",
        "Basic bG90ZTpsb3Rl",
        "SharedKeyLite lote:AAAA",
        ":",
    ],
)
def test_malformed_authorization_is_400(raw, header):
    reply = raw("GET", "/pools", headers={"authorization": header}, sign=False)
    check_error(reply, 400, "InvalidAuthenticationInfo")


@pytest.mark.parametrize("signature", ["not base64", "AAAA", "é"])
def test_wrong_signatures_are_403(raw, signature):
    header = f"SharedKey {raw.account}:{signature}"
    reply = raw("GET", "/pools", headers={"authorization": header}, sign=False)
    check_error(reply, 403, "AuthenticationFailed")
    assert DENIED in reply.json["message"]["value"]
    assert "AuthenticationErrorDetail" in reply.values
    assert signature not in reply.body.decode()


def test_wrong_key_is_403_for_the_sdk(service):
    key = base64.b64encode(os.urandom(64)).decode()
    credential = AzureNamedKeyCredential(service.batch.account, key)
    with (
        BatchClient(service.batch.endpoint, credential, retry_total=0) as client,
        pytest.raises(HttpResponseError) as caught,
    ):
        client.get_pool("any")
    assert caught.value.status_code == 403
    assert caught.value.error.code == "AuthenticationFailed"
    assert DENIED in caught.value.error.message


def test_unknown_account_is_403(raw):
    check_error(raw.but(account="nobody")("GET", "/pools"), 403, "AuthenticationFailed")


@pytest.mark.parametrize("minutes", [-16, 16, -60 * 24 * 400])
def test_skewed_clocks_are_403(raw, minutes):
    dated = {"ocp-date": http_date(timedelta(minutes=minutes))}
    reply = check_error(raw("GET", "/pools", headers=dated), 403, "AuthenticationFailed")
    assert "date" in reply.values["AuthenticationErrorDetail"]


@pytest.mark.parametrize("minutes", [-13, 13])
def test_small_skews_are_allowed(raw, minutes):
    dated = {"ocp-date": http_date(timedelta(minutes=minutes))}
    assert raw("GET", "/pools", headers=dated).status == 200


@pytest.mark.parametrize("date", ["yesterday", "Fri, 99 Nov 2026 04:57:55 GMT", "0"])
def test_unreadable_dates_are_403(raw, date):
    check_error(raw("GET", "/pools", headers={"ocp-date": date}), 403, "AuthenticationFailed")


def test_no_date_at_all_is_403(raw):
    check_error(raw("GET", "/pools", headers={"ocp-date": ""}), 403, "AuthenticationFailed")


def test_what_was_signed_cannot_be_changed(raw, lone_job):
    target = f"/jobs/{lone_job}?api-version=2025-06-01"
    signed = {"ocp-date": http_date()}
    signed["authorization"] = raw.authorization("GET", target, signed)
    for method, changed, extra in (
        ("DELETE", target, {}),
        ("GET", target.replace(lone_job, lone_job + "x"), {}),
        ("GET", target + "&$select=id", {}),
        ("GET", target, {"if-none-match": "*"}),
        ("GET", target, {"ocp-range": "bytes=0-1"}),
    ):
        reply = raw.exchange(method, changed, b"", signed | extra)
        check_error(reply, 403, "AuthenticationFailed")
    assert raw("GET", f"/jobs/{lone_job}").json["state"] == "active"


def test_refused_signatures_change_nothing(raw):
    job_id = fresh("never")
    body = {"id": job_id, "poolInfo": {"poolId": "p"}}
    stranger = raw.but(key=base64.b64encode(b"wrong").decode())
    check_error(stranger("POST", "/jobs", body), 403, "AuthenticationFailed")
    check_error(raw("GET", f"/jobs/{job_id}"), 404, "JobNotFound")


def test_bearer_tokens_are_401(raw):
    reply = raw("GET", "/pools", headers={"authorization": "Bearer abc.def.ghi"}, sign=False)
    check_error(reply, 401, "AuthenticationFailed")
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert "abc.def.ghi" not in reply.body.decode()


def test_sdk_with_a_token_gets_its_authentication_error(service):
    class Token:
        def get_token(self, *scopes, **options):
            return AccessToken("abc.def.ghi", 4_000_000_000)

    with (
        BatchClient(
            service.batch.tls_endpoint, Token(), retry_total=0, connection_verify=service.ca
        ) as client,
        pytest.raises(ClientAuthenticationError) as caught,
    ):
        client.get_pool("any")
    assert caught.value.status_code == 401


def test_account_of_every_refusal_stays_secret(raw: Raw):
    replies = [raw.but(account="nobody")("GET", "/pools"), raw("GET", "/pools", sign=False)]
    for reply in replies:
        assert raw.key not in reply.body.decode()
