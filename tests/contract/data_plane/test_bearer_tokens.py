"""Bearer tokens on the data plane: of the service's own issuer, and of tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests
from azure.batch import BatchClient
from azure.batch import models as m
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential

from .conftest import fresh, shell, until, wait_task

OLD_VERSION = "2024-07-01.20.0"
VERSION = "2025-06-01"
SCOPE = "https://batch.core.windows.net//.default"  # as the official client spells it


@pytest.fixture(scope="session")
def facts(service, service_folder) -> dict[str, Any]:
    folder = Path(service_folder)
    found = next(folder.parent.glob("ready.json"), folder / "ready.json")
    return json.loads(found.read_bytes())


@pytest.fixture(scope="session")
def ask(facts):
    """One request with a token, over https unless told otherwise."""

    def send(method, path, token, *, body=None, plain=False, version=VERSION):
        batch = facts["batch"]
        base = batch["endpoint"] if plain else batch["tls_endpoint"]
        joint = "&" if "?" in path else "?"
        return requests.request(
            method,
            f"{base.rstrip('/')}{path}{joint}api-version={version}",
            headers={"Authorization": f"Bearer {token}"},
            json=body,
            verify=facts["ca_bundle"],
            timeout=30,
        )

    return send


@pytest.fixture
def credential(facts):
    known = facts["management"]
    return ClientSecretCredential(
        known["tenant"],
        known["client_id"],
        known["client_secret"],
        authority=known["authority"],
        disable_instance_discovery=True,
        connection_verify=facts["ca_bundle"],
    )


def test_the_official_client_with_a_token(facts, credential, pool):
    endpoint = facts["batch"]["tls_endpoint"]
    with BatchClient(endpoint, credential, connection_verify=facts["ca_bundle"]) as client:
        assert client.get_pool(pool).id == pool
        job_id = fresh("by-token")
        info = m.BatchPoolInfo(pool_id=pool)
        client.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=info))
        client.create_tasks(
            job_id, [m.BatchTaskCreateOptions(id=f"t{n}", command_line="true") for n in range(3)]
        )
        assert len(list(client.list_tasks(job_id))) == 3
        client.begin_delete_job(job_id, polling_interval=0)


def test_the_ready_files_token(ask, facts, pool):
    assert ask("GET", f"/pools/{pool}", facts["management"]["token"]).status_code == 200


def test_no_token_over_plain_http(ask, facts, pool):
    reply = ask("GET", f"/pools/{pool}", facts["management"]["token"], plain=True)
    assert reply.status_code == 401
    assert reply.json()["code"] == "AuthenticationFailed"
    assert "https only" in reply.text


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "lote-task.1.1.1.x", "lote-task.", "é"])
def test_what_is_no_token(ask, token):
    reply = ask("GET", "/pools", token.encode("utf-8").decode("latin-1"))
    assert reply.status_code == 401, reply.text
    assert reply.json()["code"] == "AuthenticationFailed"
    assert reply.headers["www-authenticate"].startswith("Bearer authorization_uri=")
    assert not token or token not in reply.text


def test_a_token_for_another_service(ask, credential):
    token = credential.get_token("https://storage.azure.com/.default").token
    reply = ask("GET", "/pools", token)
    assert reply.status_code == 401
    assert "audience" in reply.text.lower()
    assert ask("GET", "/pools", credential.get_token(SCOPE).token).status_code == 200


def test_the_client_tells_a_refusal(facts):
    class Wrong:
        def get_token(self, *scopes, **options):
            from azure.core.credentials import AccessToken

            return AccessToken("a.b.c", 4_000_000_000)

    endpoint = facts["batch"]["tls_endpoint"]
    client = BatchClient(endpoint, Wrong(), connection_verify=facts["ca_bundle"])
    with client, pytest.raises(ClientAuthenticationError):
        client.get_pool("p")


# -- tokens of tasks ------------------------------------------------------------------------

SAY_AND_WAIT = (
    'echo "$AZ_BATCH_AUTHENTICATION_TOKEN" > told; echo "$AZ_BATCH_ACCOUNT_URL" > url;'
    " while [ ! -e stop ]; do sleep 0.05; done"
)
CALL_BACK = """
import os, ssl, urllib.request
url = os.environ["AZ_BATCH_ACCOUNT_URL"].rstrip("/")
path = "/jobs/" + os.environ["AZ_BATCH_JOB_ID"] + "/tasks?api-version=2025-06-01"
headers = {"Authorization": "Bearer " + os.environ["AZ_BATCH_AUTHENTICATION_TOKEN"]}
print(urllib.request.urlopen(urllib.request.Request(url + path, headers=headers)).status)
""".strip().replace("\n", "; ")

ADD_TASK = """
import os, urllib.request
url = os.environ["AZ_BATCH_ACCOUNT_URL"].rstrip("/")
path = "/jobs/" + os.environ["AZ_BATCH_JOB_ID"] + "/tasks?api-version=2025-06-01"
token = "Bearer " + os.environ["AZ_BATCH_AUTHENTICATION_TOKEN"]
headers = dict([("Authorization", token), ("Content-Type", "application/json")])
body = r\"\"\"{body}\"\"\".encode()
urllib.request.urlopen(urllib.request.Request(url + path, data=body, headers=headers))
""".strip().replace("\n", "; ")


def add(raw, job, task_id, command, **members):
    body = {"id": task_id, "commandLine": command} | members
    reply = raw("POST", f"/jobs/{job}/tasks", body, version=OLD_VERSION)
    assert reply.status == 201, reply.body


SETTINGS = {"authenticationTokenSettings": {"access": ["job"]}}


@pytest.fixture
def told(raw, batch, job) -> str:
    """The token of a task that goes on until the end of the test."""
    add(raw, job, "teller", shell(SAY_AND_WAIT), **SETTINGS)

    def look() -> str | None:
        reply = raw("GET", f"/jobs/{job}/tasks/teller/files/wd%2Ftold")
        return reply.body.decode().strip() if reply.status == 200 else None

    yield until(look)
    if batch.get_task(job, "teller").state != m.BatchTaskState.COMPLETED:
        batch.terminate_task(job, "teller")


def test_a_tasks_token_is_good_for_its_job(ask, raw, job, told):
    assert told.startswith("lote-task.")
    assert ask("GET", f"/jobs/{job}", told).status_code == 200
    assert ask("GET", f"/jobs/{job}/tasks/teller", told).status_code == 200
    body = {"id": "made", "commandLine": "true"}
    assert ask("POST", f"/jobs/{job}/tasks", told, body=body).status_code == 201
    assert ask("GET", f"/jobs/{job}/taskcounts", told).status_code == 200
    shown = raw("GET", f"/jobs/{job}/tasks/teller", version=OLD_VERSION)
    assert told not in shown.body.decode()


@pytest.mark.parametrize(
    "path", ["/pools", "/jobs", "/jobschedules", "/jobs/{other}", "/applications"]
)
def test_a_tasks_token_is_good_for_nothing_else(ask, lone_job, told, path):
    reply = ask("GET", path.format(other=lone_job), told)
    assert reply.status_code == 403
    assert reply.json()["code"] == "InsufficientAccountPermissions"


def test_a_tasks_token_ends_with_the_task(ask, raw, batch, job, told):
    raw_reply = ask("GET", f"/jobs/{job}", told, plain=True)
    assert raw_reply.status_code == 401
    batch.terminate_task(job, "teller")
    wait_task(batch, job, "teller")
    reply = ask("GET", f"/jobs/{job}", told)
    assert reply.status_code == 401
    assert "not at work" in reply.text


def test_a_task_calls_its_own_job(raw, batch, job):
    """Over https, with nothing but what its environment has."""
    add(raw, job, "caller", f"python3 -c '{CALL_BACK}'", **SETTINGS)
    shown = wait_task(batch, job, "caller")
    err = raw("GET", f"/jobs/{job}/tasks/caller/files/stderr.txt").body.decode()
    assert shown.execution_info.exit_code == 0, err
    assert raw("GET", f"/jobs/{job}/tasks/caller/files/stdout.txt").body == b"200\n"


def test_other_tasks_have_none(raw, batch, job):
    add(raw, job, "plain", shell("env"))
    wait_task(batch, job, "plain")
    text = raw("GET", f"/jobs/{job}/tasks/plain/files/stdout.txt").body.decode()
    assert "AZ_BATCH_AUTHENTICATION_TOKEN" not in text
    assert "AZ_BATCH_ACCOUNT_URL=http://" in text


def test_a_job_manager_adds_tasks_to_its_job(raw, batch, pool):
    """What managers are for."""
    job_id = fresh("managed")
    program = ADD_TASK.format(body=json.dumps({"id": "added", "commandLine": "true"}))
    manager = {"id": "m", "commandLine": f"python3 -c '{program}'", "runExclusive": False}
    body = {"id": job_id, "poolInfo": {"poolId": pool}, "jobManagerTask": manager | SETTINGS}
    assert raw("POST", "/jobs", body, version=OLD_VERSION).status == 201
    until(lambda: batch.get_job(job_id).state == m.BatchJobState.COMPLETED)
    assert {task.id for task in batch.list_tasks(job_id)} == {"m", "added"}
    assert batch.get_task(job_id, "m").execution_info.exit_code == 0
    batch.begin_delete_job(job_id, polling_interval=0)
