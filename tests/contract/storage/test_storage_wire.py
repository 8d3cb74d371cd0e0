"""What is on the wire, where the official client does not let one look or go."""

from __future__ import annotations

import http.client
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import pytest
from azure.storage.blob import BlobServiceClient
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from storage_process import ACCOUNT, StorageProcess

from lote.blobs.accounts import StorageAccount
from lote.storage.signatures import shared_key_lite_texts, sign


def expiry_us():
    return int((datetime.now(UTC) + timedelta(hours=1)).timestamp() * 1_000_000)


@pytest.fixture
def ask(storage, box):
    """Sends a request below the container, with a signature that allows everything there."""
    account = StorageAccount.from_connection_string(storage.connection_string)
    sas = account.sas_url(box.container_name, "racwdl", expiry_us()).partition("?")[2]
    connection = http.client.HTTPConnection("127.0.0.1", storage.port, timeout=20)

    def send(method, path, query="", body=None, headers=None, **options):
        target = f"/{ACCOUNT}/{box.container_name}{path}?{sas}&{query}".rstrip("&")
        connection.request(method, target, body, headers or {}, **options)
        response = connection.getresponse()
        return response, response.read()

    yield send
    connection.close()


BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}


@pytest.mark.parametrize(
    "path",
    ["/../../etc/passwd", "/a/../b", "/./x", "//", "/%00", "/%2e%2e%2f%2e%2e", "/a%5Cb", "/."],
)
def test_paths_are_keys_and_nothing_else(ask, storage, path):
    before = {p for p in storage.folder.rglob("*") if p.is_dir()}
    assert ask("PUT", path, body=path.encode(), headers=BLOCK_BLOB)[0].status == 201
    assert ask("GET", path)[1] == path.encode()
    assert {p for p in storage.folder.rglob("*") if p.is_dir()} == before


def test_the_headers_of_every_answer(ask):
    sent = {"x-ms-version": "2020-02-10", "x-ms-client-request-id": "my-own-id"}
    for path, status in (("/missing", 404), ("/there", 201)):
        method = "GET" if status == 404 else "PUT"
        response, _ = ask(method, path, body=b"", headers=sent | BLOCK_BLOB)
        assert response.status == status
        assert response.headers["x-ms-version"] == "2020-02-10"
        assert response.headers["x-ms-client-request-id"] == "my-own-id"
        assert len(response.headers["x-ms-request-id"]) == 36
        assert response.headers["Date"]
        assert response.headers["Server"] is None


def test_error_bodies(ask):
    response, body = ask("GET", "/missing")
    root = ElementTree.fromstring(body)
    assert response.headers["x-ms-error-code"] == root.findtext("Code") == "BlobNotFound"
    assert response.headers["x-ms-request-id"] in root.findtext("Message")
    response, body = ask("HEAD", "/missing")
    assert (response.status, body) == (404, b"")
    assert response.headers["x-ms-error-code"] == "BlobNotFound"


@pytest.mark.parametrize(
    ("method", "query", "headers", "status", "code"),
    [
        ("GET", "comp=nonsense", {}, 400, "InvalidQueryParameterValue"),
        ("GET", "restype=nonsense", {}, 400, "InvalidQueryParameterValue"),
        ("POST", "", {}, 405, "UnsupportedHttpVerb"),
        ("PUT", "", {}, 400, "MissingRequiredHeader"),
        ("PUT", "", {"x-ms-blob-type": "Other"}, 400, "InvalidHeaderValue"),
        ("PUT", "", BLOCK_BLOB | {"x-ms-tags": "a=b"}, 403, "AuthorizationPermissionMismatch"),
        ("PUT", "", BLOCK_BLOB | {"x-ms-access-tier": "Lukewarm"}, 400, "InvalidHeaderValue"),
        ("PUT", "", BLOCK_BLOB | {"Content-MD5": "short"}, 400, "InvalidMd5"),
        ("PUT", "", BLOCK_BLOB | {"If-Modified-Since": "then"}, 400, "InvalidHeaderValue"),
        ("PUT", "comp=block", {}, 400, "MissingRequiredQueryParameter"),
        ("PUT", "comp=block&blockid=*", {}, 400, "InvalidQueryParameterValue"),
        ("PUT", "comp=blocklist", {}, 400, "InvalidXmlDocument"),
        ("GET", "", {"x-ms-version": "latest"}, 400, "InvalidHeaderValue"),
        ("GET", "snapshot=2020-01-01", {}, 400, "InvalidQueryParameterValue"),
        ("GET", "snapshot=2020-01-01T00:00:00.0000000Z", {}, 404, "BlobNotFound"),
        ("PUT", "snapshot=2020-01-01T00:00:00.0000000Z", {}, 400, "InvalidQueryParameterValue"),
        ("GET", "versionid=2020-01-01T00:00:00.0000000Z", {}, 501, "NotImplemented"),
        ("PUT", "", {"x-ms-blob-type": "PageBlob"}, 501, "NotImplemented"),
        ("GET", "comp=pagelist", {}, 501, "NotImplemented"),
        ("PUT", "comp=undelete", {}, 501, "NotImplemented"),
        ("PUT", "comp=tier", {}, 400, "MissingRequiredHeader"),
        ("PUT", "comp=tier", {"x-ms-access-tier": "P10"}, 400, "InvalidHeaderValue"),
    ],
)
def test_refusals(ask, method, query, headers, status, code):
    response, _ = ask(method, "/x", query, body=b"x" if method == "PUT" else None, headers=headers)
    assert (response.status, response.headers["x-ms-error-code"]) == (status, code)


def test_a_document_with_entities_is_refused(ask):
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><BlockList><Latest>&a;</Latest></BlockList>'
    response, _ = ask("PUT", "/x", "comp=blocklist", body=bomb)
    assert response.headers["x-ms-error-code"] == "InvalidXmlDocument"


def test_a_body_without_a_length_is_refused(ask):
    response, _ = ask("PUT", "/x", body=iter([b"1"]), headers=BLOCK_BLOB, encode_chunked=True)
    assert response.status == 411


def test_ranges_in_headers(ask):
    ask("PUT", "/r", body=b"0123456789", headers=BLOCK_BLOB)
    for header in ("Range", "x-ms-range"):
        response, body = ask("GET", "/r", headers={header: "bytes=2-4"})
        assert (response.status, body) == (206, b"234")
        assert response.headers["Content-Range"] == "bytes 2-4/10"
        assert response.headers["Content-MD5"] is None
        assert response.headers["x-ms-blob-content-md5"] == "eB5eJF1ptWaXm4bijSPyxw=="
    response, body = ask("GET", "/r", headers={"Range": "bytes=0-0", "x-ms-range": "bytes=8-"})
    assert body == b"89"
    response, body = ask("GET", "/r", headers={"Range": "lines=1-2"})
    assert (response.status, body) == (200, b"0123456789")


def test_shared_key_lite(storage):
    date = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": date, "x-ms-version": "2021-12-02"}
    path, query = f"/{ACCOUNT}/", {"comp": "list"}
    (text,) = shared_key_lite_texts("GET", ACCOUNT, path, query, headers)
    connection = http.client.HTTPConnection("127.0.0.1", storage.port, timeout=20)
    for key, status in ((storage.key1, 200), ("AAAA", 403)):
        signature = sign(b64decode(key), text)
        signed = headers | {"Authorization": f"SharedKeyLite {ACCOUNT}:{signature}"}
        connection.request("GET", f"{path}?comp=list", headers=signed)
        response = connection.getresponse()
        response.read()
        assert response.status == status
    connection.close()


def test_over_tls(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    tls = {
        "tls_port": 0,
        "certificate": str(tmp_path / "cert.pem"),
        "private_key": str(tmp_path / "key.pem"),
    }
    process = StorageProcess(tmp_path / "folder", tls=tls)
    content = bytes(range(256)) * 8192
    with BlobServiceClient(
        f"https://localhost:{process.tls_port}/{ACCOUNT}",
        credential=process.key1,
        connection_verify=str(tmp_path / "cert.pem"),
    ) as service:
        blob = service.create_container("secure").upload_blob("x", content)
        assert blob.download_blob().readall() == content
    with BlobServiceClient(process.endpoint, credential=process.key1) as service:
        assert service.get_blob_client("secure", "x").download_blob().readall() == content
    assert process.stop() == 0
