"""Bearer tokens over HTTPS, and the signatures that a user delegation key makes."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.storage.blob import (
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    generate_account_sas,
    generate_blob_sas,
    generate_container_sas,
)
from azure.storage.blob.aio import BlobServiceClient as AsyncBlobServiceClient
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from storage_process import ACCOUNT, StorageProcess

from lote.server.certificate import make_certificates
from lote.server.folder import write_private
from lote.tokens.issuer import open_issuer
from lote.world import World

HOUR = timedelta(hours=1)
STORAGE = "https://storage.azure.com"
OTHER_ISSUER = "https://sts.example/tenant-2/"
OTHER_TENANT = "2f7a1c1e-0000-4000-8000-000000000002"


def now():
    return datetime.now(UTC)


class Fixed:
    """A credential with one token; it can be used with ``await`` too."""

    def __init__(self, token):
        self.token = token

    def get_token(self, *scopes, **options):
        return AccessToken(self.token, int((now() + HOUR).timestamp()))


class AsyncFixed(Fixed):
    async def get_token(self, *scopes, **options):
        return super().get_token(*scopes, **options)

    async def close(self):
        return None


class Rig:
    """A storage process that trusts two issuers: one of Lote's own, one with an RSA key."""

    def __init__(self, folder):
        self.certificates = make_certificates(folder, "127.0.0.1", World())
        self.issuer = open_issuer(folder / "tokens", "https://127.0.0.1", World(), write_private)
        self.key = rsa.generate_private_key(65537, 2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        jwks = folder / "other.json"
        jwks.write_text(json.dumps({"keys": [public]}))
        issuers = [self.issuer.trusted, {"issuer": OTHER_ISSUER, "jwks": str(jwks)}]
        self.process = StorageProcess(
            folder / "storage",
            tls={
                "tls_port": 0,
                "certificate": str(self.certificates.certificate),
                "private_key": str(self.certificates.private_key),
                "token_issuers": [
                    one if isinstance(one, dict) else {"issuer": one.issuer, "jwks": one.jwks}
                    for one in issuers
                ],
                "authorization_uri": f"https://login.example/{OTHER_TENANT}/oauth2/authorize",
            },
        )
        self.url = f"https://127.0.0.1:{self.process.tls_port}/{ACCOUNT}"

    def options(self):
        return {"connection_verify": str(self.certificates.authority), "retry_total": 0}

    def client(self, token=None, **options):
        token = token or self.issuer.issue([STORAGE])
        options = self.options() | options
        return BlobServiceClient(self.url, credential=Fixed(token), **options)

    def other_token(self, **claims):
        """A token of the other issuer."""
        seconds = int(now().timestamp())
        found = {"iss": OTHER_ISSUER, "aud": STORAGE, "exp": seconds + 600, "nbf": seconds - 600}
        found |= {"oid": "user-2", "tid": OTHER_TENANT} | claims
        return jwt.encode(found, self.key, "RS256")


@pytest.fixture(scope="module")
def rig(tmp_path_factory):
    made = Rig(tmp_path_factory.mktemp("tokens"))
    yield made
    assert made.process.stop() == 0


@pytest.fixture
def box(rig):
    with rig.client() as service:
        yield service.create_container(f"box-{os.urandom(6).hex()}")


def refusal_of(ask):
    with pytest.raises(HttpResponseError) as refused:
        ask()
    return refused.value


def test_a_token_may_do_everything_with_blobs(box):
    box.upload_blob("x", b"1")
    assert box.download_blob("x").readall() == b"1"
    assert [one.name for one in box.list_blobs()] == ["x"]
    box.delete_blob("x")


def test_a_token_works_from_asyncio_too(rig, box):
    async def use():
        credential = AsyncFixed(rig.issuer.issue([STORAGE]))
        async with AsyncBlobServiceClient(rig.url, credential, **rig.options()) as service:
            blob = service.get_blob_client(box.container_name, "async")
            await blob.upload_blob(b"2")
            return await (await blob.download_blob()).readall()

    assert asyncio.run(use()) == b"2"


@pytest.mark.parametrize(
    "audience",
    [
        STORAGE,
        f"{STORAGE}/",
        "e406a681-f3d4-42a8-90b6-c2b029497af1",
        f"https://{ACCOUNT}.blob.core.windows.net",
        [f"https://{ACCOUNT}.blob.core.usgovcloudapi.net/", "https://elsewhere.example"],
    ],
)
def test_audiences_that_mean_this_account(rig, audience):
    service = rig.client(rig.other_token(aud=audience))
    assert service.get_account_information()["account_kind"] == "StorageV2"


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"aud": "https://other.blob.core.windows.net"}, "Audience"),
        ({"aud": None}, "Audience"),
        ({"iss": "https://nobody.example"}, "issuer"),
        ({"exp": 1}, "expired"),
        ({"exp": "soon"}, "Lifetime"),
        ({"nbf": 4_000_000_000}, "not valid yet"),
    ],
)
def test_tokens_that_are_refused(rig, claims, why):
    refused = refusal_of(rig.client(rig.other_token(**claims)).get_account_information)
    assert isinstance(refused, ClientAuthenticationError)
    assert (refused.status_code, refused.error_code) == (401, "InvalidAuthenticationInfo")
    assert why in str(refused)
    challenge = refused.response.headers["WWW-Authenticate"]
    assert challenge == (
        f"Bearer authorization_uri=https://login.example/{OTHER_TENANT}/oauth2/authorize"
        f" resource_id={STORAGE}"
    )


def test_a_token_by_another_key_or_by_none_is_refused(rig):
    claims = {"iss": OTHER_ISSUER, "aud": STORAGE, "exp": 4_000_000_000}
    public = rig.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    secret = bytes(reversed(public))  # a shared secret, which the algorithm must not be taken from
    forged = [
        jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256"),
        jwt.encode(claims, secret, "HS256"),
        jwt.encode(claims, None, "none"),
        "not-a-token",
    ]
    for token in forged:
        refused = refusal_of(rig.client(token).get_account_information)
        assert (refused.status_code, refused.error_code) == (401, "InvalidAuthenticationInfo")


def test_no_token_over_plain_http(rig):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", rig.process.port, timeout=20)
    headers = {"Authorization": f"Bearer {rig.issuer.issue([STORAGE])}"}
    connection.request("GET", f"/{ACCOUNT}/?comp=list", headers=headers)
    answer = connection.getresponse()
    assert (answer.status, b"HTTPS only" in answer.read()) == (401, True)
    connection.close()


def test_without_credentials_clients_are_told_where_tokens_are(rig, box):
    bare = BlobClient(rig.url, box.container_name, "x", **rig.options())
    refused = refusal_of(bare.download_blob)
    assert (refused.status_code, refused.error_code) == (401, "NoAuthenticationInformation")
    assert refused.response.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")


def test_access_policies_are_for_keys(box):
    for ask in (box.get_container_access_policy, lambda: box.set_container_access_policy({})):
        refused = refusal_of(ask)
        assert (refused.status_code, refused.error_code) == (403, "AuthenticationFailed")


def test_a_delegation_key_is_for_tokens_alone(rig):
    sas = generate_account_sas(ACCOUNT, rig.process.key1, "sco", "rwdlac", now() + HOUR)
    for credential in (rig.process.key1, sas):
        service = BlobServiceClient(rig.url, credential=credential, **rig.options())
        refused = refusal_of(lambda one=service: one.get_user_delegation_key(now(), now() + HOUR))
        assert (refused.status_code, refused.error_code) == (403, "AuthenticationFailed")
        assert "Only authentication scheme Bearer is supported" in str(refused)


@pytest.mark.parametrize("hours", [-1, 8 * 24])
def test_delegation_keys_live_a_week_at_most(rig, hours):
    end = now() + timedelta(hours=hours)
    refused = refusal_of(lambda: rig.client().get_user_delegation_key(now(), end))
    assert (refused.status_code, refused.error_code) == (400, "InvalidXmlNodeValue")


def delegated(rig, container, *, key=None, token=None, **options):
    """A client with a signature by a user delegation key; ``name`` makes it for one blob."""
    service = rig.client(token)
    times = options.pop("times", (now() - HOUR, now() + HOUR))
    key = key or service.get_user_delegation_key(*times)
    options = {"permission": "racwdl", "expiry": now() + HOUR} | options
    name, snapshot = options.pop("name", None), options.get("snapshot")
    if name is None:
        sas = generate_container_sas(ACCOUNT, container, user_delegation_key=key, **options)
        return ContainerClient(rig.url, container, credential=sas, **rig.options())
    options["permission"] = options["permission"].replace("l", "")
    sas = generate_blob_sas(ACCOUNT, container, name, user_delegation_key=key, **options)
    return BlobClient(rig.url, container, name, snapshot=snapshot, credential=sas, **rig.options())


def test_delegated_container_signatures(rig, box):
    client = delegated(rig, box.container_name)
    client.upload_blob("x", b"1")
    assert [one.name for one in client.list_blobs()] == ["x"]
    reader = delegated(rig, box.container_name, permission="r", correlation_id=OTHER_TENANT)
    assert reader.download_blob("x").readall() == b"1"
    refused = refusal_of(lambda: reader.delete_blob("x"))
    assert refused.error_code == "AuthorizationPermissionMismatch"


def test_delegated_blob_and_snapshot_signatures(rig, box):
    box.upload_blob("x", b"old")
    snapshot = box.get_blob_client("x").create_snapshot()["snapshot"]
    box.upload_blob("x", b"new", overwrite=True)
    blob = delegated(rig, box.container_name, name="x", content_type="text/x-mine")
    got = blob.download_blob()
    assert (got.readall(), got.properties.content_settings.content_type) == (b"new", "text/x-mine")
    of_snapshot = delegated(rig, box.container_name, name="x", snapshot=snapshot)
    assert of_snapshot.download_blob().readall() == b"old"
    sas = of_snapshot.url.partition("?")[2].replace(f"snapshot={snapshot}", "").strip("&")
    base = BlobClient(rig.url, box.container_name, "x", credential=sas, **rig.options())
    assert refusal_of(base.download_blob).error_code == "AuthenticationFailed"


@pytest.mark.parametrize(
    "times",
    [(now() + HOUR, now() + 2 * HOUR), (now() - 3 * HOUR, now() - 2 * HOUR)],
    ids=["early", "late"],
)
def test_a_delegated_signature_ends_with_its_key(rig, box, times):
    client = delegated(rig, box.container_name, times=times)
    assert refusal_of(lambda: list(client.list_blobs())).error_code == "AuthenticationFailed"


def test_the_terms_of_a_delegation_key_cannot_be_changed(rig, box):
    key = rig.client().get_user_delegation_key(now() - HOUR, now() + HOUR)
    key.signed_expiry = (now() + 24 * HOUR).strftime("%Y-%m-%dT%H:%M:%SZ")
    client = delegated(rig, box.container_name, key=key)
    assert refusal_of(lambda: list(client.list_blobs())).error_code == "AuthenticationFailed"


def test_a_delegated_signature_for_certain_requests(rig, box):
    box.upload_blob("x", b"1")
    wanted = {"X-Ticket": "the-one"}
    client = delegated(rig, box.container_name, name="x", request_headers=wanted)
    assert client.download_blob(headers={"x-ticket": "the-one"}).readall() == b"1"
    refused = refusal_of(lambda: client.download_blob(headers={"x-ticket": "another"}))
    assert refused.error_code == "AuthenticationFailed"
    listing = {"prefix": "only-these"}
    lister = delegated(rig, box.container_name, request_query_params=listing)
    assert list(lister.list_blobs("only-these")) == []
    assert refusal_of(lambda: list(lister.list_blobs("x"))).error_code == "AuthenticationFailed"


def test_a_delegated_signature_for_one_user(rig, box):
    box.upload_blob("x", b"1")
    options = {"name": "x", "user_delegation_oid": "user-2", "token": rig.other_token()}
    alone = delegated(rig, box.container_name, **options)
    assert refusal_of(alone.download_blob).error_code == "AuthenticationFailed"

    def read(**claims):
        with_token = BlobClient.from_blob_url(
            alone.url, credential=Fixed(rig.other_token(**claims)), **rig.options()
        )
        return with_token.download_blob().readall()

    assert read() == b"1"
    assert refusal_of(lambda: read(oid="user-3")).error_code == "AuthenticationFailed"
    assert refusal_of(lambda: read(tid="elsewhere")).error_code == "AuthenticationFailed"


def test_directories_are_refused_in_words(rig, box):
    box.upload_blob("folder/x", b"1")
    key = rig.client().get_user_delegation_key(now() - HOUR, now() + HOUR)
    sas = generate_blob_sas(
        ACCOUNT,
        box.container_name,
        "folder",
        user_delegation_key=key,
        permission="r",
        expiry=now() + HOUR,
        is_directory=True,
    )
    client = BlobClient(rig.url, box.container_name, "folder/x", credential=sas, **rig.options())
    assert "hierarchical namespace" in str(refusal_of(client.download_blob))
