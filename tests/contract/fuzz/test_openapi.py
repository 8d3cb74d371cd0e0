"""Requests made from the OpenAPI document: no answer is a fault, none is outside its schema.

``LOTE_FUZZ_EXAMPLES`` is how many requests an operation gets; the seed is fixed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, seed, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from contract.data_plane.raw_http import Raw
from lote.cli.ready import Ready
from lote.cli.service import temporary_service
from lote.wire.openapi import openapi_document

EXAMPLES = int(os.environ.get("LOTE_FUZZ_EXAMPLES", "25"))
SEED = 20261120
CHECKS = (
    not_a_server_error,
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
KNOWN = {"pool_id": "p", "job_id": "j", "task_id": "t", "job_schedule_id": "s"}
POOL = {
    "id": "p",
    "vmSize": "standard_d2_v2",
    "virtualMachineConfiguration": {
        "imageReference": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"},
        "nodeAgentSKUId": "batch.node.ubuntu 24.04",
    },
    "targetDedicatedNodes": 1,
}

document = openapi_document("test")
schema = schemathesis.openapi.from_dict(document)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ready]:
    """A service of its own, on which a generated pool may not start many agents."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOTE_LOCAL_NODES_MAX", "3")
        with temporary_service(tmp_path_factory.mktemp("openapi")) as ready:
            yield ready


class Signed(requests.auth.AuthBase):
    """Signs what the generator made, as it is."""

    def __init__(self, ready: Ready) -> None:
        self._raw = Raw(ready.batch.endpoint, ready.batch.account, ready.batch.key)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        parts = urlsplit(request.url or "")
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {name.lower(): str(value) for name, value in request.headers.items()}
        signed = self._raw.authorization(request.method or "", target, headers)
        request.headers["authorization"] = signed
        return request


@pytest.fixture(scope="module")
def auth(service: Ready) -> Signed:
    raw = Raw(service.batch.endpoint, service.batch.account, service.batch.key)
    assert raw("POST", "/pools", POOL).status == 201
    job = {"id": "j", "poolInfo": {"poolId": "p"}}
    assert raw("POST", "/jobs", job).status == 201
    assert raw("POST", "/jobs/j/tasks", {"id": "t", "commandLine": "true"}).status == 201
    schedule = {"id": "s", "schedule": {}, "jobSpecification": {"poolInfo": {"poolId": "p"}}}
    assert raw("POST", "/jobschedules", schedule).status == 201
    return Signed(service)


@pytest.mark.timeout(600)
@schema.parametrize()
@seed(SEED)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_operation(case: schemathesis.Case, service: Ready, auth: Signed) -> None:
    for name, known in KNOWN.items():
        # Most generated ids name nothing: half of the requests are for things that are there.
        if name in case.path_parameters and len(str(case.path_parameters[name])) % 2:
            case.path_parameters[name] = known
    response = case.call(base_url=service.batch.endpoint, auth=auth)
    case.validate_response(response, checks=CHECKS)
    assert "Traceback" not in response.text


def test_the_document_is_served(service: Ready) -> None:
    found = requests.get(f"{service.batch.endpoint}/openapi.json", timeout=30)
    assert found.status_code == 200
    assert found.json()["paths"] == document["paths"]
