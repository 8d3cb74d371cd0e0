"""Operations on the account: properties, cross-origin rules, statistics, batches; the account by
host name and as its secondary; containers that are open to all."""

from __future__ import annotations

import http.client
import os
import socket
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import (
    BlobAnalyticsLogging,
    BlobClient,
    BlobServiceClient,
    ContainerClient,
    CorsRule,
    Metrics,
    PartialBatchErrorException,
    RetentionPolicy,
    StaticWebsite,
    generate_account_sas,
    generate_container_sas,
)
from azure.storage.blob import RetentionPolicy as Retention
from storage_process import ACCOUNT, StorageProcess

HOUR = timedelta(hours=1)
ORIGIN = "https://www.example.com"


def later():
    return datetime.now(UTC) + HOUR


def container_sas(storage, box, permission):
    return generate_container_sas(
        ACCOUNT, box.container_name, storage.key1, permission=permission, expiry=later()
    )


def refusal_of(ask):
    with pytest.raises(HttpResponseError) as refused:
        ask()
    return refused.value.status_code, refused.value.error_code


@pytest.fixture(scope="module")
def open_storage(tmp_path_factory):
    """A process where containers may be opened, and whose accounts have host names."""
    access = {"allow_blob_public_access": True, "host_suffix": "storage.example"}
    process = StorageProcess(tmp_path_factory.mktemp("open"), tls=access)
    yield process
    assert process.stop() == 0


@pytest.fixture
def open_service(open_storage):
    with BlobServiceClient(
        open_storage.endpoint, credential=open_storage.key1, retry_total=0
    ) as client:
        yield client
        client.set_service_properties(cors=[])


@pytest.fixture
def open_box(open_service):
    return open_service.create_container(f"box-{os.urandom(6).hex()}")


@pytest.fixture
def ask(open_storage):
    """One request as it is, without the client's own ideas."""
    connection = http.client.HTTPConnection("127.0.0.1", open_storage.port, timeout=20)

    def send(method, path, headers=None):
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        return answer, answer.read()

    yield send
    connection.close()


def test_properties_come_back_as_they_were_set(service):
    days = RetentionPolicy(enabled=True, days=5)
    rules = [
        CorsRule(["https://a.example", "https://b.example"], ["GET", "PUT"], max_age_in_seconds=9),
        CorsRule(["*"], ["GET"], allowed_headers=["x-ms-*"], exposed_headers=["x-ms-meta-*"]),
    ]
    service.set_service_properties(
        analytics_logging=BlobAnalyticsLogging(read=True, retention_policy=days),
        hour_metrics=Metrics(enabled=True, include_apis=True, retention_policy=days),
        cors=rules,
        target_version="2020-02-10",
        static_website=StaticWebsite(enabled=True, index_document="index.html"),
    )
    service.set_service_properties(delete_retention_policy=Retention(enabled=True, days=7))
    found = service.get_service_properties()
    assert (found["analytics_logging"].read, found["analytics_logging"].delete) == (True, False)
    assert found["analytics_logging"].retention_policy.days == 5
    assert found["hour_metrics"].include_apis
    assert found["minute_metrics"].enabled is False
    assert found["target_version"] == "2020-02-10"
    assert found["static_website"].index_document == "index.html"
    assert found["delete_retention_policy"].days == 7
    first, second = found["cors"]
    assert first.allowed_origins == "https://a.example,https://b.example"
    assert (first.allowed_methods, first.max_age_in_seconds) == ("GET,PUT", 9)
    assert (second.allowed_headers, second.exposed_headers) == ("x-ms-*", "x-ms-meta-*")
    service.set_service_properties(cors=[])
    assert service.get_service_properties()["cors"] == []
    assert service.get_service_properties()["hour_metrics"].enabled


def test_properties_outlive_the_process(tmp_path):
    process = StorageProcess(tmp_path)
    with BlobServiceClient(process.endpoint, credential=process.key1) as service:
        service.set_service_properties(cors=[CorsRule([ORIGIN], ["GET"])])
    process.kill()
    process.start()
    with BlobServiceClient(process.endpoint, credential=process.key1) as service:
        assert service.get_service_properties()["cors"][0].allowed_origins == ORIGIN
    assert process.stop() == 0


@pytest.mark.parametrize(
    "properties",
    [
        {"cors": [CorsRule([ORIGIN], ["GET"])] * 6},
        {"cors": [CorsRule([ORIGIN], ["FETCH"])]},
        {"cors": [CorsRule([], ["GET"])]},
        {"cors": [CorsRule(["x" * 257], ["GET"])]},
        {"hour_metrics": Metrics(enabled=True, retention_policy=Retention(enabled=True, days=366))},
        {"target_version": "yesterday"},
    ],
)
def test_properties_that_cannot_be(service, properties):
    before = service.get_service_properties()["target_version"]
    status, code = refusal_of(lambda: service.set_service_properties(**properties))
    assert (status, code) in [(400, "InvalidXmlDocument"), (400, "InvalidXmlNodeValue")]
    assert service.get_service_properties()["target_version"] == before


def preflight(ask, origin=ORIGIN, method="PUT", headers=None, path=f"/{ACCOUNT}/any/thing"):
    sent = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        sent["Access-Control-Request-Headers"] = headers
    return ask("OPTIONS", path, {name: value for name, value in sent.items() if value})


def test_browsers_are_told_what_a_page_may_do(open_service, ask):
    open_service.set_service_properties(
        cors=[
            CorsRule(["https://*.example.com"], ["PUT"], allowed_headers=["x-ms-meta-*", "range"]),
            CorsRule(["*"], ["GET"], max_age_in_seconds=60),
        ]
    )
    answer, _ = preflight(ask, headers="x-ms-meta-mine, Range")
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)
    assert answer.headers["Access-Control-Allow-Methods"] == "PUT"
    assert answer.headers["Access-Control-Allow-Headers"] == "x-ms-meta-mine, Range"
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    answer, _ = preflight(ask, "https://elsewhere", "GET")
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")
    assert answer.headers["Access-Control-Max-Age"] == "60"
    assert "Access-Control-Allow-Credentials" not in answer.headers
    for options in (
        {"origin": "https://elsewhere"},
        {"method": "DELETE"},
        {"headers": "authorization"},
        {"origin": "https://www.notexample.com"},
    ):
        answer, body = preflight(ask, **options)
        assert (answer.status, b"CORS not enabled" in body) == (403, True)
    for missing in ({"origin": ""}, {"method": ""}):
        answer, body = preflight(ask, **missing)
        assert (answer.status, b"required CORS header" in body) == (400, True)
    assert preflight(ask, path="/nobody/any")[0].status == 404


def test_answers_say_which_page_may_see_them(open_service, open_box, ask):
    open_box.set_container_access_policy({}, public_access="blob")
    open_box.upload_blob("x", b"1", metadata={"mine": "v", "other": "w"})
    path = f"/{ACCOUNT}/{open_box.container_name}/x"
    assert "Vary" not in ask("GET", path, {"Origin": ORIGIN})[0].headers
    rule = CorsRule([ORIGIN], ["GET"], exposed_headers=["ETag", "x-ms-meta-m*"])
    open_service.set_service_properties(cors=[rule])
    for where, status in ((path, 200), (f"{path}-missing", 404)):
        answer, _ = ask("GET", where, {"Origin": ORIGIN})
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, ORIGIN)
        assert answer.headers["Vary"] == "Origin"
    answer, _ = ask("GET", path, {"Origin": ORIGIN})
    assert answer.headers["Access-Control-Expose-Headers"] == "ETag,x-ms-meta-mine"
    answer, _ = ask("GET", path, {"Origin": "https://elsewhere"})
    assert (answer.headers["Vary"], answer.headers["Access-Control-Allow-Origin"]) == (
        "Origin",
        None,
    )
    open_service.set_service_properties(cors=[CorsRule(["*"], ["GET"])])
    answer, _ = ask("GET", path, {"Origin": "https://elsewhere"})
    assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Vary"]) == ("*", None)


def test_containers_stay_closed_unless_that_is_allowed(service):
    for level in ("blob", "container"):
        assert refusal_of(
            lambda one=level: service.create_container("open", public_access=one)
        ) == (
            409,
            "PublicAccessNotPermitted",
        )


def bare(open_storage, box, name=None):
    if name is None:
        return ContainerClient(open_storage.endpoint, box.container_name, retry_total=0)
    return BlobClient(open_storage.endpoint, box.container_name, name, retry_total=0)


def test_open_blobs_and_open_containers(open_storage, open_service, open_box):
    open_box.upload_blob("x", b"1")
    blob, container = bare(open_storage, open_box, "x"), bare(open_storage, open_box)
    assert refusal_of(blob.download_blob) == (404, "ResourceNotFound")
    open_box.set_container_access_policy({}, public_access="blob")
    assert open_box.get_container_properties()["public_access"] == "blob"
    assert open_box.get_container_access_policy()["public_access"] == "blob"
    assert blob.download_blob().readall() == b"1"
    assert blob.get_blob_properties()["size"] == 1
    assert refusal_of(lambda: list(container.list_blobs())) == (404, "ResourceNotFound")
    open_box.set_container_access_policy({}, public_access="container")
    assert [one.name for one in container.list_blobs()] == ["x"]
    assert container.get_container_properties()["public_access"] == "container"
    listed = open_service.list_containers(open_box.container_name)
    assert [one.public_access for one in listed] == ["container"]
    for change in (
        lambda: blob.upload_blob(b"2", overwrite=True),
        blob.delete_blob,
        container.delete_container,
        container.get_container_access_policy,
    ):
        assert refusal_of(change) == (404, "ResourceNotFound")
    open_box.set_container_access_policy({})  # the level is set anew every time: closed
    assert refusal_of(blob.download_blob) == (404, "ResourceNotFound")


def test_a_wrong_signature_opens_nothing(open_storage, open_box, ask):
    open_box.upload_blob("x", b"1")
    open_box.set_container_access_policy({}, public_access="blob")
    sas = container_sas(open_storage, open_box, "r")
    path = f"/{ACCOUNT}/{open_box.container_name}/x"
    assert ask("GET", f"{path}?{sas}")[0].status == 200
    for wrong in (f"{sas}&sig=AAAA", sas.replace("sp=r", "sp=w")):
        answer, _ = ask("GET", f"{path}?{wrong}")
        assert answer.headers["x-ms-error-code"] == "AuthenticationFailed"


def test_the_secondary_is_the_same_data_for_reading(open_storage, open_box, ask):
    open_box.upload_blob("x", b"1")
    key = {"account_name": ACCOUNT, "account_key": open_storage.key1}
    second_url = f"{open_storage.endpoint}-secondary"
    with BlobServiceClient(second_url, credential=key, retry_total=0) as second:
        blob = second.get_blob_client(open_box.container_name, "x")
        assert blob.download_blob().readall() == b"1"
        assert refusal_of(lambda: blob.upload_blob(b"2", overwrite=True)) == (
            403,
            "InsufficientAccountPermissions",
        )
    sas = generate_account_sas(ACCOUNT, open_storage.key1, "s", "r", later())
    answer, _ = ask("GET", f"/{ACCOUNT}/?restype=service&comp=stats&{sas}")
    assert answer.headers["x-ms-error-code"] == "InvalidQueryParameterValue"
    answer, body = ask("GET", f"/{ACCOUNT}-secondary/?restype=service&comp=stats&{sas}")
    assert (answer.status, b"<Status>live</Status>" in body) == (200, True)


HOSTS = [
    f"{ACCOUNT}.blob.localhost",
    f"{ACCOUNT}.blob.core.windows.net",
    f"{ACCOUNT}.localhost",
    f"{ACCOUNT}.storage.example",
]


@pytest.fixture
def names_lead_here(monkeypatch, open_storage):
    """Makes the account's host names addresses of this machine, in this process."""
    resolve = socket.getaddrinfo

    def to_here(host, *rest, **options):
        here = "127.0.0.1" if str(host).startswith(ACCOUNT) else host
        return resolve(here, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", to_here)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("kind", ["key", "sas"])
def test_the_account_by_host_name(open_storage, open_box, names_lead_here, host, kind):
    sas = generate_account_sas(ACCOUNT, open_storage.key2, "sco", "rwdlac", later())
    key = {"account_name": ACCOUNT, "account_key": open_storage.key2}
    credential = key if kind == "key" else sas
    url = f"http://{host}:{open_storage.port}"
    with BlobServiceClient(url, credential=credential, retry_total=0) as service:
        box = service.get_container_client(open_box.container_name)
        box.upload_blob(f"{ACCOUNT}/a b", b"1", overwrite=True)
        found = [one.name for one in box.list_blobs()]
        assert f"{ACCOUNT}/a b" in found
    assert open_box.download_blob(f"{ACCOUNT}/a b").readall() == b"1"


def test_the_secondary_by_host_name(open_storage, open_box, names_lead_here):
    open_box.upload_blob("x", b"1")
    key = {"account_name": ACCOUNT, "account_key": open_storage.key1}
    second = f"{ACCOUNT}-secondary.blob.localhost:{open_storage.port}"
    url = f"http://{second}".replace("-secondary", "")
    with BlobServiceClient(url, key, secondary_hostname=second, retry_total=0) as service:
        stats = service.get_service_stats()["geo_replication"]
        assert stats["status"] == "live"
        assert abs(stats["last_sync_time"] - datetime.now(UTC)) < HOUR
    with BlobServiceClient(f"http://{second}", credential=key, retry_total=0) as service:
        box = service.get_container_client(open_box.container_name)
        assert box.download_blob("x").readall() == b"1"
        assert refusal_of(box.delete_container)[1] == "InsufficientAccountPermissions"


def test_a_container_may_be_called_as_the_account(open_service):
    box = open_service.create_container(ACCOUNT)
    box.upload_blob("x", b"1")
    assert [one.name for one in open_service.list_containers(ACCOUNT)] == [ACCOUNT]
    assert box.download_blob("x").readall() == b"1"


def test_an_account_that_is_not_here(open_storage):
    url = open_storage.endpoint.replace(ACCOUNT, "nobody")
    key = {"account_name": "nobody", "account_key": open_storage.key1}
    service = BlobServiceClient(url, credential=key, retry_total=0)
    assert refusal_of(service.get_account_information) == (404, "ResourceNotFound")


def statuses(replies):
    return [reply.status_code for reply in replies]


def fill(box, *names):
    for name in names:
        box.upload_blob(name, b"1")


def test_a_batch_of_deletes(open_box):
    fill(open_box, "a", "b c", "d/ü", "e")
    replies = list(open_box.delete_blobs("a", "b c", "d/ü"))
    assert statuses(replies) == [202, 202, 202]
    assert len({reply.headers["x-ms-request-id"] for reply in replies}) == 3
    assert [one.name for one in open_box.list_blobs()] == ["e"]


def test_each_part_of_a_batch_is_answered_by_itself(open_box):
    fill(open_box, "a", "c")
    replies = list(open_box.delete_blobs("a", "missing", "c", raise_on_any_failure=False))
    assert statuses(replies) == [202, 404, 202]
    assert replies[1].headers["x-ms-error-code"] == "BlobNotFound"
    with pytest.raises(PartialBatchErrorException):
        open_box.delete_blobs("missing")


def test_a_batch_of_tiers(open_box):
    fill(open_box, "a", "b")
    assert statuses(open_box.set_standard_blob_tier_blobs("Cool", "a", "b")) == [200, 200]
    tiers = {one.name: one.blob_tier for one in open_box.list_blobs()}
    assert tiers == {"a": "Cool", "b": "Cool"}


def test_a_batch_by_signatures(open_storage, open_box):
    fill(open_box, "a", "b", "c")

    def client(permission):
        sas = container_sas(open_storage, open_box, permission)
        return ContainerClient(
            open_storage.endpoint, open_box.container_name, credential=sas, retry_total=0
        )

    assert statuses(client("d").delete_blobs("a", "b")) == [202, 202]
    assert (
        refusal_of(lambda: client("rl").delete_blobs("c"))[1] == "AuthorizationPermissionMismatch"
    )
    parts = list(client("w").delete_blobs("c", raise_on_any_failure=False))
    assert statuses(parts) == [403]  # let in, but its one part is not allowed
    assert [one.name for one in open_box.list_blobs()] == ["c"]


def batch_of(*parts, boundary="b"):
    pieces = [
        f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: {number}\r\n\r\n{part}\r\n"
        for number, part in enumerate(parts)
    ]
    return "".join(pieces) + f"--{boundary}--\r\n"


@pytest.fixture
def post(open_storage, open_box):
    """A batch on the container as it is, with a signature that allows all."""
    sas = container_sas(open_storage, open_box, "racwdl")
    connection = http.client.HTTPConnection("127.0.0.1", open_storage.port, timeout=20)

    def send(body, content_type="multipart/mixed; boundary=b"):
        path = f"/{ACCOUNT}/{open_box.container_name}?restype=container&comp=batch&{sas}"
        headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    send.part = lambda name, method="DELETE", comp="": (
        f"{method} /{ACCOUNT}/{name}?{comp}{sas} HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
    )
    yield send
    connection.close()


def test_batches_stay_in_their_container(open_service, open_box, post):
    other = open_service.create_container(f"{open_box.container_name}-other")
    fill(other, "a")
    status, text = post(batch_of(post.part(f"{other.container_name}/a")))
    assert (status, "HTTP/1.1 400" in text) == (202, True)
    assert [one.name for one in other.list_blobs()] == ["a"]


def test_batches_that_are_none(open_box, post):
    fill(open_box, "a")
    name = f"{open_box.container_name}/a"
    mixed = batch_of(post.part(name), post.part(name, "PUT", "comp=tier&"))
    for body in (mixed, batch_of(post.part(name, "GET")), batch_of("nonsense"), "", batch_of()):
        status, text = post(body)
        assert (status, "x-ms-error-code: InvalidInput" in text) == (202, True)
    too_many = batch_of(*[post.part(name)] * 257)
    assert "x-ms-error-code: InvalidInput" in post(too_many)[1]
    assert "x-ms-error-code: InvalidHeaderValue" in post(mixed, "multipart/mixed")[1]
    assert post(mixed, "")[0] == 400
    assert post("x" * (4 * 1024 * 1024 + 1))[0] == 413
    assert [one.name for one in open_box.list_blobs()] == ["a"]
