"""Bearer tokens of the service itself, by the provider's identity library; and https accounts
whose certificate a private authority has signed."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential
from azure.storage.blob import BlobServiceClient, ContainerClient, generate_container_sas

from e2e.harness import Lote
from lote.blobs.accounts import StorageAccount
from lote.cli.ready import Ready
from lote.cli.service import temporary_service

STORAGE_SCOPE = "https://storage.azure.com/.default"
Facts = dict[str, Any]


@pytest.fixture(scope="module")
def facts(service: Ready, service_folder: Path) -> Facts:
    """The ready file, with the members that the terminal has no use for."""
    path = service_folder / "ready.json"
    assert path.stat().st_mode & 0o077 == 0
    found: Facts = json.loads(path.read_bytes())
    return found


def credential_for(facts: Facts, secret: str | None = None) -> ClientSecretCredential:
    known = facts["management"]
    return ClientSecretCredential(
        known["tenant"],
        known["client_id"],
        secret or known["client_secret"],
        authority=known["authority"],
        disable_instance_discovery=True,
        connection_verify=facts["ca_bundle"],
    )


def claims_of(token: str) -> Facts:
    payload = token.split(".")[1]
    found: Facts = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return found


def test_the_identity_library_gets_a_token_that_storage_takes(facts: Facts) -> None:
    with BlobServiceClient(
        facts["storage"]["tls_blob_endpoint"],
        credential=credential_for(facts),
        connection_verify=facts["ca_bundle"],
    ) as service:
        box = service.create_container("by-token")
        box.upload_blob("x", b"1")
        assert box.download_blob("x").readall() == b"1"
        now = datetime.now(UTC)
        key = service.get_user_delegation_key(now, now + timedelta(hours=1))
        assert key.signed_tid == facts["management"]["tenant"]


def test_the_ready_files_token_works_by_itself(facts: Facts) -> None:
    token = facts["management"]["token"]
    assert claims_of(token)["exp"] - datetime.now(UTC).timestamp() > 3600
    answer = requests.get(
        facts["storage"]["tls_blob_endpoint"] + "?comp=list",
        headers={"Authorization": f"Bearer {token}", "x-ms-version": "2021-12-02"},
        verify=facts["ca_bundle"],
        timeout=20,
    )
    assert answer.status_code == 200


def test_a_wrong_secret_gets_nothing(facts: Facts) -> None:
    with pytest.raises(ClientAuthenticationError, match="secret do not match"):
        credential_for(facts, "guessed").get_token(STORAGE_SCOPE)


@pytest.fixture
def post(facts: Facts) -> Any:
    known = facts["management"]
    form = {"client_id": known["client_id"], "client_secret": known["client_secret"]}
    form |= {"grant_type": "client_credentials", "scope": STORAGE_SCOPE}

    def send(changes: Mapping[str, str | None], page: str = "oauth2/v2.0/token") -> Any:
        url = f"{known['authority']}/{known['tenant']}/{page}"
        body = {name: value for name, value in (form | dict(changes)).items() if value is not None}
        answer = requests.post(url, body, verify=facts["ca_bundle"], timeout=20)
        return answer.status_code, answer.json()

    return send


def test_requests_for_tokens(post: Any, facts: Facts) -> None:
    status, found = post({})
    assert (status, found["token_type"], found["expires_in"]) == (200, "Bearer", 3600)
    assert claims_of(found["access_token"])["aud"] == "https://storage.azure.com"
    older = {"scope": None, "resource": "https://batch.core.windows.net/"}
    status, found = post(older, "oauth2/token")
    assert claims_of(found["access_token"])["aud"] == "https://batch.core.windows.net/"
    for changes, code in (
        ({"grant_type": "password"}, (400, "unsupported_grant_type")),
        ({"scope": None}, (400, "invalid_scope")),
        ({"client_secret": "guessed"}, (401, "invalid_client")),
        ({"client_id": None}, (401, "invalid_client")),
    ):
        status, found = post(changes)
        assert (status, found["error"]) == code
    known = facts["management"]
    pair = known["client_id"], known["client_secret"]
    url = f"{known['authority']}/{known['tenant']}/oauth2/v2.0/token"
    form = {"grant_type": "client_credentials", "scope": STORAGE_SCOPE}
    answer = requests.post(url, form, auth=pair, verify=facts["ca_bundle"], timeout=20)
    assert answer.status_code == 200


def test_what_is_said_of_the_issuer(facts: Facts) -> None:
    known = facts["management"]
    base = f"{known['authority']}/{known['tenant']}"
    options: Any = {"verify": facts["ca_bundle"], "timeout": 20}
    metadata = requests.get(f"{base}/v2.0/.well-known/openid-configuration", **options).json()
    assert metadata["issuer"] == claims_of(known["token"])["iss"]
    (key,) = requests.get(metadata["jwks_uri"], **options).json()["keys"]
    assert (key["kty"], "d" in key) == ("EC", False)
    assert requests.get(f"{base}/v2.0/elsewhere", **options).status_code >= 400


def test_tokens_outlive_a_restart(tmp_path: Path) -> None:
    tokens = []
    for _ in range(2):
        with temporary_service(tmp_path / "data"):
            facts = json.loads((tmp_path / "data" / "ready.json").read_bytes())
            tokens.append(facts["management"]["token"])
            answer = requests.get(
                facts["storage"]["tls_blob_endpoint"] + "?comp=list",
                headers={"Authorization": f"Bearer {tokens[0]}", "x-ms-version": "2021-12-02"},
                verify=facts["ca_bundle"],
                timeout=20,
            )
            assert answer.status_code == 200
    for name in ("signing.pem", "application.json"):
        assert (tmp_path / "data" / "tokens" / name).stat().st_mode & 0o077 == 0


def test_an_https_account_by_a_private_authority(facts: Facts, tmp_path: Path) -> None:
    account = StorageAccount(
        facts["storage"]["account"],
        facts["storage"]["key"],
        facts["storage"]["tls_blob_endpoint"],
    )
    boxes = {
        name: ContainerClient(
            account.blob_endpoint, name, account.key, connection_verify=facts["ca_bundle"]
        )
        for name in ("private-in", "private-out")
    }
    for box in boxes.values():
        box.create_container()
    boxes["private-in"].upload_blob("words.txt", b"by a private authority\n")
    sas = generate_container_sas(
        account.name,
        "private-out",
        account.key,
        permission="racwdl",
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    lote = Lote(
        tmp_path,
        ["--storage-connection-string", account.connection_string],
        {"SSL_CERT_FILE": facts["ca"]},
    )
    lote.start()
    try:
        lote.add_pool(nodes=1)
        lote.add_job()
        url = f"{boxes['private-out'].url}?{sas}"
        lote.add_tasks(
            {
                "t": {
                    "commandLine": "/bin/sh -c 'wc -w < words.txt > count.txt'",
                    "resourceFiles": [{"autoStorageContainerName": "private-in"}],
                    "outputFiles": [
                        {
                            "filePattern": "count.txt",
                            "destination": {"container": {"containerUrl": url}},
                            "uploadOptions": {"uploadCondition": "taskCompletion"},
                        }
                    ],
                }
            }
        )
        ended = lote.wait_for_end("t")
        assert ended["result"].lower() == "success", ended
    finally:
        lote.stop()
    assert boxes["private-out"].download_blob("count.txt").readall().split() == [b"4"]
