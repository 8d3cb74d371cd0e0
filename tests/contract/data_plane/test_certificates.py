"""Certificates, as clients of api-versions before 2025-06-01 send them."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from azure.batch import models as m
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from .conftest import add_task, fresh, read_file, shell, wait_steady, wait_task
from .raw_http import check_error
from .success import check_headers

OLD_VERSION = "2024-02-01.19.0"
PASSWORD = "kennwort"


class Made(NamedTuple):
    thumbprint: str
    public: bytes
    pfx: str
    cer: str


@pytest.fixture
def made() -> Made:
    return make_certificate()


def make_certificate() -> Made:
    """A certificate of its own, with its key and without."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, fresh("cert"))])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(Encoding.DER)
    pfx = pkcs12.serialize_key_and_certificates(
        b"c", key, certificate, None, BestAvailableEncryption(PASSWORD.encode())
    )
    thumbprint = hashlib.sha1(public, usedforsecurity=False).hexdigest()
    return Made(thumbprint, public, b64encode(pfx).decode(), b64encode(public).decode())


@pytest.fixture
def old(raw):
    return lambda method, target, body=None: raw(method, target, body, version=OLD_VERSION)


def body_of(made, **changes):
    body = {
        "thumbprint": made.thumbprint,
        "thumbprintAlgorithm": "sha1",
        "data": made.pfx,
        "certificateFormat": "pfx",
        "password": PASSWORD,
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def path_of(made):
    return f"/certificates(thumbprintAlgorithm=sha1,thumbprint={made.thumbprint})"


@pytest.mark.parametrize("kind", ["pfx", "cer"])
def test_a_certificate_is_made_shown_and_deleted(old, raw, made, kind):
    """add_certificate, get_certificate, list_certificates, delete_certificate."""
    body = body_of(made)
    if kind == "cer":
        body = body_of(made, data=made.cer, certificateFormat="cer", password=None)
    created = old("POST", "/certificates", body)
    assert created.status == 201
    address = raw.endpoint + path_of(made)
    check_headers(created, etag=True, service_id=address, location=address)
    shown = old("GET", path_of(made)).json
    assert (shown["state"], shown["url"]) == ("active", address)
    assert b64decode(shown["publicData"]) == made.public
    assert PASSWORD not in str(shown)
    listed = old("GET", "/certificates?$filter=state%20eq%20'active'").json["value"]
    assert made.thumbprint in [one["thumbprint"] for one in listed]
    check_error(old("POST", "/certificates", body), 409, "CertificateExists")
    check_error(old("POST", path_of(made) + "/canceldelete"), 409, "CertificateStateActive")
    assert old("DELETE", path_of(made)).status == 202
    check_error(old("GET", path_of(made)), 404, "CertificateNotFound")


def test_one_in_use_is_not_deleted(old, made):
    """delete_certificate, cancel_certificate_deletion."""
    assert old("POST", "/certificates", body_of(made)).status == 201
    reference = {"thumbprint": made.thumbprint.upper(), "thumbprintAlgorithm": "sha1"}
    pool_id = fresh("certified")
    pool = {"id": pool_id, "vmSize": "standard_d2_v2", "certificateReferences": [reference]}
    pool["virtualMachineConfiguration"] = {
        "imageReference": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"},
        "nodeAgentSKUId": "batch.node.ubuntu 24.04",
    }
    assert old("POST", "/pools", pool).status == 201
    assert old("DELETE", path_of(made)).status == 202
    shown = old("GET", path_of(made)).json
    assert (shown["state"], shown["previousState"]) == ("deletefailed", "active")
    assert shown["deleteCertificateError"]["code"] == "CertificatesInUse"
    assert pool_id in str(shown["deleteCertificateError"]["values"])
    assert old("POST", path_of(made) + "/canceldelete").status == 204
    assert old("GET", path_of(made)).json["state"] == "active"


def test_where_tasks_look_for_them(old, made, batch):
    assert old("POST", "/certificates", body_of(made)).status == 201
    reference = {"thumbprint": made.thumbprint, "thumbprintAlgorithm": "sha1"}
    pool_id, job_id = fresh("certified"), fresh("job")
    look = shell(
        "echo ${AZ_BATCH_CERTIFICATES_DIR-unset}; ls -A $AZ_BATCH_CERTIFICATES_DIR | wc -l"
    )
    pool = {
        "id": pool_id,
        "vmSize": "standard_d2_v2",
        "targetDedicatedNodes": 1,
        "certificateReferences": [reference | {"visibility": ["Task"]}],
        "startTask": {"commandLine": look, "waitForSuccess": True},
        "virtualMachineConfiguration": {
            "imageReference": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "s"},
            "nodeAgentSKUId": "batch.node.ubuntu 24.04",
        },
    }
    assert old("POST", "/pools", pool).status == 201
    (node,) = wait_steady(batch, pool_id)
    text = b"".join(batch.download_node_file(pool_id, node.id, "startup/stdout.txt")).decode()
    assert text.splitlines()[0] == "unset"
    batch.create_job(m.BatchJobCreateOptions(id=job_id, pool_info=m.BatchPoolInfo(pool_id=pool_id)))
    add_task(batch, job_id, "t", look)
    assert wait_task(batch, job_id, "t").execution_info.exit_code == 0
    directory, count = read_file(batch, job_id, "t").splitlines()
    assert directory.endswith(f"/workitems/{job_id}/job-1/t/certs")
    assert count == "0"
    files = {file.name: file.is_directory for file in batch.list_task_files(job_id, "t")}
    assert files["certs"] is True
    batch.begin_delete_job(job_id, polling_interval=0)
    batch.begin_delete_pool(pool_id, polling_interval=0)


def test_a_pool_cannot_name_one_that_is_not_there(old, made):
    reference = {"thumbprint": made.thumbprint, "thumbprintAlgorithm": "sha1"}
    pool = {"id": fresh("p"), "vmSize": "standard_d2_v2", "certificateReferences": [reference]}
    pool["virtualMachineConfiguration"] = {
        "imageReference": {"publisher": "canonical", "offer": "ubuntu-24_04-lts", "sku": "server"},
        "nodeAgentSKUId": "batch.node.ubuntu 24.04",
    }
    check_error(old("POST", "/pools", pool), 409, "InvalidCertificateReferences")


@pytest.mark.parametrize(
    ("changes", "prop"),
    [
        ({"thumbprint": "00" * 20}, "thumbprint"),
        ({"thumbprintAlgorithm": "md5"}, "thumbprintAlgorithm"),
        ({"data": "?"}, "data"),
        ({"data": "AAAA"}, "data"),
        ({"password": "wrong"}, "data"),
        ({"certificateFormat": "cer"}, "password"),
        ({"certificateFormat": "cer", "password": None}, "data"),
    ],
)
def test_what_is_no_certificate(old, made, changes, prop):
    reply = check_error(
        old("POST", "/certificates", body_of(made, **changes)), 400, "InvalidPropertyValue"
    )
    assert reply.values["PropertyName"] == prop
    assert PASSWORD not in reply.body.decode()
    check_error(old("GET", path_of(made)), 404, "CertificateNotFound")
